"""Mocks with a specification."""

import pathlib
from unittest import mock


def work():
    with mock.patch.object(pathlib.Path, "exists", return_value=True):
        pathlib.Path("nowhere").exists()
    mock.create_autospec(dict)(a=1)
