"""The rules, over example series and over series made from models whose truth is known."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import accumulate, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refleak._rules import (
    MAX_NOISE,
    RULES,
    LowPoints,
    Verdict,
    Window,
    changed,
    drop,
    judge,
    next_window,
    rising,
    settled_at,
    steady,
)

COUNT, BYTES, RESOURCE = RULES["count"], RULES["bytes"], RULES["resource"]
MOST = 2000
"""Rounds run in doubt, as by default."""


def windows_of(deltas, rule, run, most=MOST, cheap=0):
    """Make windows of a series and judge them, as _rounds does until all is decided.

    As if another quantity were in doubt as well, which ends as late. *cheap*: so many rounds take
    as long as a reading.
    """
    levels = [0, *accumulate(deltas[:most])]
    windows, end, length, low_points = [], 0, run, LowPoints()
    while length:
        start = end
        low_points.resume(int(levels[end] / rule.least))
        while low_points.more(end - start, length, most - start):
            end += 1
            low_points.note(int(levels[end] / rule.least))
        length = end - start
        ends = low_points.even(), low_points.both()
        windows.append(Window(length, levels[end] - levels[start], *ends))
        low_points.begin()
        verdict = judge(windows, rule, run=run, deltas=deltas[:run])
        decided = verdict is Verdict.CLEAN or (rule.enough and verdict is Verdict.LEAKING)
        lengths, low = [window.rounds for window in windows], low_points.found()
        alone = rule.alone if rule.harms else 0
        other = not rule.alone and changed(windows, rule)
        compared = sum(window.low for window in windows)
        bounds = {"low": low, "compared": compared, "alone": alone, "cheap": cheap}
        bounds["changed"] = other
        length = 0 if decided else min(next_window(lengths, most - end, **bounds), most - end)
    return windows


def verdict_of(deltas, rule=COUNT, run=4, most=MOST, cheap=0):
    """Return the final verdict on a series that goes on for as long as it is looked at."""
    if not rising(deltas[:run]):
        return Verdict.CLEAN
    further = deltas[run:]
    windows = windows_of(further, rule, run, most, cheap)
    return judge(windows, rule, run=run, deltas=further[:run], exhausted=True)


def repeated(*deltas):
    """Repeat a pattern for as long as anybody looks."""
    return list(deltas) * (MOST // len(deltas) + 9)


def stopping(*deltas):
    """Let nothing more happen after these deltas."""
    return [*deltas, *[0] * (MOST + 9)]


# --- the example series of CPython's test_regrtest, of the design and of what users met --------


def sawtooth(period, height, *leak):
    """A buffer takes *height* a call and is emptied every *period* calls, beside what leaks."""
    taken = repeated(*[height] * (period - 1), -height * (period - 1))
    return [took + leaked for took, leaked in zip(taken, repeated(*leak), strict=False)]


LEAKS = {
    "every call, once more": repeated(5, 5, 6),
    "every call, with a first call that costs more": [10, *repeated(1)],
    "every call": repeated(1),
    "every second call": repeated(2, 0),
    "every second call, the first one spared": repeated(0, 2),
    "every fourth call": repeated(0, 0, 0, 8),
    "every fourth call, the least": repeated(1, 0, 0, 0),
    "two of three calls": repeated(1, 1, 0),
    "every third call": repeated(0, 0, 1),
    "behind one large release": [-5, *repeated(1)],
    "behind a release in the last measured round": [1, 0, 0, -5, *repeated(1, 0, 0, 0)],
    "behind a release in the first further rounds": [1, 0, 0, 0, 1, -9, *repeated(0, 0, 1, 0)],
    "behind a release in a later window": [
        *repeated(1)[:20],
        -60,
        *repeated(1),
    ],
    "behind a level that swings": repeated(3, -1, 3, -1),
    "behind a level that swings, the least": repeated(2, -1, 1, -1),
    "beside a buffer emptied every 7 calls": sawtooth(7, 9, 1),
    "beside a buffer emptied every 50 calls": sawtooth(50, 2, 1),
    "beside a buffer emptied every 99 calls": sawtooth(99, 40, 1),
    "every fourth call, beside a buffer emptied every 99 calls": sawtooth(99, 40, 0, 0, 0, 1),
    "beside a buffer emptied every 150 calls": sawtooth(150, 3, 1),
    "over a cache that fills at first": [*[4] * 390, *repeated(1)],
    "over a cache that fills for long": [*[4] * 900, *repeated(1)],
    "over caches that decay": [*range(100, 1, -1), *repeated(1)],
}

INNOCENTS = {
    "a first call's cache": stopping(3, 0, 0),
    "a blip": repeated(0, 1, 0, -1),
    "a single blip": stopping(0, 1, 0),
    "a blip in the last round": stopping(0, 0, 0, 1),
    "up and down": stopping(8, -8, 1),
    "up and down for ever": repeated(8, -8),
    "a cache still filling": stopping(3, 3, 3, 3),
    "a cache filling for 64 rounds": stopping(*[3] * 64),
    "functools.lru_cache(128)": stopping(*[3] * 390),
    "SQLAlchemy's caches": stopping(*[5] * 500),
    "aiohttp's cookie cache": stopping(*[2] * 600),
    "a cache filling for 1000 rounds": stopping(*[1] * 1000),
    "caches decaying": stopping(4, 3, 2, 1),
    "caches decaying slowly": stopping(*[k // 10 for k in range(400, 0, -1)]),
    "a cache that clears itself when full": repeated(*[1] * 99, -99),
    "a buffer emptied every 7 calls": sawtooth(7, 9, 0),
    "a buffer emptied every 97 calls": sawtooth(97, 1, 0),
    "a buffer emptied every 245 calls": sawtooth(245, 3, 0),
    "falling": repeated(-1),
    "nothing": repeated(0),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("deltas", LEAKS.values(), ids=LEAKS)
def test_leaks_of_the_examples_are_found(deltas, rule):
    """Every series that must be a leak is one, in the units of every rule."""
    if RULES[rule].exact and deltas is LEAKS["over a cache that fills for long"]:
        deltas = deltas[500:]  # these must be steady for longer
    scale = RULES[rule].least * RULES[rule].grain * (4 if rule == "bytes" else 1)
    assert Verdict.LEAKING is verdict_of([scale * delta for delta in deltas], RULES[rule])


@pytest.mark.parametrize("rule", ["count", "blocks", "bytes"])
@pytest.mark.parametrize("deltas", INNOCENTS.values(), ids=INNOCENTS)
def test_innocents_of_the_examples_are_clean(deltas, rule):
    """Growth that has stopped, blips and swings are clean, in the units of each rule."""
    scale = RULES[rule].least
    assert Verdict.CLEAN is verdict_of([scale * delta for delta in deltas], RULES[rule])


def test_pools_are_no_resource_leak():
    """A pool of threads or connections that fills within fifty rounds is clean."""
    for size in (1, 5, 32, 49):
        assert Verdict.CLEAN is verdict_of(stopping(*[1] * size), RESOURCE)


def test_a_leaking_resource_ends_the_rounds_early():
    """Sixty further rounds are evidence enough where hundreds would harm the process."""
    windows = windows_of(repeated(1), RESOURCE, 4)
    assert [4, 8, 16, 16, 16] == [window.rounds for window in windows]
    assert Verdict.LEAKING is judge(windows, RESOURCE, run=4, deltas=[1] * 4)


def test_blocks_that_functions_get_once_are_not_called_a_leak():
    """What 3.10 makes for each function at its 1,024th call grows unsteadily, and is none."""
    lengths, growths = (4, 9, 18, 39, 83, 171, 202), (18, 43, 3, 6, 4, 24, 60)
    windows = list(map(Window, lengths, growths))
    verdict = judge(windows, RULES["blocks"], run=4, deltas=(5, 11, 2, 0), exhausted=True)
    assert Verdict.SUSPICIOUS is verdict


@pytest.mark.parametrize(
    ("expected", "again"),
    [(Verdict.SUSPICIOUS, None), (Verdict.CLEAN, 0), (Verdict.LEAKING, 7296)],
)
def test_bytes_must_grow_in_two_equally_long_windows(expected, again):
    """Calls that create classes showed the first series, and leak nothing."""
    windows = [*map(Window, (4, 8, 16, 32, 64), (0, 576, 1632, 3264, 7296))]
    if again is not None:
        windows.append(Window(64, again))
    assert expected is judge(windows, BYTES, run=4, deltas=(0, 0, 0, 0), exhausted=True)


def test_irregular_bytes_are_not_called_a_leak():
    """A heap that creeps up in ever other steps stays in doubt, as malloc's does."""
    series = [*[250] * 300, *[20] * 200, *[120] * 600, *[22] * 2000]
    assert Verdict.SUSPICIOUS is verdict_of(series, BYTES)


def test_bytes_released_twice_in_a_row_hide_no_leak():
    """Tables that are made smaller in steps fall in more than one short window."""
    windows = [*map(Window, (4, 8, 16, 16), (208, 416, -6208, -6208))]
    assert Verdict.SUSPICIOUS is judge(windows, BYTES, run=4, deltas=(0, 0, 208, 0))
    assert Verdict.CLEAN is judge(windows, COUNT, run=4, deltas=(0, 0, 208, 0))
    windows += map(Window, (128, 102), (-6208, -6208))
    assert Verdict.CLEAN is judge(windows, BYTES, run=4, deltas=(0, 0, 208, 0))


RELEASED = [(4, 208), (8, 400), (16, 832), (16, -31680)]
"""Windows of a leak of 208 bytes in every fourth call, and a table that is made smaller."""

WITH_TABLES = [
    *[(32, 1664), (32, 1664), (64, 8192), (64, 3344), (128, 6688), (102, 5200), (408, 30576)],
    *[(441, 23088), (439, 41104)],
]
"""Those after them, with tables that grow now and then: test_typing's test_dict_subclass."""


@pytest.mark.parametrize(
    ("expected", "series"),
    [
        (Verdict.LEAKING, [*RELEASED, *WITH_TABLES]),
        # A buffer that fills again as much as was released grows as steadily.
        (Verdict.SUSPICIOUS, [*RELEASED[:-1], (16, -51680), *WITH_TABLES]),
        # What leaks does so in every window of those that count.
        (Verdict.SUSPICIOUS, [*RELEASED, *WITH_TABLES[:5], (102, 3000), *WITH_TABLES[6:]]),
        # Fewer windows, or only longer ones, may come down to a rate by chance.
        (Verdict.SUSPICIOUS, [*RELEASED[:-1], *WITH_TABLES[4:]]),
    ],
)
def test_bytes_leak_that_never_grow_more_slowly_than_at_one_rate(expected, series):
    """What tables take comes on top of a leak, in some windows; what leaks is in all."""
    windows = [Window(*each) for each in series]
    assert expected is judge(windows, BYTES, run=4, deltas=(0, 0, 208, 0), exhausted=True)


def test_small_chunks_that_are_taken_by_the_dozen_are_found():
    """A leak of 32 bytes a call is found though the heap moves in steps of 256."""
    for first in range(4):
        series = [256 if (number - first) % 8 == 0 else 0 for number in range(MOST + 9)]
        assert Verdict.LEAKING is verdict_of(series, BYTES)


# --- the window loop ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "cheap"),
    [
        ([4, 8, 16, 32, 64, 128, 256, 505, 548, 439], 0),
        ([4, 20, 40, 80, 160, 320, 466, 505, 405], 20),
        ([4, 64, 654, 710, 568], 1_000_000),
    ],
)
def test_windows_double_and_the_last_get_shorter(expected, cheap):
    """Windows double, or are as long as a reading, until the last ones share what is left."""
    windows = windows_of(repeated(1), COUNT, 4, cheap=cheap)
    assert expected == [window.rounds for window in windows]


def lengths_until(most, alone, count):
    """Return the lengths of windows that go on in doubt about one quantity alone."""
    lengths = [4]
    while len(lengths) < count:
        lengths.append(next_window(lengths, most - sum(lengths), alone=alone))
    return lengths


def test_what_may_end_alone_is_seen_in_equal_windows():
    """When so many rounds are enough, the last windows before are equal, and each later pair is."""
    assert [4, 8, 16, 16, 16, 32, 32, 64, 64] == lengths_until(2000, 60, 9)
    assert [4, 8, 16, 16, 16, 32, 32, 48, 48, 50, 0] == lengths_until(270, 60, 11)
    assert [4, 5, 5, 6, 0] == lengths_until(20, 60, 5)


def test_doubt_of_others_ends_with_an_equal_window():
    """When only what may end alone is left in doubt, the window that doubled is repeated."""
    assert 64 == next_window([4, 8, 16, 32, 64], 1876, alone=60)
    assert 128 == next_window([4, 8, 16, 32, 64, 64], 1812, alone=60)
    assert 128 == next_window([4, 8, 16, 32, 64], 1876)


def test_a_short_window_ends_rounds_that_became_slow():
    """A last window longer than all before shows a table that grows with it, like a leak."""
    assert 16 == next_window([4, 8, 16, 32, 64], 20)
    assert 4 == next_window([4, 8], 0)
    assert [0, 0] == [next_window(lengths, 1) for lengths in ([4], [4, 8, 8])]


def test_windows_keep_to_the_bound():
    """No more rounds are run than the bound allows, and the last window is no shorter than half."""
    for run in (1, 2, 4, 5, 10):
        for most in range(run, 300):
            lengths = [w.rounds for w in windows_of(repeated(1), COUNT, run, most)]
            assert most >= sum(lengths)
            assert all(2 * after >= before for before, after in pairwise(lengths))
            assert run == lengths[0]


def test_a_clean_series_costs_few_further_rounds():
    """What does not grow again is settled after three times the measured rounds."""
    assert [4, 8] == [window.rounds for window in windows_of(stopping(), COUNT, 4)]
    assert [4, 8, 16] == [window.rounds for window in windows_of(stopping(0, 1), COUNT, 4)]


def test_windows_before_others_settled_are_no_evidence():
    """Bytes that grew with a cache until it was full are looked at anew from there on."""
    windows = [Window(length, 50 * length) for length in (4, 8, 16, 16, 16)]
    late = {"run": 4, "deltas": [50] * 4, "since": 3, "exhausted": True}
    assert Verdict.LEAKING is judge(windows, BYTES, **{**late, "since": 0})
    assert Verdict.SUSPICIOUS is judge(windows, BYTES, **late)
    assert Verdict.CLEAN is judge([*windows, Window(32, 0)], BYTES, **late)
    assert Verdict.LEAKING is judge([*windows, Window(16, 800)], BYTES, **late)


@pytest.mark.parametrize(("expected", "last"), [(Verdict.LEAKING, 33), (Verdict.SUSPICIOUS, 31)])
def test_growth_that_is_certain_does_not_ebb(expected, last):
    """What grows by a fifth less than in the window before may be a cache that is full soon."""
    windows = [Window(4, 4), Window(40, 40), Window(40, last)]
    assert Verdict.LEAKING is judge(windows, COUNT, run=4, exhausted=True)
    assert expected is judge(windows, COUNT.certain(), run=4, exhausted=True)


# --- the parts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "deltas"),
    [
        (False, [0, 0, 0, 0]),
        (False, [0, -1, 0, 0]),
        (True, [0, 1, 0, 0]),
        (True, [0, 1, 0, -5]),
        (True, [-5, 1, 1, 1]),
        (False, []),
    ],
)
def test_anything_that_grew_is_rising(expected, deltas):
    """A single growth makes a series suspicious, whatever was released besides."""
    assert expected is rising(deltas)


def test_the_drop_is_the_largest_fall():
    """The drop of a series is its largest fall, 0 if there is none."""
    assert [0, 0, 7] == [drop([]), drop([3, 1]), drop([3, -7, -2])]


def test_a_window_knows_its_rate():
    """A window's rate is its growth per round."""
    assert 2.5 == Window(4, 10).rate


def test_steady_windows_bear_a_fall_of_the_rate_by_half():
    """Counts may slow down by half from window to window, but not by more."""
    assert steady([Window(4, 8), Window(8, 8)], COUNT, level=False)
    assert not steady([Window(4, 8), Window(8, 7)], COUNT, level=False)
    assert not steady([Window(4, 8), Window(8, 0)], COUNT, level=False)


def test_steady_bytes_may_not_speed_up_either():
    """Bytes must grow at one rate, neither slower nor faster."""
    assert steady([Window(4, 400), Window(8, 800)], BYTES, level=True)
    assert not steady([Window(4, 400), Window(8, 1400)], BYTES, level=True)
    assert steady([Window(4, 400), Window(8, 1400)], COUNT, level=False)


def test_growth_that_stops_suddenly_must_stay_so():
    """A single window without growth after growth could be a leak behind a release."""
    windows = [Window(4, 4), Window(8, 0), Window(16, 0)]
    assert 2 == settled_at(windows, COUNT, run=4)


def test_growing_once_in_a_long_window_is_no_leak():
    """What grew by one in hundreds of rounds is doubtful; what grew by ten is a leak, if rare."""
    rare = [
        judge([Window(490, grown), Window(490, grown)], COUNT, run=4, exhausted=True)
        for grown in (1, 3, 4, 10)
    ]
    doubt, leak = Verdict.SUSPICIOUS, Verdict.LEAKING
    assert [doubt, doubt, leak, leak] == rare


def test_noise_asks_for_longer_windows():
    """The noisier a quantity, the longer the first window which shows that growth has stopped."""
    windows = [Window(4 << number, 0) for number in range(8)]
    noises = (0, 1, 2, 4, MAX_NOISE, 99)
    found = [settled_at(windows, COUNT, run=4, deltas=[-noise]) for noise in noises]
    assert [1, 2, 3, 4, 5, 5] == found


def test_a_release_in_a_short_window_is_no_evidence():
    """A fall beyond all noise could hide a leak, so that a longer window is waited for."""
    assert None is settled_at([Window(4, 4), Window(8, -50)], COUNT, run=4)
    assert 1 == settled_at([Window(4, 4), Window(4 * 2 * MAX_NOISE, -1)], COUNT, run=4)


def test_a_block_that_strays_hides_no_leak():
    """What leaks in every 4th call is found though a window shows one or two blocks less."""
    windows = [Window(4, 1), Window(8, 2), Window(128, 32), Window(683, 169), Window(547, 135)]
    assert Verdict.LEAKING is judge(windows, RULES["blocks"], run=4, exhausted=True)
    rarer = [*windows[:3], Window(683, 150), Window(547, 120)]
    assert Verdict.SUSPICIOUS is judge(rarer, RULES["blocks"], run=4, exhausted=True)


def test_growth_that_slows_down_by_and_by():
    """Keys asked for at random fill a cache ever more slowly; what leaks beside it does not."""
    ebbing = [Window(4, 10), Window(128, 233), Window(630, 800), Window(416, 250), Window(452, 150)]
    count = RULES["count"]
    slower = [*ebbing, Window(201, 50), Window(161, 45)]
    assert Verdict.SUSPICIOUS is judge(slower, count, run=4, exhausted=True)
    level = [*ebbing, Window(201, 64), Window(161, 52)]
    assert Verdict.LEAKING is judge(level, count, run=4, exhausted=True)


def test_a_last_window_cut_off_can_still_show_that_growth_ebbs():
    """Blocks of a hypothesis test on 3.10: what was cut off grew too little for a leak."""
    before = [Window(4, 41), Window(11, 152), Window(23, 118), Window(47, 186)]
    blocks = RULES["blocks"]
    cut = [*before, Window(19, 18, even=False)]
    assert Verdict.SUSPICIOUS is judge(cut, blocks, run=4, exhausted=True)
    leak = [*before, Window(19, 60, even=False)]
    assert Verdict.LEAKING is judge(leak, blocks, run=4, exhausted=True)


@pytest.mark.parametrize("rule", RULES)
def test_what_the_bounds_leave_is_judged(rule):
    """A leak is found even if the bounds allow no further round at all."""
    deltas = [10_000] * 4
    windows = [Window(4, 40_000)]
    verdict = judge(windows, RULES[rule], run=4, deltas=deltas, exhausted=True)
    assert Verdict.LEAKING is verdict


def test_bytes_in_a_single_window_must_be_steady_too():
    """Four rounds of irregular bytes are no evidence of a leak."""
    verdict = judge([Window(4, 500)], BYTES, run=4, deltas=[250, 0, 20, 230], exhausted=True)
    assert Verdict.SUSPICIOUS is verdict


def test_growth_that_ends_with_a_fall_is_clean_in_the_end():
    """When no more rounds can be had, a fall ends the doubt, unless it is too large to be sure."""
    found = [
        judge([Window(4, 4), Window(8, fall)], COUNT, run=4, deltas=[1] * 4, exhausted=end)
        for end, fall in ((False, -4), (True, -4), (True, -40))
    ]
    assert [Verdict.SUSPICIOUS, Verdict.CLEAN, Verdict.SUSPICIOUS] == found


@pytest.mark.parametrize(
    ("expected", "tolerated"), [(Verdict.LEAKING, 1.9), (Verdict.CLEAN, 2), (Verdict.CLEAN, 2.1)]
)
def test_growth_beyond_what_is_tolerated_is_a_leak(expected, tolerated):
    """A tolerance sets aside just as much per call as it says."""
    deltas = [2 - tolerated] * 4
    windows = [Window(length, length * (2 - tolerated)) for length in (4, 8, 16, 32, 64, 64)]
    rule = COUNT.tolerant()
    assert expected is judge(windows, rule, run=4, deltas=deltas, exhausted=True)


# --- models: what happens is known, the verdict must be the same ---------------------------------


@dataclass(frozen=True)
class Model:
    """What the code under test does, call by call.

    ``leak`` leaks so many at a time, after a ``period`` of calls or (``jitter``) at most so many.
    A cache gains ``per_call`` entries until it holds ``size``; another decays, each call finding
    a share ``decay`` of its ``places`` empty; the level swings by 0 to ``noise``; ``release`` goes
    once, in round ``released``.
    """

    seed: int
    run: int
    leak: int
    period: int
    jitter: bool
    per_call: int
    size: int
    places: int
    decay: float
    noise: int
    release: int
    released: int
    unit: int

    def deltas(self):
        """Return the change of every round."""
        rng = random.Random(self.seed)
        total = MOST + self.run
        swings = rng.choices(range(self.noise + 1), k=total + 1)
        found, wait, cached, empty = [], rng.randint(1, self.period), 0, float(self.places)
        for number in range(total):
            wait -= 1
            leaked = 0 if wait else self.leak
            if not wait:
                wait = rng.randint(1, self.period) if self.jitter else self.period
            entries = min(self.per_call, self.size - cached)
            cached += entries
            taken = int(empty) - int(empty * self.decay)
            empty *= self.decay
            gone = self.release if number == self.released else 0
            swing = swings[number + 1] - swings[number]
            found.append(self.unit * (leaked + entries + taken - gone + swing))
        return found


def models(rule, **fixed):
    """Generate models within what the rule promises to judge."""
    unit = st.sampled_from([32, 112]) if rule == "bytes" else st.just(1)
    fields = {
        "seed": st.integers(0, 2**32),
        "run": st.integers(1, 6),
        "leak": st.integers(1, 20),
        "jitter": st.booleans() if rule != "bytes" else st.just(False),
        "per_call": st.integers(1, 9),
        "size": st.just(0),
        "places": st.just(0),
        "decay": st.just(0.5),
        "noise": st.just(0),
        "release": st.just(0),
        "released": st.just(0),
        "unit": unit,
        **fixed,
    }
    made = st.fixed_dictionaries(fields)
    return made.flatmap(
        lambda values: st.integers(1, values["run"]).map(
            lambda period: Model(**{**values, "period": period})
        )
    )


# What a cache takes to fill must leave two windows behind it.
CACHES = {
    "count": {
        "size": st.integers(0, 900),
        "places": st.integers(0, 500),
        "decay": st.floats(0.5, 0.98),
    },
    "blocks": {"size": st.integers(0, 900)},
    "bytes": {"size": st.integers(0, 400)},
    "resource": {"size": st.integers(0, 8)},
}
# A release in the very round in which alone something leaks would leave nothing to see.
RELEASES = {"release": st.integers(0, 30), "released": st.integers(6, 40)}


MODELS = settings(
    deadline=None, max_examples=80, derandomize=True, suppress_health_check=list(HealthCheck)
)


CHEAP = st.sampled_from([0, 16, 100, MOST])
"""Rounds that take as long as a reading."""


@pytest.mark.parametrize("rule", RULES)
@MODELS
@given(data=st.data())
def test_every_leak_of_the_model_is_found(rule, data):
    """A leak at least once in every run calls is found, over caches and a single release."""
    model = data.draw(models(rule, **CACHES[rule], **RELEASES), label="model")
    cheap = data.draw(CHEAP, label="cheap")
    assert Verdict.LEAKING is verdict_of(model.deltas(), RULES[rule], model.run, cheap=cheap)


@pytest.mark.parametrize("rule", RULES)
@MODELS
@given(data=st.data())
def test_no_innocent_of_the_model_is_accused(rule, data):
    """Caches that fill or decay, noise and releases are never called a leak."""
    innocent = {"leak": st.just(0), "noise": st.integers(0, 3)}
    model = data.draw(models(rule, **CACHES[rule], **RELEASES, **innocent), label="model")
    cheap = data.draw(CHEAP, label="cheap")
    assert Verdict.LEAKING is not verdict_of(model.deltas(), RULES[rule], model.run, cheap=cheap)


@pytest.mark.parametrize("rule", RULES)
@MODELS
@given(data=st.data())
def test_noise_hides_no_leak_of_the_model(rule, data):
    """A leak is found in a level that swings, once the measured rounds have shown the swing."""
    model = data.draw(models(rule, noise=st.integers(0, 3)), label="model")
    series = model.deltas()
    seen = drop(series[model.run : 2 * model.run])
    if rising(series[: model.run]) and seen >= model.unit * model.noise:
        cheap = data.draw(CHEAP, label="cheap")
        assert Verdict.LEAKING is verdict_of(series, RULES[rule], model.run, cheap=cheap)
