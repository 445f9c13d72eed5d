"""The public forms: what each accepts, runs, returns, names and refuses.

What all forms share is tested elsewhere: options in test_plan, exceptions, state and nesting in
test_undisturbed, verdicts in test_zoo, TestCase classes in test_testcase, the block that runs once
in test_single_pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import inspect
import pickle
import unittest
import warnings
from array import array
from concurrent.futures import ThreadPoolExecutor

import pytest

import refleak
from refleak import LeakError, assert_no_leaks, find_leaks, leak_check

STAB, RUN = 2, 2
ROUNDS = STAB + RUN
OPTIONS = {"stab": STAB, "run": RUN, "probes": ["-all", "objects"]}
"""Objects alone: the native heap, say, may grow by chance, which has further rounds run."""
JUDGING = {**OPTIONS, "max_rounds": 14, "diagnose": False}
"""The cheapest options that still give a verdict on growth."""

calls = array("q", [0])
kept: list[object] = []


@pytest.fixture(autouse=True)
def _forgotten():
    yield
    calls[0] = 0
    kept.clear()


def note():
    """Count a call, which leaves nothing behind; return how many there were."""
    calls[0] += 1
    return calls[0]


# --- the decorator -------------------------------------------------------------------------------


@assert_no_leaks(**OPTIONS)
def function(first, /, second=2, *rest, keyword=None, **more):
    """Document the function."""
    note()
    return (first, second, rest, keyword, more)


@assert_no_leaks(**OPTIONS)
async def coroutine_function(argument):
    """Document the coroutine function."""
    await asyncio.sleep(0)
    note()
    return argument


class Service:
    """Has a method of each kind."""

    @assert_no_leaks(**OPTIONS)
    def method(self, argument):
        """Document the method."""
        note()
        return self, argument

    @classmethod
    @assert_no_leaks(**OPTIONS)
    def class_inside(cls, argument):
        """Document the classmethod."""
        note()
        return cls, argument

    @assert_no_leaks(**OPTIONS)
    @classmethod
    def class_outside(cls, argument):
        """Document the classmethod decorated from outside."""
        note()
        return cls, argument

    @staticmethod
    @assert_no_leaks(**OPTIONS)
    def static_inside(argument):
        """Document the staticmethod."""
        note()
        return argument

    @assert_no_leaks(**OPTIONS)
    @staticmethod
    def static_outside(argument):
        """Document the staticmethod decorated from outside."""
        note()
        return argument

    @assert_no_leaks(**OPTIONS)
    async def coroutine_method(self, argument):
        """Document the coroutine method."""
        note()
        return self, argument


service = Service()

DECORATED = {
    "method": (lambda: service.method(3), (service, 3)),
    "method of the class": (lambda: Service.method(service, 3), (service, 3)),
    "classmethod inside": (lambda: Service.class_inside(3), (Service, 3)),
    "classmethod outside": (lambda: Service.class_outside(3), (Service, 3)),
    "classmethod of an instance": (lambda: service.class_outside(3), (Service, 3)),
    "staticmethod inside": (lambda: Service.static_inside(3), 3),
    "staticmethod outside": (lambda: service.static_outside(3), 3),
    "coroutine function": (lambda: asyncio.run(coroutine_function(3)), 3),
    "coroutine method": (lambda: asyncio.run(service.coroutine_method(3)), (service, 3)),
    "function": (lambda: function(1, 5, 6, keyword=7, x=8), (1, 5, (6,), 7, {"x": 8})),
}


@pytest.mark.parametrize(("call", "expected"), DECORATED.values(), ids=DECORATED)
def test_decorated_callables_are_repeated_with_their_arguments(call, expected):
    """Each kind of callable is run stab + run times and returns what it always returns."""
    assert expected == call()
    assert ROUNDS == calls[0]


def test_the_result_is_that_of_the_last_round():
    """A test that returns something else each time returns what its last run returned."""
    assert ROUNDS == assert_no_leaks(**OPTIONS)(note)()


def test_the_result_of_the_last_round_is_awaited():
    """So does one that is awaited."""

    @assert_no_leaks(**OPTIONS)
    async def noting():
        return note()

    assert ROUNDS == asyncio.run(noting())


def test_bare_and_empty_brackets_take_the_defaults():
    """``@assert_no_leaks`` and ``@assert_no_leaks()`` both run five and four rounds."""

    def noting():
        note()

    for decorate in (assert_no_leaks, assert_no_leaks()):
        calls[0] = 0
        decorate(noting)()
        assert calls[0] in (9, 9 + 4)  # four more where the native heap grew by chance


class Adding:
    """Is called, and adds one."""

    def __call__(self, number):
        """Add."""
        return number + 1


@pytest.mark.parametrize(
    "subject",
    [abs, functools.partial(pow, exp=1), (3).__or__, lambda number: number, Adding().__call__],
    ids=["builtin", "partial", "builtin method", "lambda", "bound method"],
)
def test_any_callable_can_be_decorated(subject):
    """Functions in C, partials, methods and lambdas are no different."""
    assert subject(3) == assert_no_leaks(**OPTIONS)(subject)(3)


def original(first, /, second=2, *rest, keyword=None, **more):
    """Document the function."""


@pytest.mark.parametrize(
    ("decorated", "doc"),
    [
        (function, "Document the function."),
        (Service.method, "Document the method."),
        (Service.class_inside, "Document the classmethod."),
        (Service.class_outside, "Document the classmethod decorated from outside."),
        (Service.static_inside, "Document the staticmethod."),
        (Service.static_outside, "Document the staticmethod decorated from outside."),
        (coroutine_function, "Document the coroutine function."),
        (Service.coroutine_method, "Document the coroutine method."),
    ],
)
def test_names_and_docs_are_kept(decorated, doc):
    """Name, qualified name, module and docstring are those of the function."""
    inner = inspect.unwrap(decorated)
    assert doc == decorated.__doc__
    assert __name__ == decorated.__module__
    assert (inner.__name__, inner.__qualname__) == (decorated.__name__, decorated.__qualname__)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_decorated_functions_are_pickled_and_copied_as_functions_are(protocol):
    """By name: a pool of processes can be given one."""
    assert function is pickle.loads(pickle.dumps(function, protocol))
    assert copy.copy(function) is copy.deepcopy(function) is function


def test_signatures_are_kept():
    """Parameters of every kind are seen through the decorator, and binding drops ``self``."""
    assert inspect.signature(original) == inspect.signature(function)
    assert ["self", "argument"] == list(inspect.signature(Service.method).parameters)
    assert ["argument"] == list(inspect.signature(service.method).parameters)
    assert ["argument"] == list(inspect.signature(Service.class_outside).parameters)
    assert ["argument"] == list(inspect.signature(Service.static_outside).parameters)


def test_coroutine_functions_are_known_as_such():
    """What asks for coroutine functions finds the decorated ones, and no others."""
    assert inspect.iscoroutinefunction(coroutine_function)
    assert inspect.iscoroutinefunction(service.coroutine_method)
    assert not inspect.iscoroutinefunction(function)
    assert not inspect.iscoroutinefunction(service.method)


@pytest.fixture
def number():
    """A fixture to inject."""
    return 7


@pytest.mark.parametrize("parameter", [1, 2])
@assert_no_leaks(**OPTIONS)
def test_fixtures_and_parameters_are_injected(number, parameter, tmp_path):
    """A decorated test takes its fixtures and parameters as before."""
    assert 7 == number
    assert parameter in (1, 2)
    assert tmp_path.is_dir()


class TestMethods:
    """Methods of a plain test class are decorated too."""

    @assert_no_leaks(**OPTIONS)
    def test_fixtures_are_injected_into_methods(self, number):
        """A decorated method takes its fixtures as before."""
        assert isinstance(self, TestMethods)
        assert 7 == number


# --- names ---------------------------------------------------------------------------------------


class Leaky:
    """Keeps something in each of its methods."""

    @assert_no_leaks(**JUDGING)
    def method(self):
        """Leak."""
        kept.append([])

    @assert_no_leaks(**JUDGING)
    @classmethod
    def of_class(cls):
        """Leak."""
        kept.append([])

    def __call__(self):
        """Leak."""
        kept.append([])


def leaky(*_):
    """Leak."""
    kept.append([])


async def leaky_coroutine(*_):
    """Leak."""
    kept.append([])


async def noting_coroutine():
    """Count a call."""
    return note()


def by_check(*arguments):
    """Check a callable in a ``with`` block."""
    with leak_check(**JUDGING) as check:
        check(*arguments)


def by_loop():
    """Check a block that is repeated."""
    for _ in leak_check(**JUDGING):
        leaky()


def by_block():
    """Check a block that runs once."""
    with leak_check():
        kept.append([Leaky()])


HERE = "test_api.py"
LOOP = by_loop.__code__.co_firstlineno + 2
BLOCK = by_block.__code__.co_firstlineno + 2

NAMES = {
    "decorator": ("leaky leaked 1 ", assert_no_leaks(**JUDGING)(leaky)),
    "method": ("Leaky.method leaked 1 ", Leaky().method),
    "classmethod": ("Leaky.of_class leaked 1 ", Leaky.of_class),
    "partial": ("leaky leaked 1 ", assert_no_leaks(**JUDGING)(functools.partial(leaky, 3))),
    "callable object": ("Leaky.__call__ leaked 1 ", assert_no_leaks(**JUDGING)(Leaky())),
    "call": ("leaky leaked 1 ", lambda: by_check(leaky, 3)),
    "loop": (f"the loop at {HERE}:{LOOP} leaked 1 ", by_loop),
    "block": (f"the block at {HERE}:{BLOCK} leaked 2 objects", by_block),
}


@pytest.mark.parametrize(("expected", "leaking"), NAMES.values(), ids=NAMES)
def test_leak_errors_name_what_was_checked(expected, leaking):
    """The first line begins with the innermost name of the function, or the line of the block."""
    with pytest.raises(LeakError) as caught:
        leaking()
    assert str(caught.value).startswith(expected)
    assert str(caught.value.report) == str(caught.value)


def test_find_leaks_returns_the_report():
    """A leak is reported and not raised, under the function's name."""
    report = find_leaks(leaky, **JUDGING)
    assert report.leaking
    assert "leaky" == report.subject


def test_find_leaks_runs_coroutine_functions_in_one_loop():
    """All rounds of an async function run in the same event loop, which is closed afterwards."""
    loops = set()

    async def subject():
        note()
        loops.add(asyncio.get_running_loop())

    assert not find_leaks(subject, **OPTIONS).leaking
    assert ROUNDS == calls[0]
    (loop,) = loops
    assert loop.is_closed()


# --- leak_check ----------------------------------------------------------------------------------


def test_a_check_runs_the_callable_with_its_arguments():
    """``check(fn, ...)`` returns what the last run returned."""
    with leak_check(**OPTIONS) as check:
        assert (1, 2, (), 5, {}) == check(function.__wrapped__, 1, keyword=5)
    assert ROUNDS == calls[0]
    assert "function" == check.report.subject


def test_a_check_of_a_coroutine_function_is_awaited():
    """``await check(fn, ...)`` runs all rounds in the loop that is running."""

    async def main():
        with leak_check(**OPTIONS) as check:
            return await check(coroutine_function.__wrapped__, 3), check.report.rounds

    assert (3, ROUNDS) == asyncio.run(main())
    assert ROUNDS == calls[0]


@pytest.mark.filterwarnings("error")
def test_a_check_that_is_not_awaited_is_refused():
    """Nothing was run, so the block does not end as if all were well."""
    with pytest.raises(TypeError) as caught, leak_check(**OPTIONS) as check:
        check(leaky_coroutine, 3)
    assert (
        "the check of leaky_coroutine was not awaited, so none of its code was run; write "
        "await check(leaky_coroutine)"
    ) == str(caught.value)


@pytest.mark.filterwarnings("error")
def test_a_body_that_raised_says_nothing_of_a_check_that_is_not_awaited():
    """The body's own exception is passed on alone."""

    def raising():
        with leak_check(**OPTIONS) as check:
            check(leaky_coroutine)
            raise KeyError

    with pytest.raises(KeyError):
        raising()


def test_one_of_many_checks_that_is_not_awaited():
    """Those that were awaited before and after it change nothing."""

    async def main():
        with leak_check(**OPTIONS) as check:
            await check(noting_coroutine)
            check(leaky_coroutine)
            await check(noting_coroutine)

    with pytest.raises(TypeError, match="the check of leaky_coroutine was not awaited"):
        asyncio.run(main())


def test_checks_that_are_awaited_together():
    """A check need not be awaited where it is called."""

    async def main():
        with leak_check(**OPTIONS) as check:
            both = [check(noting_coroutine), check(noting_coroutine)]
            return [await each for each in both]

    assert [ROUNDS, 2 * ROUNDS] == asyncio.run(main())


def test_a_decorated_coroutine_function_that_is_not_awaited():
    """Python's own warning names the function."""
    with pytest.warns(RuntimeWarning, match="coroutine 'leaky_coroutine' was never awaited"):
        assert_no_leaks(**OPTIONS)(leaky_coroutine)()


def test_a_check_can_be_called_again():
    """Each call is a check of its own; the report is that of the last one."""
    with leak_check(**JUDGING) as check:
        check(note)
        assert "note" == check.report.subject
        check(abs, -1)
    assert "abs" == check.report.subject
    assert ROUNDS == calls[0]


def test_a_check_is_refused_as_a_decorator():
    """Outside of its block it is not called: as a decorator it would judge the definition."""
    with pytest.raises(TypeError) as caught:
        leak_check()(note)
    assert (
        "leak_check is no decorator, and is called within its with block only; write "
        "@assert_no_leaks above a function, or with leak_check() as check: "
        "check(function, argument)"
    ) == str(caught.value)
    assert 0 == calls[0]


def test_a_check_is_not_called_once_its_block_is_over():
    """The same holds behind the block."""
    with leak_check(**OPTIONS) as check:
        check(note)
    with pytest.raises(TypeError, match="is called within its with block only"):
        check(note)


def test_the_report_of_a_leak_stays_with_the_check():
    """After LeakError the object has the same report."""
    with leak_check(**JUDGING) as check, pytest.raises(LeakError) as caught:
        check(leaky)
    assert caught.value.report is check.report


def test_before_a_verdict_there_is_no_report():
    """A fresh check has none."""
    assert leak_check().report is None


def test_a_loop_runs_its_body_as_often_as_is_needed():
    """A clean body runs stab + run times, and the loop hands out nothing."""
    check = leak_check(**OPTIONS)
    for nothing in check:
        note()
        assert nothing is None
    assert ROUNDS == calls[0] == check.report.rounds
    assert not check.report.leaking


def test_a_loop_in_a_coroutine():
    """The same loop stands in ``async def`` code, with awaits in its body."""

    async def main():
        for _ in leak_check(**OPTIONS):
            await asyncio.sleep(0)
            note()

    asyncio.run(main())
    assert ROUNDS == calls[0]


def left_by_break():
    """Leave the loop."""
    for _ in leak_check(**OPTIONS):
        break


def left_by_return():
    """Leave the function with the loop."""
    for _ in leak_check(**OPTIONS):
        return


def left_by_break_in_an_async_function():
    """Leave a loop in a coroutine."""

    async def main():
        for _ in leak_check(**OPTIONS):
            await asyncio.sleep(0)
            break

    asyncio.run(main())


@pytest.mark.parametrize(
    "leaving", [left_by_break, left_by_return, left_by_break_in_an_async_function]
)
def test_a_loop_left_early_says_that_it_was_not_judged(leaving):
    """``break`` and ``return`` warn at the line of the loop, with its name."""
    with pytest.warns(RuntimeWarning) as caught:
        leaving()
    (warning,) = caught
    assert __file__ == warning.filename
    assert str(warning.message).startswith(f"the loop at {HERE}:")
    assert str(warning.message).endswith("was left early and is not judged; let it run to its end")


def test_one_check_can_be_looped_over_again():
    """Each loop over the same object is a check of its own."""
    check = leak_check(**OPTIONS)
    for _ in check:
        note()
    first = check.report
    for _ in check:
        note()
    assert 2 * ROUNDS == calls[0]
    assert first is not check.report


def test_a_block_within_a_repeated_block_is_not_judged():
    """Nested forms of any kind run once per round of the outer one, which judges."""
    inner = []
    for _ in leak_check(**OPTIONS):
        with leak_check() as check:
            note()
        inner[:] = [check.report.judged]
    assert [False] == inner
    assert ROUNDS == calls[0]


# --- what is refused -----------------------------------------------------------------------------


def generator():
    """Generate."""
    yield 1


async def async_generator():
    """Generate, asynchronously."""
    yield 1


class Generating:
    """Is called, and generates."""

    def __call__(self):
        """Generate."""
        yield 1

    def method(self):
        """Generate."""
        yield 1


USED_UP = (
    "{form} cannot check the generator function {name}: calling it runs none of its code; "
    "check a function that uses it up: {right}"
)
NO_TESTCASE = (
    "{form} cannot check the class {name}, which is no unittest.TestCase; decorate its test "
    "methods, or check a function that makes one: {right}"
)
REFUSED = {
    "generator function": (generator, USED_UP, "generator", "def test(): list(generator())"),
    "partial": (
        functools.partial(generator),
        USED_UP,
        "generator",
        "def test(): list(generator())",
    ),
    "method": (
        Generating().method,
        USED_UP,
        "Generating.method",
        "def test(): list(Generating.method())",
    ),
    "callable object": (
        Generating(),
        USED_UP,
        "Generating.__call__",
        "def test(): list(Generating.__call__())",
    ),
    "asynchronous generator function": (
        async_generator,
        USED_UP,
        "async_generator",
        "async def test(): [item async for item in async_generator()]",
    ),
    "class": (
        Service,
        NO_TESTCASE,
        "Service",
        "find_leaks(lambda: Service())",
    ),
}


def by_check_alone(subject):
    """Check a callable in a ``with`` block, with the default options."""
    with leak_check() as check:
        check(subject)


FORMS = {
    "assert_no_leaks": assert_no_leaks,
    "find_leaks": find_leaks,
    "leak_check": by_check_alone,
}


def test_a_check_is_not_entered_twice_at_once():
    """The inner block would end the outer one, which would be running for ever."""
    check = leak_check(**OPTIONS)
    for _ in range(2):  # one after the other is fine
        with pytest.raises(RuntimeError, match=r"test_api.py:\d+ was entered before"), check, check:
            note()
    assert find_leaks(note, **OPTIONS).judged
    assert 0 < calls[0]


def test_a_block_that_was_never_left_is_told_of():
    """Whoever forgot to close an ExitStack learns why nothing is judged any more."""
    stack = contextlib.ExitStack()

    def enter():
        stack.enter_context(leak_check(**OPTIONS))

    enter()
    try:
        with pytest.warns(RuntimeWarning, match=r"note is not judged: the block at .* not left"):
            assert not find_leaks(note, **OPTIONS).judged
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            threads = ThreadPoolExecutor(1)  # whose check the other one encloses, it cannot know
            assert not threads.submit(find_leaks, note, **OPTIONS).result().judged
            threads.shutdown()
    finally:
        stack.pop_all().__exit__(ValueError, ValueError(), None)
    assert find_leaks(note, **OPTIONS).judged


def test_a_block_within_another_is_not_warned_of():
    """The outer one judges what the inner one does."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with leak_check(**OPTIONS):
            assert not find_leaks(note, **OPTIONS).judged


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("subject", "text", "name", "right"), REFUSED.values(), ids=REFUSED)
def test_what_runs_no_code_is_refused_with_the_right_form(form, subject, text, name, right):
    """A subject that cannot be repeated is a TypeError that shows what to write."""
    if form == "leak_check":
        right = right.replace("find_leaks", "check")
    with pytest.raises(TypeError) as caught:
        FORMS[form](subject)
    assert text.format(form=form, name=name, right=right) == str(caught.value)


class Tests(unittest.TestCase):
    """Tests, of which one leaks."""

    def test_keep(self):
        """Leak."""
        kept.append([])


@pytest.mark.parametrize(("form", "check"), [("find_leaks", "find_leaks"), ("leak_check", "check")])
def test_a_testcase_is_refused_with_the_right_forms(form, check):
    """A class of tests is decorated; a function checks a test of it."""
    with pytest.raises(TypeError) as caught:
        FORMS[form](Tests)
    assert (
        f"{form} cannot check the class Tests, whose tests are run one by one; decorate it with "
        f"@assert_no_leaks, run python -m refleak unittest, or check one test: "
        f'{check}(lambda: Tests("test_name").debug())'
    ) == str(caught.value)
    assert find_leaks(lambda: Tests("test_keep").debug(), **JUDGING).leaking


@pytest.mark.parametrize(
    ("form", "right"),
    [
        ("assert_no_leaks", "@assert_no_leaks or @assert_no_leaks(stab=5, run=4) above a function"),
        ("find_leaks", "find_leaks(function, stab=5, run=4)"),
        ("leak_check", "with leak_check() as check: check(function, argument)"),
    ],
)
def test_what_is_no_function_is_refused_with_the_right_form(form, right):
    """A subject that cannot be called is shown, with its type."""
    with pytest.raises(TypeError) as caught:
        FORMS[form](5)
    assert f"{form} takes a function, not 5 (int); write {right}" == str(caught.value)


def test_the_decorator_with_arguments_refuses_the_same():
    """With arguments the subject is looked at when it comes."""
    with pytest.raises(TypeError, match=r"not 'text' \(str\); write @assert_no_leaks or"):
        assert_no_leaks(stab=2)("text")
    with pytest.raises(TypeError, match="cannot check the generator function generator"):
        assert_no_leaks(stab=2)(generator)


@pytest.mark.parametrize("kind", [classmethod, staticmethod])
def test_generators_are_refused_within_descriptors(kind):
    """A classmethod or staticmethod is asked for the function in it."""
    with pytest.raises(TypeError, match="cannot check the generator function generator"):
        assert_no_leaks(kind(generator))


def expression():
    """Return a generator without a name."""
    return (number for number in kept)


async def returning_a_generator():
    """Run its own code, and return code that is not run."""
    return generator()


NOT_RUN = "{} returned {} that nobody {}, so none of its code was run; check {}"
UNRUN = {
    "coroutine": (
        lambda: leaky_coroutine(),  # noqa: PLW0108  # what people write
        ("<lambda>", "a coroutine", "awaits"),
        "an async def function: async def test(): await leaky_coroutine()",
    ),
    "generator": (
        lambda: generator(),  # noqa: PLW0108  # the same
        ("<lambda>", "a generator", "uses up"),
        "a function that does: def test(): list(generator())",
    ),
    "generator expression": (
        expression,
        ("expression", "a generator", "uses up"),
        "a function that does: def test(): list(expression())",
    ),
    "asynchronous generator": (
        lambda: async_generator(),  # noqa: PLW0108  # the same
        ("<lambda>", "an asynchronous generator", "uses up"),
        (
            "an async def function that does: "
            "async def test(): [item async for item in async_generator()]"
        ),
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("subject", "named", "right"), UNRUN.values(), ids=UNRUN)
def test_a_function_that_returns_what_was_not_run_is_refused(form, subject, named, right):
    """A lambda around an async function, say, would run none of its code."""
    with pytest.raises(TypeError) as caught:
        assert_no_leaks(subject)() if form == "assert_no_leaks" else FORMS[form](subject)
    assert NOT_RUN.format(*named, right) == str(caught.value)
    assert [] == kept


def test_an_async_function_that_returns_what_was_not_run_is_refused():
    """Awaiting it runs no more than calling another one does."""
    with pytest.raises(TypeError, match="returning_a_generator returned a generator"):
        find_leaks(returning_a_generator)


def test_a_generator_that_has_begun_may_be_returned():
    """Some of its code was run."""

    def begun():
        note()
        numbers = generator()
        next(numbers)
        return numbers

    assert not find_leaks(begun, **OPTIONS).leaking
    assert ROUNDS == calls[0]


@pytest.mark.filterwarnings("error")
def test_find_leaks_says_what_to_write_within_a_running_loop():
    """There it cannot run an async function itself; the message shows what can."""

    async def main():
        find_leaks(leaky_coroutine)

    with pytest.raises(RuntimeError) as caught:
        asyncio.run(main())
    assert (
        "find_leaks cannot run leaky_coroutine while an event loop is running; write "
        "with leak_check() as check: await check(leaky_coroutine)"
    ) == str(caught.value)


# --- switched off --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["off", "OFF"])
def test_switched_off_every_form_runs_once(monkeypatch, value):
    """With REFLEAK=off nothing is repeated or judged; results and blocks are as always."""
    monkeypatch.setenv("REFLEAK", value)
    assert 1 == assert_no_leaks(note)()
    with leak_check() as check:
        assert 2 == check(note)
    for _ in leak_check():
        note()
    with leak_check() as check:
        kept.append(note())
    assert 3 == asyncio.run(coroutine_function.__wrapped__(3))
    assert 3 == asyncio.run(coroutine_function(3))
    assert [4] == kept
    assert 6 == calls[0]
    assert check.report is None


@pytest.mark.parametrize("value", ["", "on", "ON"])
def test_on_switches_nothing_off(monkeypatch, value):
    """Nothing said is the same."""
    monkeypatch.setenv("REFLEAK", value)
    assert ROUNDS == assert_no_leaks(**OPTIONS)(note)()


def test_other_words_are_refused(monkeypatch):
    """A word that means nothing is not taken for one that does."""
    monkeypatch.setenv("REFLEAK", "of")
    with pytest.raises(ValueError, match="REFLEAK in the environment must be on or off, not 'of'"):
        assert_no_leaks(note)()
    assert 0 == calls[0]


def test_find_leaks_is_not_switched_off(monkeypatch):
    """Whoever asks for a report gets one."""
    monkeypatch.setenv("REFLEAK", "off")
    assert ROUNDS == find_leaks(note, **OPTIONS).rounds


# --- the package ---------------------------------------------------------------------------------


def test_the_package_exports_what_it_documents():
    """All names are there, sorted; the version is the distribution's; others are errors."""
    assert sorted(refleak.__all__) == refleak.__all__
    assert [] == [name for name in refleak.__all__ if not hasattr(refleak, name)]
    assert refleak.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        refleak.nothing


def test_a_clean_check_warns_of_nothing():
    """No form adds a warning to the user's."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for call, _ in DECORATED.values():
            call()
    assert [] == caught
