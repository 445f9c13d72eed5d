"""The quantities: what each is, what selects it, and a user's own."""

from __future__ import annotations

import sys

import pytest

from refleak import Gauge, Probe, find_leaks, probes
from refleak._census import Census, census
from refleak._rules import RULES
from refleak.probes import HEAP_PASS, PROBES, select

kept: list = []


@pytest.mark.parametrize("name", PROBES)
def test_each_probe_says_what_it_is(name):
    """A built-in probe bears its name in the table, a unit and a known rule."""
    probe = PROBES[name][0]()
    assert name == probe.name
    assert isinstance(probe, Probe)
    assert probe.rule in RULES
    assert isinstance(probe.each_round, bool)
    assert isinstance(probe.unavailable(), (str, type(None)))


@pytest.mark.parametrize("name", PROBES)
def test_each_probe_reads_an_integer(name):
    """What can be judged here has a level that is an integer."""
    probe = PROBES[name][0]()
    if probe.unavailable() is not None:
        pytest.skip(probe.unavailable())
    assert int is type(probe.read())


@pytest.mark.parametrize("name", ["references", "memory blocks", "objects", "container references"])
def test_each_quantity_of_the_heap_grows_with_a_kept_list(name):
    """A list that is kept shows in every one of the heap's quantities."""
    probe = PROBES[name][0]()
    if probe.unavailable() is not None:
        pytest.skip(probe.unavailable())
    probe.read()
    before = probe.read()
    kept.append([object() for _ in range(500)])
    after = probe.read()
    kept.clear()
    assert after - before >= (1 if name == "objects" else 500)


def test_references_are_counted_as_well_as_can_be():
    """A debug build's own total is taken where there is one, else the census."""
    counting = PROBES["references"][0]().counting
    assert hasattr(sys, "gettotalrefcount") is ("gettotalrefcount" in counting)


def test_memory_blocks_say_why_they_cannot_be_judged(monkeypatch):
    """Where Python's allocator is bypassed, the reason names the setting."""
    monkeypatch.setattr(sys, "getallocatedblocks", lambda: 0)
    assert "PYTHONMALLOC=malloc" in PROBES["memory blocks"][0]().unavailable()


def test_one_pass_over_the_heap_serves_all():
    """Within a shared reading the heap is passed over once, and not kept after it."""
    passes = []

    def take():
        passes.append(1)
        return Census(3, 2, 1)

    quantities = [probes.References(), probes.ContainerReferences(), probes.Objects()]
    with HEAP_PASS.shared(take):
        assert [3, 2, 1] == [probe.read() for probe in quantities]
    assert 1 == len(passes)
    assert 3 != quantities[0].read()
    assert 1 == len(passes)


def test_a_pass_that_fails_is_not_kept():
    """An error in a shared reading does not spoil the next one."""
    with pytest.raises(ZeroDivisionError), HEAP_PASS.shared(lambda: 1 // 0):
        probes.Objects().read()
    assert probes.Objects().read() <= census().objects + 100


# --- selection ------------------------------------------------------------------------------------

DEFAULT = [name for name, (_, default) in PROBES.items() if default]


def names(wanted=None):
    """Return the names of the selected probes."""
    return [probe.name for probe in select(wanted)]


def test_the_default_is_what_the_table_says():
    """Nothing said, the default quantities are judged, in the table's order."""
    assert DEFAULT == names()
    assert DEFAULT == names([])


def test_a_name_adds_and_a_minus_leaves_out():
    """A name adds a quantity, a name behind a minus leaves one out, in the order given."""
    assert [name for name in DEFAULT if name != "objects"] == names("-objects")
    assert ["objects"] == names(["-all", "objects"])
    assert list(PROBES) == names("all")
    assert "cycles" in names("cycles")


def test_own_probes_come_last():
    """A probe of the user's is judged besides the default ones."""
    gauge = Gauge("connections", lambda: 3)
    assert [*DEFAULT, "connections"] == names(gauge)
    assert ["connections"] == names(["-all", gauge])


class Incomplete:
    name = "things"


class Quantity:
    """A probe with any name, unit and reason."""

    def __init__(self, name, unit, reason=None):
        self.name, self.unit, self._reason = name, unit, reason

    def unavailable(self):
        """Return why it cannot be judged."""
        return self._reason

    def read(self):
        """Return a level."""
        return 3


class WrongRule(Gauge):
    def __init__(self):
        super().__init__("things", lambda: 1)
        self.rule = "guess"


@pytest.mark.parametrize(
    ("error", "message", "wanted"),
    [
        (ValueError, "unknown quantity 'reference'; allowed are references", "reference"),
        (ValueError, "unknown quantity '-nothing'", "-nothing"),
        (ValueError, "leaves nothing to judge", "-all"),
        (ValueError, "'things' is given twice", [Gauge("things", int), Gauge("things", int)]),
        (ValueError, "'objects' is given twice", Gauge("objects", int)),
        (ValueError, "rule 'guess'; allowed are count, blocks, bytes, resource", WrongRule()),
        (TypeError, "name of Quantity must be a text", Quantity(None, "thing")),
        (TypeError, "name of Quantity must be a text that is not empty", Quantity("", "thing")),
        (ValueError, "name of Quantity must not begin with '-'", Quantity("-things", "thing")),
        (TypeError, "unit of 'things' must be a text", Quantity("things", None)),
        (TypeError, "unit of 'things' must be a text that is not empty", Quantity("things", "")),
        (TypeError, "names or objects with name, unit", 3),
        (TypeError, "names or objects with name, unit", Incomplete()),
        (TypeError, "names or objects with name, unit", [Gauge]),
        (TypeError, "names or objects with name, unit", [None]),
    ],
)
def test_wrong_probes_are_refused(error, message, wanted):
    """What is neither a known name nor a probe is refused, with what is allowed."""
    with pytest.raises(error, match="probes") as caught:
        select(wanted)
    assert message in str(caught.value)


# --- a user's own quantity ------------------------------------------------------------------------


def test_a_gauge_is_a_probe():
    """A gauge reads what its function returns, and its unit is the singular of its name."""
    gauge = Gauge("connections", lambda: 7)
    assert (7, "connection", None) == (gauge.read(), gauge.unit, gauge.unavailable())
    assert "child process" == Gauge("child processes", int, unit="child process").unit


def test_a_gauge_sees_what_a_buffer_takes_in():
    """A buffer grows in place, by memory that it reserved: nothing else moves in a few calls."""
    buffer = bytearray(5_000)
    gauge = Gauge("buffer", lambda: len(buffer), unit="byte")
    assert not find_leaks(lambda: buffer.append(1)).leaking
    (found,) = find_leaks(lambda: buffer.append(1), probes=gauge).findings
    assert ("buffer", 1.0) == (found.quantity, found.per_call)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("name must be", ("", int)),
        ("name must be", (3, int)),
        ("read must be", ("things", 3)),
        ("unit must be", ("things", int, 3)),
        ("unit must be", ("things", int, "")),
        ("name must not begin with '-'", ("-things", int)),
        ("unit must not begin with '-'", ("things", int, "-thing")),
    ],
)
def test_wrong_gauges_are_refused(message, arguments):
    """A gauge's arguments are checked when it is made."""
    name, read, *unit = arguments
    with pytest.raises((TypeError, ValueError), match=message):
        Gauge(name, read, **({"unit": unit[0]} if unit else {}))


@pytest.mark.parametrize("reason", [False, 3, ["why"]])
def test_a_reason_that_is_no_text_is_refused(reason):
    """What unavailable() returns is None or a text; the probe is named."""
    probe = Quantity("things", "thing", reason)
    with pytest.raises(TypeError) as caught:
        find_leaks(lambda: None, probes=["-all", probe])
    assert str(caught.value).startswith(
        f"Quantity 'things': unavailable() must return None or a reason (text), not {reason!r}"
    )


def test_a_gauge_that_returns_no_number_is_named():
    """What the function returns is shown, and which gauge it is."""
    for level in ("many", None, 1.5):
        with pytest.raises(TypeError, match=f"Gauge 'pool': .* must return an int, not {level!r}"):
            find_leaks(lambda: None, probes=["-all", Gauge("pool", lambda level=level: level)])


def test_a_growing_gauge_is_reported_like_any_other():
    """A leak of a user's own quantity is found and told in its unit."""
    pool = []
    gauge = Gauge("connections", lambda: len(pool))
    report = find_leaks(lambda: pool.append(3), probes=gauge, diagnose=False, max_rounds=30)
    found = {each.quantity: each for each in report.findings}
    assert (1, 1, 1, 1) == found["connections"].deltas
    assert "connections" in str(report)
