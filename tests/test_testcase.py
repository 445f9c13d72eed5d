"""@assert_no_leaks on TestCase classes and on their methods, seen as a runner sees them."""

from __future__ import annotations

import asyncio
import contextvars
import doctest
import inspect
import io
import pickle
import sys
import unittest

import pytest

from refleak import LeakError, assert_no_leaks
from refleak._testcase import Fresh, RoundResult, _takes_method_name

kept = []
events = []

# Memory blocks are read in microseconds; what is tested here is what is repeated and reported.
QUICKLY = {"stab": 2, "run": 2, "probes": ("-all", "memory blocks"), "diagnose": False}
quickly = assert_no_leaks(**QUICKLY, max_rounds=24)
ROUNDS = 4


@pytest.fixture(autouse=True)
def _forget():
    kept.clear()
    events.clear()
    yield
    kept.clear()
    events.clear()


class Recorder(unittest.TestResult):
    """A result that writes down what it hears, and of whom."""

    __test__ = False  # for the runner below, not for pytest

    def __init__(self):
        super().__init__()
        self.heard = []


def _recorded(name):
    def method(self, *args):
        self.heard.append(name)
        return getattr(super(Recorder, self), name)(*args)

    return method


for _name in dir(unittest.TestResult):
    if _name.startswith("add") or _name in {"startTest", "stopTest"}:
        setattr(Recorder, _name, _recorded(_name))


def run(cls, name="test", result=None):
    """Run one test of a class through a suite, as runners do, and return the result."""
    result = Recorder() if result is None else result
    unittest.TestSuite([cls(name)]).run(result)
    return result


def assert_repeated(cycle):
    """See that *cycle* happened in each round; noise can have made some more of them."""
    times = max(ROUNDS, len(events) // len(cycle))
    assert cycle * times == events


def outcome(result):
    """Say how a single test ended."""
    names = ("failures", "errors", "skipped", "expectedFailures", "unexpectedSuccesses")
    return {name: len(getattr(result, name)) for name in names if getattr(result, name)}


# --- the verdict -------------------------------------------------------------------------------


@quickly
class Leaking(unittest.TestCase):
    """Leaks an object in each test."""

    __test__ = False  # for the runner below, not for pytest

    def test(self):
        """Leak."""
        kept.append(object())


@quickly
class Clean(unittest.TestCase):
    """Uses what a test may use, and leaks nothing."""

    __test__ = False  # for the runner below, not for pytest

    def setUp(self):
        self.data = [object()]
        self.addCleanup(self.data.clear)
        events.append("setUp")

    def tearDown(self):
        events.append("tearDown")

    def test(self):
        """Use the instance."""
        self.data.append(self)
        self.addCleanup(events.append, "cleanup")
        events.append("test")

    def test_subtests(self):
        """Use subtests."""
        for number in range(3):
            with self.subTest(number=number):
                self.assertLess(number, 3)


def test_a_leaking_test_fails_with_leak_error():
    """The failure's text is LeakError's, with the name of the test and no line of refleak's."""
    [(case, text)] = run(Leaking).failures
    assert "test" == case._testMethodName
    assert "LeakError: Leaking.test leaked 1 memory block per call" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("name", ["test", "test_subtests"])
def test_a_clean_test_passes(name):
    """A test that leaks nothing is a plain success."""
    result = run(Clean, name)
    assert {} == outcome(result)
    assert 1 == result.testsRun
    assert 1 == result.heard.count("addSuccess")


def test_each_round_has_its_setup_and_teardown():
    """Every round sets up, tears down and cleans up, in unittest's order."""
    run(Clean)
    assert_repeated(["setUp", "test", "tearDown", "cleanup"])


def test_a_leak_in_setup_or_teardown_or_cleanup_is_found():
    """What is repeated is the test with its fixtures."""

    class Leaky(unittest.TestCase):
        def setUp(self):
            if where == "setUp":
                kept.append(object())

        def tearDown(self):
            if where == "tearDown":
                kept.append(object())

        def test(self):
            if where == "cleanup":
                self.addCleanup(kept.append, [])

    quickly(Leaky)
    for where in ("setUp", "tearDown", "cleanup"):
        assert {"failures": 1} == outcome(run(Leaky)), where
    where = "nowhere"
    assert {} == outcome(run(Leaky))


def test_rounds_use_fresh_instances_and_not_the_runners():
    """Nothing that a round does to self is there in the next one, or in the runner's instance."""

    @quickly
    class Selfish(unittest.TestCase):
        def test(self):
            self.assertNotIn("mark", vars(self))
            self.mark = True

    case = Selfish("test")
    result = unittest.TestResult()
    case(result)
    assert result.wasSuccessful()
    assert "mark" not in vars(case)


def test_what_the_runner_hears_is_about_its_own_instance():
    """Runners know tests by identity: results name the instance that the runner made."""
    case = Leaking("test")
    result = unittest.TestResult()
    case.run(result)
    assert [case] == [test for test, _ in result.failures]


# --- what is no leak stays as it was -----------------------------------------------------------


class Outcomes(unittest.TestCase):
    """One test for each outcome there is."""

    __test__ = False  # for the runner below, not for pytest

    def test_pass(self):
        """Pass."""

    def test_fail(self):
        """Fail."""
        self.assertEqual(1, 2)

    def test_error(self):
        """Err."""
        raise KeyError("key")

    @unittest.skip("reason")
    def test_skip(self):
        """Be skipped."""

    def test_skip_inside(self):
        """Skip itself."""
        kept.append(object())
        self.skipTest("reason")

    @unittest.expectedFailure
    def test_expected_failure(self):
        """Fail as expected."""
        self.fail("as expected")

    @unittest.expectedFailure
    def test_unexpected_success(self):
        """Pass unexpectedly."""

    def test_subtests(self):
        """Fail in one subtest of three."""
        for number in range(3):
            with self.subTest(number=number):
                self.assertNotEqual(number, 1)

    def test_subtest_skips(self):
        """Skip one subtest of two."""
        for number in range(2):
            with self.subTest(number=number):
                if number:
                    self.skipTest("reason")

    def test_fails_in_cleanup(self):
        """Fail after the test."""
        self.addCleanup(self.fail, "late")

    def test_fails_twice(self):
        """Fail in the test and after it."""
        self.addCleanup(self.fail, "late")
        self.fail("early")


@quickly
class Checked(Outcomes):
    """The same tests, inherited and checked."""

    __test__ = False  # for the runner below, not for pytest


OUTCOMES = [name for name in dir(Outcomes) if name.startswith("test_")]


@pytest.mark.parametrize("name", OUTCOMES)
def test_other_outcomes_are_reported_as_without(name):
    """A result hears the same calls in the same order, with and without the decorator."""
    plain, checked = run(Outcomes, name), run(Checked, name)
    assert plain.heard == checked.heard
    assert outcome(plain) == outcome(checked)
    assert plain.testsRun == checked.testsRun


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_text_of_a_run_is_the_same_as_without(name):
    """unittest's own report is the same, word for word, but for the class's name and the time."""
    texts = []
    for cls in (Outcomes, Checked):
        stream = io.StringIO()
        suite = unittest.TestSuite([cls(name)])
        unittest.TextTestRunner(stream, verbosity=2).run(suite)
        lines = stream.getvalue().replace(cls.__qualname__, "Class").splitlines()
        texts.append([line for line in lines if not line.startswith("Ran ")])
    assert texts[0] == texts[1]


def test_a_failing_test_is_run_once():
    """The first outcome that is no success ends the repetition."""
    run(Checked, "test_skip_inside")
    assert 1 == len(kept)


def test_a_skipped_class_is_skipped():
    """Class decorators of unittest keep their meaning."""

    @unittest.skip("reason")
    class Skipped(unittest.TestCase):
        def test(self):
            raise AssertionError

    assert {"skipped": 1} == outcome(run(quickly(Skipped)))


def test_a_leak_is_the_expected_failure():
    """@expectedFailure on a leaking test: the leak is what was expected."""

    @quickly
    class Known(unittest.TestCase):
        @unittest.expectedFailure
        def test(self):
            kept.append(object())

    result = run(Known)
    assert {"expectedFailures": 1} == outcome(result)
    assert "LeakError" in result.expectedFailures[0][1]


def test_a_failure_in_a_later_round_says_so():
    """A test that cannot be repeated fails, and the failure names the repetition as its reason."""

    @quickly
    class Once(unittest.TestCase):
        def test(self):
            events.append("test")
            self.assertEqual(1, len(events))

    result = run(Once)
    assert {"failures": 1} == outcome(result)
    assert 0 == result.heard.count("addSuccess")
    assert (sys.version_info >= (3, 11)) == ("was repeated" in result.failures[0][1])


def test_keyboard_interrupt_goes_through():
    """Ctrl-C ends the run at once, and the result hears that the test has stopped."""

    @quickly
    class Interrupted(unittest.TestCase):
        def test(self):
            raise KeyboardInterrupt

    result = Recorder()
    with pytest.raises(KeyboardInterrupt):
        Interrupted("test").run(result)
    assert ["startTest", "stopTest"] == result.heard
    assert {} == outcome(run(Clean, result=Recorder()))


def test_failfast_and_stop_end_the_repetition():
    """A result that wants to stop is not kept waiting by further rounds; there is no verdict."""

    @quickly
    class Stopping(unittest.TestCase):
        def test(self):
            events.append("test")
            kept.append(object())
            result.stop()

    result = Recorder()
    run(Stopping, result=result)
    assert ["test"] == events
    assert {} == outcome(result)


def test_captured_output_is_that_of_one_round():
    """With --buffer a failing test shows its own output, not that of all rounds before."""

    @quickly
    class Printing(unittest.TestCase):
        def test(self):
            events.append("test")
            print("said")
            self.assertLess(len(events), 3)

    result = unittest.TestResult()
    result.buffer = True
    result._mirrorOutput = False
    run(Printing, result=result)
    assert 1 == result.failures[0][1].count("said")


def test_printing_into_a_buffer_is_no_leak():
    """What unittest keeps of the output is not counted as the test's."""

    @quickly
    class Printing(unittest.TestCase):
        def test(self):
            print("something")

    result = unittest.TestResult()
    result.buffer = True
    assert {} == outcome(run(Printing, result=result))


# --- the class stays what it is ----------------------------------------------------------------


def test_the_class_stays_the_same_class():
    """Decorating changes neither identity nor name nor tests, and instances can be pickled."""

    class Plain(unittest.TestCase):
        def test(self):
            pass

    assert Plain is quickly(Plain)
    assert ["test"] == unittest.TestLoader().getTestCaseNames(Plain)
    assert f"{__name__}.Leaking.test" == Leaking("test").id()
    copy = pickle.loads(pickle.dumps(Leaking("test")))
    assert Leaking is type(copy)
    assert {"failures": 1} == outcome(copy.run())


def test_signatures_and_names_of_the_entry_points_stay():
    """Tools that look at run() see unittest's."""
    assert "run" == Leaking.run.__name__
    assert inspect.signature(unittest.TestCase.run) == inspect.signature(Leaking.run)


def test_subclasses_are_checked():
    """A subclass inherits the check with the tests, its own ones included."""

    class Sub(Clean):
        def test_own(self):
            kept.append(object())

    assert {"failures": 1} == outcome(run(Sub, "test_own"))
    assert {} == outcome(run(Sub))


def test_the_nearest_decorator_counts():
    """A subclass decorated again is checked as its own decorator says, once."""

    @assert_no_leaks(stab=1, run=1, probes=QUICKLY["probes"])
    class Sub(Clean):
        pass

    run(Sub)
    assert 2 == events.count("test")


def test_overridden_run_is_part_of_each_round():
    """A class with a run() of its own, below or above the decorated one, has it called."""

    class Mixin:
        def run(self, result=None):
            events.append("mixin")
            return super().run(result)

    @quickly
    class Base(unittest.TestCase):
        def test(self):
            events.append("test")

    class Sub(Base, Mixin, unittest.TestCase):
        pass

    assert {} == outcome(run(Sub))
    assert_repeated(["mixin", "test"])

    @quickly
    class Own(Mixin, unittest.TestCase):
        def run(self, result=None):
            events.append("own")
            return super().run(result)

        def test(self):
            events.append("test")

    events.clear()
    assert {} == outcome(run(Own))
    assert_repeated(["own", "mixin", "test"])


def test_setup_in_call_is_repeated_too():
    """Django's test cases set up in __call__, around run."""

    @quickly
    class Called(unittest.TestCase):
        def __call__(self, result=None):
            self.client = events.append("pre-setup")
            super().__call__(result)
            events.append("post-teardown")

        def test(self):
            events.append("test")

    run(Called)
    assert_repeated(["pre-setup", "test", "post-teardown"])


def test_class_fixtures_are_set_up_once():
    """setUpClass, tearDownClass and class cleanups belong to the runner."""

    @quickly
    class Fixtures(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            events.append("setUpClass")
            cls.addClassCleanup(events.append, "class cleanup")

        @classmethod
        def tearDownClass(cls):
            events.append("tearDownClass")

        def test(self):
            events.append("test")

    run(Fixtures)
    assert ["setUpClass", *["test"] * ROUNDS, "tearDownClass", "class cleanup"] == events


def test_without_a_result_one_is_made():
    """run() without a result returns unittest's default one."""
    assert {"failures": 1} == outcome(Leaking("test").run())


def test_debug_lets_exceptions_through():
    """debug() repeats the test as well, and raises LeakError itself."""
    with pytest.raises(LeakError, match=r"Leaking\.test leaked"):
        Leaking("test").debug()
    with pytest.raises(KeyError):
        Checked("test_error").debug()
    Clean("test").debug()
    assert ROUNDS == events.count("test")


def test_switched_off_the_test_runs_once(monkeypatch):
    """With REFLEAK=off a leaking test passes, on the runner's own instance."""
    monkeypatch.setenv("REFLEAK", "off")
    assert {} == outcome(run(Leaking))
    assert 1 == len(kept)


def test_a_decorated_method_in_a_decorated_class_is_not_checked_twice():
    """The inner decorator runs its method once within each round of the outer check."""

    @quickly
    class Both(unittest.TestCase):
        @assert_no_leaks
        def test(self):
            events.append("test")

    assert {} == outcome(run(Both))
    assert ROUNDS == len(events)


def test_a_class_that_is_no_testcase_is_refused():
    """There is nothing to repeat in a plain class; the message says what to do."""
    with pytest.raises(TypeError, match="decorate its test methods"):

        @assert_no_leaks
        class Plain:
            pass


# --- asyncio -----------------------------------------------------------------------------------

place = contextvars.ContextVar("place", default="outside")


@quickly
class Async(unittest.IsolatedAsyncioTestCase):
    """Async fixtures and tests."""

    __test__ = False  # for the runner below, not for pytest

    async def asyncSetUp(self):
        self.assertEqual("outside", place.get())
        place.set("inside")
        self.addAsyncCleanup(asyncio.sleep, 0)
        events.append("asyncSetUp")

    async def asyncTearDown(self):
        events.append("asyncTearDown")

    async def test(self):
        """Be clean."""
        self.assertEqual("inside", place.get())
        await asyncio.sleep(0)

    async def test_leak(self):
        """Leak."""
        await asyncio.sleep(0)
        kept.append(object())

    async def test_fail(self):
        """Fail."""
        self.fail("reason")


def test_async_tests_are_repeated_in_loops_and_contexts_of_their_own():
    """Each round has a new event loop, a new context and its async fixtures."""
    assert {} == outcome(run(Async))
    assert_repeated(["asyncSetUp", "asyncTearDown"])


@pytest.mark.parametrize("name", ["test_leak", "test_fail"])
def test_async_tests_fail(name):
    """A leak in an async test is a failure, and so is a failure."""
    result = run(Async, name)
    assert {"failures": 1} == outcome(result)
    assert (name == "test_leak") == ("LeakError" in result.failures[0][1])


# --- fresh instances ---------------------------------------------------------------------------


def test_attributes_given_from_outside_are_carried_over():
    """What a pytest fixture or a loader puts on the instance is there in every round."""

    @quickly
    class Given(unittest.TestCase):
        def test(self):
            self.assertEqual("value", self.given)

    case = Given("test")
    case.given = "value"
    case.test = case.test  # as pytest does
    result = unittest.TestResult()
    case(result)
    assert {} == outcome(result)


def test_a_constructor_is_called_for_each_round():
    """What __init__ makes is made anew, so that a test may add to it."""

    @quickly
    class Made(unittest.TestCase):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.data = []

        def test(self):
            self.data.append(object())
            self.assertEqual(1, len(self.data))

    assert {} == outcome(run(Made))


def test_other_constructors_are_passed_over():
    """A test with parameters of its own keeps them, its containers as copies."""

    @quickly
    class Parametrized(unittest.TestCase):
        def __init__(self, method, number=None):
            super().__init__(method)
            self.number = number
            self.data = []

        def test(self):
            self.assertEqual(7, self.number)
            self.data.append(object())
            self.assertEqual(1, len(self.data))

    case = Parametrized("test", 7)
    result = unittest.TestResult()
    case(result)
    assert {} == outcome(result)


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (unittest.TestCase, True),
        (unittest.IsolatedAsyncioTestCase, True),
        (unittest.FunctionTestCase, False),
        (doctest.DocTestCase, False),
    ],
)
def test_which_constructors_take_the_name_alone(cls, expected):
    """Only what a loader could have called is called."""
    assert expected == _takes_method_name(cls)


def test_function_and_doctest_cases_can_be_made_anew():
    """The two of the standard library that are made otherwise work in every round."""
    test = doctest.DocTestParser().get_doctest(">>> x\n1\n", {"x": 1}, "name", None, None)
    for case in (doctest.DocTestCase(test), unittest.FunctionTestCase(lambda: None)):
        fresh = Fresh(case)
        for _ in range(3):
            result = unittest.TestResult()
            fresh.make().run(result)
            assert result.wasSuccessful()


def test_the_rounds_result_is_the_real_one_to_look_at():
    """Attributes are read from the real result and written to it."""
    real = unittest.TestResult()
    heard = RoundResult(real, unittest.TestCase())
    heard.failfast = True
    assert real.failfast
    assert not hasattr(heard, "addNothing")


# --- single methods ----------------------------------------------------------------------------


class Methods(unittest.TestCase):
    """Single tests decorated: self is the runner's instance."""

    __test__ = False  # for the runner below, not for pytest

    def setUp(self):
        events.append("setUp")

    def tearDown(self):
        events.append("tearDown")

    @assert_no_leaks(**QUICKLY, max_rounds=24)
    def test_leak(self):
        """Leak."""
        kept.append(object())

    @assert_no_leaks(**QUICKLY)
    def test_clean(self):
        """Be clean."""
        events.append("test")

    @assert_no_leaks(**QUICKLY)
    def test_fail(self):
        """Fail."""
        self.fail("reason")

    @assert_no_leaks(**QUICKLY)
    def test_skip(self):
        """Skip."""
        self.skipTest("reason")

    @unittest.expectedFailure
    @assert_no_leaks(**QUICKLY)
    def test_expected(self):
        """Fail as expected."""
        self.fail("reason")

    @assert_no_leaks(**QUICKLY)
    @unittest.skip("reason")
    def test_skipped(self):
        """Be skipped."""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_leak", {"failures": 1}),
        ("test_clean", {}),
        ("test_fail", {"failures": 1}),
        ("test_skip", {"skipped": 1}),
        ("test_expected", {"expectedFailures": 1}),
        ("test_skipped", {"skipped": 1}),
    ],
)
def test_a_single_method_is_judged(name, expected):
    """A decorated method fails for a leak, and ends as ever otherwise."""
    assert expected == outcome(run(Methods, name))


def test_of_a_single_method_the_body_alone_is_repeated():
    """setUp and tearDown belong to the runner's instance and are run once."""
    run(Methods, "test_clean")
    assert ["setUp", *["test"] * ROUNDS, "tearDown"] == events


class AsyncMethods(unittest.IsolatedAsyncioTestCase):
    """The same, async."""

    __test__ = False  # for the runner below, not for pytest

    async def asyncSetUp(self):
        asyncio.get_running_loop().slow_callback_duration = 60  # or it logs what takes long
        events.append("asyncSetUp")

    @assert_no_leaks(**QUICKLY, max_rounds=24)
    async def test_leak(self):
        """Leak."""
        kept.append(object())

    @assert_no_leaks(**QUICKLY)
    async def test_clean(self):
        """Be clean."""
        events.append("test")
        await asyncio.sleep(0)


@pytest.mark.parametrize(("name", "expected"), [("test_leak", {"failures": 1}), ("test_clean", {})])
def test_a_single_async_method_is_judged(name, expected):
    """An async method is awaited in every round, in the loop of its instance."""
    assert expected == outcome(run(AsyncMethods, name))
    assert 1 == events.count("asyncSetUp")
