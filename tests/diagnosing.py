"""Drives a diagnosis over a subject, as the pipeline does."""

from __future__ import annotations

from refleak._diagnosis import diagnose
from refleak._settle import settle


def diagnosis_of(subject, **options):
    """Run *subject* whenever the diagnosis asks for it, and return what it found."""
    # the machine that runs the tests may be busy: the limit has a test of its own
    return driven(diagnose(**{"settle": settle, "max_seconds": 120, **options}), subject)


def driven(steps, subject):
    """Run *subject* at each step of a generator, and return what that returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        subject()


def held(subject, **options):
    """Return the chains of the survivors that *subject* leaves behind."""
    return [group.held_by for group in diagnosis_of(subject, **options).survivors]
