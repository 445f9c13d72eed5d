"""The public forms: a few lines each on top of the one pipeline."""

from __future__ import annotations

import dis
import functools
import inspect
import os
import sys
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType, TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    NoReturn,
    SupportsIndex,
    TypedDict,
    TypeVar,
    cast,
    overload,
)

import wrapt
from typing_extensions import ParamSpec, Self, Unpack

from refleak._plan import Plan, make_plan, show, switched_off
from refleak.probes import Probe

if TYPE_CHECKING:  # what a check needs is imported when one begins: importing refleak is cheap
    from refleak._check import Check
    from refleak._report import Report
    from refleak._single_pass import SinglePass

    FunctionWrapper = wrapt.FunctionWrapper[..., Any]
else:  # generic in wrapt's stubs alone, before 2.0
    FunctionWrapper = wrapt.FunctionWrapper

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., Any])


class Options(TypedDict, total=False):
    """The options that all public forms share; :func:`refleak._plan.make_plan` explains each."""

    stab: int
    run: int
    probes: str | Probe | Iterable[str | Probe] | None
    ignore: str | type | Iterable[str | type]
    tolerance: Mapping[str, float] | None
    diagnose: bool
    freeze: bool
    max_rounds: int
    max_seconds: float | None
    known_leak: str | None
    strict: bool


@overload
def assert_no_leaks(wrapped: C, /, **options: Unpack[Options]) -> C: ...
@overload
def assert_no_leaks(wrapped: None = None, /, **options: Unpack[Options]) -> Callable[[C], C]: ...
def assert_no_leaks(wrapped: Any = None, /, **options: Unpack[Options]) -> Any:
    """Fail a test that leaks: run it repeatedly and raise LeakError when a quantity grows per call.

    Use it bare or with arguments, on functions, methods, classmethods, staticmethods and ``async
    def`` functions, and on ``unittest.TestCase`` classes (then each test is repeated with its
    setUp and tearDown, on a fresh instance). The function is run ``stab`` times to warm up and
    ``run`` times to measure, and more often only if something grew. It returns what its last
    run returned; its exceptions and skips propagate as they are, and give no verdict.

    For the options see :class:`Options`. With ``REFLEAK=off`` in the environment
    the function is run once and not judged.

    Raises TypeError or ValueError at once for what cannot be decorated and for wrong options.
    """
    if wrapped is None:
        plan = make_plan(**options)
        return lambda subject: _decorate(subject, plan)
    _refuse("assert_no_leaks", wrapped)
    return _decorate(wrapped, make_plan(**options))


def _decorate(subject: Any, plan: Plan) -> Any:
    _refuse("assert_no_leaks", subject)
    if inspect.isclass(subject):
        from refleak._testcase import decorate_class

        return decorate_class(subject, plan)
    drive = _drive_later if is_async(subject) else _drive_sync

    def wrapper(
        wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        __tracebackhide__ = True
        if switched_off():
            return wrapped(*args, **kwargs)
        call = functools.partial(wrapped, *args, **kwargs)
        return drive(call, _check(plan, name_of(wrapped)), _raise_if_leaking)

    return _Checked(subject, wrapper)


class _Checked(FunctionWrapper):
    """A decorated function, which is pickled and copied as functions are: by its name."""

    def __reduce_ex__(self, _: SupportsIndex) -> str:
        return self.__qualname__

    def __copy__(self) -> _Checked:
        return self

    def __deepcopy__(self, _: object) -> _Checked:
        return self


def _is_test_case(cls: type) -> bool:
    unittest = sys.modules.get("unittest")  # not loaded, it has no subclasses
    return unittest is not None and issubclass(cls, unittest.TestCase)


def _refuse(form: str, subject: Any) -> None:
    """Raise TypeError, with the right form, for what cannot be run repeatedly."""
    inner = _function_in(subject) if form == "assert_no_leaks" else subject
    if inspect.isclass(inner):
        if form == "assert_no_leaks" and _is_test_case(inner):
            return
        _refuse_class(form, inner)
    if not callable(inner):
        raise TypeError(f"{form} takes a function, not {show(inner)}; write {RIGHT_FORMS[form]}")
    name = name_of(inner)
    for kind, right_form in GENERATORS.items():
        if _is(kind, inner):
            raise TypeError(
                f"{form} cannot check the generator function {name}: calling it runs none of its "
                f"code; check a function that uses it up: {right_form.format(name)}"
            )


def _refuse_class(form: str, cls: type) -> NoReturn:
    check = "check" if form == "leak_check" else "find_leaks"
    if _is_test_case(cls):
        raise TypeError(
            f"{form} cannot check the class {cls.__qualname__}, whose tests are run one by one; "
            f"decorate it with @assert_no_leaks, run python -m refleak unittest, or check one "
            f'test: {check}(lambda: {cls.__name__}("test_name").debug())'
        )
    raise TypeError(
        f"{form} cannot check the class {cls.__qualname__}, which is no unittest.TestCase; "
        f"decorate its test methods, or check a function that makes one: "
        f"{check}(lambda: {cls.__name__}())"
    )


RIGHT_FORMS = {
    "assert_no_leaks": "@assert_no_leaks or @assert_no_leaks(stab=5, run=4) above a function",
    "leak_check": "with leak_check() as check: check(function, argument)",
    "find_leaks": "find_leaks(function, stab=5, run=4)",
    "refleak run": "package.module:function",
}

GENERATORS = {
    inspect.isgeneratorfunction: "def test(): list({}())",
    inspect.isasyncgenfunction: "async def test(): [item async for item in {}()]",
}
"""How to tell functions that make generators, and what uses these up."""


def is_async(subject: Any) -> bool:
    """Tell whether calling *subject* gives a coroutine to await."""
    return _is(inspect.iscoroutinefunction, _function_in(subject))


def _is(kind: Callable[[Any], bool], subject: Any) -> bool:
    """Ask a question of :mod:`inspect` about a function, or about the method that calls objects."""
    return kind(subject) or kind(inspect.getattr_static(type(subject), "__call__", None))


def _function_in(subject: Any) -> Any:
    return subject.__func__ if isinstance(subject, (staticmethod, classmethod)) else subject


def name_of(subject: Any) -> str:
    """Name what is checked: its qualified name from the innermost function on."""
    while isinstance(subject, functools.partial):
        subject = subject.func
    name = getattr(subject, "__qualname__", None) or getattr(subject, "__name__", None)
    if not isinstance(name, str):
        name = f"{type(subject).__qualname__}.__call__"
    return name.rpartition("<locals>.")[2]


def _check(plan: Plan, subject: str) -> Check:
    from refleak._check import Check

    return Check(plan, subject)


def _drive_sync(subject: Callable[[], T], check: Check, judge: Callable[[Check], None]) -> T:
    __tracebackhide__ = True
    results: list[T] = []  # of the last round; there is at least one
    for _ in check.rounds():
        results[:] = [subject()]
        _refuse_unrun(check.subject, results[0])
    judge(check)
    return results.pop()


UNRUN = {
    CoroutineType: (
        "a coroutine that nobody awaits",
        "an async def function: async def test(): await {}()",
    ),
    GeneratorType: (
        "a generator that nobody uses up",
        "a function that does: def test(): list({}())",
    ),
    AsyncGeneratorType: (
        "an asynchronous generator that nobody uses up",
        "an async def function that does: async def test(): [item async for item in {}()]",
    ),
}
"""What runs none of its code by being made: how to call it, and what to check instead."""


def _refuse_unrun(name: str, result: Any) -> None:
    """Raise TypeError, with the right form, if a call's result stands for code that did not run."""
    made = id(type(result))  # a metaclass may define == and hash
    kind: Any = next((each for each in UNRUN if id(each) == made), None)
    if kind is None:
        return
    if kind is GeneratorType and inspect.getgeneratorstate(result) != inspect.GEN_CREATED:
        return  # some of its code was run
    if kind is CoroutineType:  # or it warns, too
        result.close()
    what, right_form = UNRUN[kind]
    maker = name if result.__name__ == "<genexpr>" else result.__name__
    raise TypeError(
        f"{name} returned {what}, so none of its code was run; check {right_form.format(maker)}"
    )


async def _drive_async(
    subject: Callable[[], Awaitable[T]], check: Check, judge: Callable[[Check], None]
) -> T:
    __tracebackhide__ = True
    results: list[T] = []  # of the last round; there is at least one
    for _ in check.rounds():
        results[:] = [await subject()]
        _refuse_unrun(check.subject, results[0])
        await _turn()
    judge(check)
    return results.pop()


def _drive_later(
    subject: Callable[[], Awaitable[T]], check: Check, judge: Callable[[Check], None]
) -> CoroutineType[Any, Any, T]:
    """Return what is to be awaited, under the name of what is checked."""
    named: Any = _drive_async(subject, check, judge)
    named.__name__ = named.__qualname__ = check.subject
    coroutine: CoroutineType[Any, Any, T] = named
    return coroutine


async def _turn() -> None:
    """Give asyncio's loop one turn, in which what the round left scheduled comes to its end."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        await asyncio.sleep(0)


def _done(check: Check) -> Report:
    assert check.report is not None  # the rounds were used up
    return check.report


def find_leaks(func: Callable[[], object], /, **options: Unpack[Options]) -> Report:
    """Check *func*, a function of no arguments, and return the Report; never raises LeakError.

    Takes the same options as :func:`assert_no_leaks`. An ``async def`` function is run in an
    event loop of its own, one for all rounds. Exceptions of *func* propagate. Raises TypeError or
    ValueError for wrong arguments.
    """
    _refuse("find_leaks", func)
    check = _check(make_plan(**options), name_of(func))
    if is_async(func):
        import asyncio

        if asyncio._get_running_loop() is not None:
            raise RuntimeError(
                f"find_leaks cannot run {check.subject} while an event loop is running; write "
                f"with leak_check() as check: await check({check.subject})"
            )
        asyncio.run(_drive_async(cast("Any", func), check, _no_verdict))
    else:
        _drive_sync(func, check, _no_verdict)
    return _done(check)


def _raise_if_leaking(check: Check) -> None:
    __tracebackhide__ = True
    _raise(_done(check), check.plan)


def _raise(report: Report, plan: Plan) -> None:
    __tracebackhide__ = True
    from refleak._check import raise_if_leaking

    raise_if_leaking(report, plan)


def _no_verdict(check: Check) -> None:
    """Leave judging the report to the caller."""


class LeakCheck:
    """One check of a block or of calls; :func:`leak_check` makes it and says how to use it.

    ``report`` is the Report of what was judged last, None before.
    """

    def __init__(self, plan: Plan, place: str) -> None:
        self.report: Report | None = None
        self._plan = plan
        self._place = place
        self._inside = False
        self._single: SinglePass | None = None
        self._to_await: list[CoroutineType[Any, Any, Any]] = []

    # -- for _ in leak_check(): ... ---------------------------------------------------------

    def __iter__(self) -> Iterator[None]:
        """Yield once for each round of the loop's body; at the end raise LeakError if it leaks."""
        return self._loop(f"the loop at {self._place}", sys._getframe(1))

    def _loop(self, subject: str, frame: FrameType) -> Generator[None, None, None]:
        __tracebackhide__ = True
        if switched_off():
            yield
            return
        check = _check(self._plan, subject)
        try:
            yield from check.rounds()
        except GeneratorExit:
            if left_on_purpose(frame):
                warnings.warn_explicit(
                    f"{subject} was left early and is not judged; let it run to its end",
                    RuntimeWarning,
                    frame.f_code.co_filename,
                    frame.f_lineno,
                )
            raise
        finally:
            del frame
        self._judge(check)

    # -- with leak_check() as check: check(function, argument) ------------------------------

    @overload
    def __call__(
        self, func: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def __call__(self, func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    def __call__(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run ``func(*args, **kwargs)`` repeatedly; return what the last run returned.

        Raises LeakError, which names *func*, if it leaks. With an ``async def`` function the call
        is to be awaited. The ``with`` block that the call is in is not judged besides; outside of
        one, as a decorator say, it raises TypeError.
        """
        __tracebackhide__ = True
        if not self._inside:
            raise TypeError(
                f"leak_check is no decorator, and is called within its with block only; write "
                f"@assert_no_leaks above a function, or {RIGHT_FORMS['leak_check']}"
            )
        _refuse("leak_check", func)
        if self._single is not None:
            self._single.close()
            self._single = None
        if switched_off():
            return func(*args, **kwargs)
        call = functools.partial(func, *args, **kwargs)
        check = _check(self._plan, name_of(func))
        if not is_async(func):
            return _drive_sync(call, check, self._judge)
        coroutine = _drive_later(call, check, self._judge)
        self._to_await.append(coroutine)
        return coroutine

    # -- with leak_check(): ... -------------------------------------------------------------

    def __enter__(self) -> Self:
        """Begin a block; raises RuntimeError within one that was begun with the same object."""
        if self._inside:
            raise RuntimeError(
                f"the leak_check made at {self._place} was entered before and is not left yet; "
                f"write leak_check() anew for each block"
            )
        self._inside = True
        if not switched_off():
            from refleak._single_pass import SinglePass

            self._single = SinglePass(self._plan, f"the block at {self._place}")
            self._single.begin(sys._getframe(1))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        self._inside = False
        single, self._single = self._single, None
        if self._to_await:
            self._end_calls(judging=kind is None)
        if single is None:
            return
        if kind is not None:
            single.close()
            return
        self.report = single.end(sys._getframe(1))
        _raise(self.report, self._plan)

    def _end_calls(self, *, judging: bool) -> None:
        """Close the calls that nobody began to await; when *judging*, refuse them."""
        called, self._to_await = self._to_await, []
        waiting = [
            each for each in called if inspect.getcoroutinestate(each) == inspect.CORO_CREATED
        ]
        for coroutine in waiting:
            coroutine.close()
        if waiting and judging:
            name = waiting[0].__name__
            raise TypeError(
                f"the check of {name} was not awaited, so none of its code was run; write "
                f"await check({name})"
            )

    def _judge(self, check: Check) -> None:
        __tracebackhide__ = True
        self.report = _done(check)
        _raise(self.report, self._plan)


def leak_check(**options: Unpack[Options]) -> LeakCheck:
    """Check a block, or calls, for leaks; takes the same options as :func:`assert_no_leaks`.

    Three ways of use::

        with leak_check() as check:      # a callable, run repeatedly; LeakError names it
            check(parse, data)           # await check(fetch, url) for an async function

        for _ in leak_check():           # a block, run repeatedly; also in async code
            parse(data)

        with leak_check():               # a block that runs once: what outlived it?
            parse(data)

    The last cannot warm up. It judges what was created in the block and is alive after it, but for
    what only the enclosing frame's variables or an interpreter's or the standard library's
    cache holds; file descriptors, threads, child processes and tasks; and references gained
    that no container accounts for.

    A body that raises is not judged; a loop left by ``break`` is not either, and warns.
    Raises TypeError or ValueError for wrong options.
    """
    frame = sys._getframe(1)
    place = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
    return LeakCheck(make_plan(**options), place)


LEAVING = {"POP_TOP", "POP_ITER", "SWAP", "JUMP_FORWARD", "RETURN_VALUE", "ROT_TWO"}
"""Instructions at which break or return drop a loop's iterator; no exception rises there."""


def left_on_purpose(frame: FrameType) -> bool:
    """Tell ``break`` and ``return`` from an exception, by the instruction the frame is at.

    While an exception unwinds the stack, a generator that is closed cannot see it.
    """
    code = frame.f_code.co_code
    return 0 <= frame.f_lasti < len(code) and dis.opname[code[frame.f_lasti]] in LEAVING
