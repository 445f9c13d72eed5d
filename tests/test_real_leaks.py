"""Leaks of published packages: the leaky version is found, the fixed one is not accused."""

from __future__ import annotations

import sys

import pytest
from real_leaks import running
from real_leaks.running import Case

pytestmark = pytest.mark.realleaks

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(params=running.cases(), ids=lambda case: case.name)
def case(request):
    """Give each case that this Python can reproduce."""
    if request.param.python != HERE:
        pytest.skip(f"reproduced on Python {request.param.python} only")
    return request.param


def judged(case: Case, version: str, tmp_path, ignore=()):
    """Return the verdict on a freshly installed version."""
    why = running.install(case.package, version, tmp_path / version)
    if why:
        pytest.fail(why)
    return running.verdict(case.subject, tmp_path / version, ignore)


def test_the_leaky_version_is_found(case, tmp_path):
    """A version with a published leak is called leaking at default settings."""
    found = judged(case, case.leaky, tmp_path)
    assert found["leaking"], found["text"]
    named = case.named(found["text"])
    assert set(case.not_named) == {fact for fact, is_named in named.items() if not is_named}


def test_the_fixed_version_is_not_accused(case, tmp_path):
    """The version that fixed the leak is called clean at default settings."""
    found = judged(case, case.fixed, tmp_path, case.fixed_ignore)
    assert not found["leaking"], found["text"]


@pytest.mark.skipif(HERE != "3.13", reason="the leaky wrapt was reproduced on Python 3.13 only")
def test_refleak_judges_the_wrapt_it_runs_on(tmp_path):
    """The case of wrapt is judged by a refleak that itself uses the leaky version."""
    case = next(case for case in running.cases() if case.package == "wrapt")
    found = judged(case, case.leaky, tmp_path)
    assert str(tmp_path) in found["wrapt"]


@pytest.mark.parametrize("subject", running.innocents(), ids=lambda path: path.stem)
def test_no_innocent_is_accused(subject):
    """Code that only looks like a leak to naive counting is called clean."""
    found = running.verdict(subject)
    assert not found["leaking"], found["text"]


def test_every_case_has_a_subject():
    """The table and the folder of subjects name the same cases."""
    there = {path.stem for path in (running.HERE / "subjects").glob("*.py")}
    assert {case.name for case in running.cases()} == there
