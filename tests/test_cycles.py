"""Cyclic garbage is judged on request, and drawn."""

from __future__ import annotations

import json

import pytest

from refleak import find_leaks


class Node:
    pass


def cyclic():
    """Leave two objects that refer to each other."""
    one, other = Node(), Node()
    one.next, other.prev = other, one


def acyclic():
    """Leave nothing that only the collector can free."""
    json.loads(json.dumps({"a": [1]}))


def test_cyclic_garbage_is_found_and_drawn():
    """With probes="cycles", garbage that only the collector frees is reported as a path."""
    report = find_leaks(cyclic, probes="cycles")
    assert ["cycles"] == [finding.quantity for finding in report.findings]
    assert "1 cycle per call: Node.next -> Node.prev -> Node" in str(report)


def test_cyclic_garbage_is_no_leak_by_default():
    """What the collector frees is no leak unless it is asked for."""
    assert not find_leaks(cyclic).leaking


@pytest.mark.parametrize("repetition", range(3))
def test_code_without_cycles_is_clean(repetition):
    """Code that leaves no cycles is clean in stab + run rounds, every time."""
    assert repetition >= 0
    report = find_leaks(acyclic, probes="cycles")
    assert (False, 9) == (report.leaking, report.rounds)
