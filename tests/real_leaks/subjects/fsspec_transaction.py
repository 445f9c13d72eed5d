"""A file written in a transaction."""

import pathlib
import tempfile

from fsspec.implementations.local import LocalFileSystem

FILES = LocalFileSystem()
TARGET = str(pathlib.Path(tempfile.gettempdir()) / "refleak-fsspec-case")


def work():
    with FILES.transaction, FILES.open(TARGET, "wb") as file:
        file.write(b"drip")
