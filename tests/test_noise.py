"""Noise: beside it the verdict stays right, or the report says what could not be judged and why.

Most of it belongs to a whole process, so that each kind gets one of its own: a script that judges
one innocent and one leak, and prints what was found.
"""

from __future__ import annotations

import json

import pytest
from running import python

# Minutes: each test runs interpreters of its own, some a dozen.
pytestmark = pytest.mark.slow

SCRIPT = """
import gc, itertools, json, logging, sys, threading, time, warnings
import refleak

class Thing:
    pass

kept, numbers = [], itertools.count()

def innocent():
    return sorted({{str(number): [Thing()] for number in range(50)}})

def leaking():
    innocent()
    kept.append(Thing())

{setup}

def told(func):
    report = refleak.find_leaks(func, diagnose=False, max_rounds={most})
    return {{
        "found": [each.quantity for each in report.findings],
        "rates": {{each.quantity: each.per_call for each in report.findings}},
        "unjudged": {{each.quantity: each.reason for each in report.not_judged}},
        "text": str(report),
    }}

results = {{"innocent": told({innocent}), "leaking": told({leaking})}}
print("RESULT" + json.dumps(results), flush=True)
{end}
"""

OBJECTS = {"memory blocks", "objects", "container references", "references"}


def judged(
    *options,
    setup="",
    innocent="innocent",
    leaking="leaking",
    end="",
    most=60,
    environment=None,
):
    """Run the script in a process of its own and return what it found."""
    script = SCRIPT.format(setup=setup, innocent=innocent, leaking=leaking, end=end, most=most)
    variables = {"PYTHONMALLOC": "default", **(environment or {})}
    done = python(*options, "-c", script, **variables)
    line = next((each for each in done.stdout.splitlines() if each.startswith("RESULT")), None)
    assert line is not None, done.stdout + done.stderr
    return json.loads(line.removeprefix("RESULT"))


def assert_right(found, *, unjudged=frozenset()):
    """The innocent is clean; of the leak all is found but what is told to be not judged."""
    assert [] == found["innocent"]["found"], found["innocent"]["text"]
    missing = OBJECTS - set(found["leaking"]["found"])
    assert missing <= set(found["leaking"]["unjudged"]) & unjudged, found["leaking"]["text"]
    assert "" not in found["leaking"]["unjudged"].values()


ENVIRONMENTS = {
    "development mode": {"PYTHONDEVMODE": "1"},
    "pymalloc with debug hooks": {"PYTHONMALLOC": "pymalloc_debug"},
    "malloc with debug hooks": {"PYTHONMALLOC": "malloc_debug"},
    "malloc": {"PYTHONMALLOC": "malloc"},
    "hash seed 0": {"PYTHONHASHSEED": "0"},
    "hash seed 1": {"PYTHONHASHSEED": "1"},
    "random hashes": {"PYTHONHASHSEED": "random"},
    "memory traced": {"PYTHONTRACEMALLOC": "5"},
    "no site": {"PYTHONOPTIMIZE": "2"},
}


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_settings_of_the_environment(environment):
    """Allocators, modes and hash seeds change no verdict but for blocks without pymalloc."""
    unjudged = {"memory blocks"} if environment.get("PYTHONMALLOC", "")[:6] == "malloc" else set()
    found = judged(environment=environment)
    assert_right(found, unjudged=unjudged)
    assert unjudged <= set(found["leaking"]["unjudged"])


OPTIONS = {
    "import times shown": ("-X", "importtime"),
    "warnings are errors": ("-W", "error"),
    "all warnings shown": ("-W", "always"),
    "development mode": ("-X", "dev"),
    "bytes warnings are errors": ("-bb",),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options_of_the_interpreter(options):
    """Command line options do not change the verdict."""
    assert_right(judged(*options))


ALLOCATING_THREAD = """
def allocate():
    while True:
        things = [Thing() for _ in range(next(numbers) % 300)]
        time.sleep(0.0005)

threading.Thread(target=allocate, daemon=True).start()
time.sleep(0.02)
"""


def test_another_thread_that_allocates_all_the_time():
    """Beside a thread that allocates, an innocent is not accused, and doubts are explained."""
    found = judged(setup=ALLOCATING_THREAD, end="import os; os._exit(0)")
    assert [] == found["innocent"]["found"], found["innocent"]["text"]
    for name in OBJECTS - set(found["leaking"]["found"]):
        assert f"{name}: " in found["leaking"]["text"]


GROWING_THREAD = """
grown = []

def grow():
    while True:
        grown.append(Thing())
        time.sleep(0.0005)

threading.Thread(target=grow, daemon=True).start()
time.sleep(0.02)
"""


def test_another_thread_that_leaks():
    """What another thread leaks while nothing is called is not the code's: the report says so."""
    found = judged(
        setup=GROWING_THREAD, end="import os; os._exit(0)", innocent="lambda: time.sleep(0.002)"
    )
    assert [] == found["innocent"]["found"], found["innocent"]["text"]
    reasons = found["innocent"]["unjudged"]
    assert any("other threads" in reason for reason in reasons.values())


THREAD_ON_FIRST_USE = """
started = []

def wait():
    threading.Event().wait()

def use():
    if not started:
        started.append(threading.Thread(target=wait, daemon=True))
        started[0].start()
    innocent()

def use_and_leak():
    use()
    leaking()
"""


def test_a_daemon_thread_started_on_first_use():
    """A thread that the first call starts is no leak, nor does it hide one."""
    found = judged(
        setup=THREAD_ON_FIRST_USE,
        innocent="use",
        leaking="use_and_leak",
        end="import os; os._exit(0)",
    )
    # The thread itself changes references now and then, while it waits.
    assert_right(found, unjudged=frozenset({"references"}))


COLLECTIONS = {
    "by the code itself": """
def innocent_2(old=innocent):
    old(); gc.collect(); old()
""",
    "by a low threshold": """
gc.set_threshold(7, 2, 2)
def innocent_2(old=innocent):
    nodes = [Thing() for _ in range(40)]
    for node in nodes:
        node.me = node
    old()
""",
    "never": """
gc.disable()
def innocent_2():
    node = Thing(); node.me = node
""",
}


@pytest.mark.parametrize("setup", COLLECTIONS.values(), ids=COLLECTIONS)
def test_a_collection_in_the_middle_of_a_call(setup):
    """Collections during a call, or none at all, do not change the verdict."""
    setup += "\ndef leaking_2():\n    innocent_2(); kept.append(Thing())\n"
    assert_right(judged(setup=setup, innocent="innocent_2", leaking="leaking_2"))


TRACE = """
def trace(frame, event, argument):
    return trace

sys.{function}(trace)
"""


@pytest.mark.parametrize("function", ["settrace", "setprofile"])
def test_a_trace_function(function):
    """A debugger's trace function or a profiler does not change the verdict."""
    assert_right(judged(setup=TRACE.format(function=function)))


RECORDING = """
seen = set()

def trace(frame, event, argument):
    seen.add((frame.f_code.co_filename, frame.f_lineno))
    return trace

sys.settrace(trace)
"""


def test_a_trace_function_that_records_lines():
    """A tracer that notes each line that was run, as coverage measurement does, is settled."""
    assert_right(judged(setup=RECORDING))


def test_coverage():
    """Under coverage.py the verdict is the same."""
    pytest.importorskip("coverage")
    start = "import coverage; measuring = coverage.Coverage(data_file=None); measuring.start()"
    assert_right(judged(setup=start))


IMPORTS = """
import os, tempfile
folder = tempfile.mkdtemp()
for number in range(500):
    with open(os.path.join(folder, f"refleak_many_{number}.py"), "w") as file:
        file.write("class A: pass\\ndef f(): return {}\\n")
sys.path.insert(0, folder)
sys.dont_write_bytecode = True

def use():
    for number in range(500):
        __import__(f"refleak_many_{number}")

def use_and_leak():
    use()
    leaking()
"""


def test_a_first_call_that_imports_500_modules():
    """What the first call imports is no leak, nor does it hide one."""
    end = "import shutil; shutil.rmtree(folder)"
    assert_right(judged(setup=IMPORTS, innocent="use", leaking="use_and_leak", end=end))


LOGGING = """
import io
logging.basicConfig(stream={stream}, level=logging.DEBUG)

def log():
    logging.getLogger("refleak.noise").warning("text %d of %s", next(numbers), Thing())

def log_and_leak():
    log()
    leaking()
"""


@pytest.mark.parametrize("stream", ["open(os.devnull, 'w')", "sys.stderr"])
def test_logging_handlers(stream):
    """Log records handed to a handler are no leak, nor do they hide one."""
    setup = "import os" + LOGGING.format(stream=stream)
    assert_right(judged(setup=setup, innocent="log", leaking="log_and_leak"))


WARNINGS = """
warnings.simplefilter({action!r})

def warn():
    warnings.warn({text}, stacklevel=1)

def warn_and_leak():
    warn()
    leaking()
"""


@pytest.mark.parametrize("action", ["ignore", "default", "always", "once", "module"])
def test_warnings_raised_in_each_call(action):
    """The same warning in each call is no leak, whatever is done with it."""
    setup = WARNINGS.format(action=action, text="'again'")
    assert_right(judged(setup=setup, innocent="warn", leaking="warn_and_leak"))


def test_ever_new_warnings_are_remembered():
    """Under "default" each new text is remembered for good: a leak, and reported as one."""
    setup = WARNINGS.format(action="default", text="f'number {next(numbers)}'")
    found = judged(setup=setup, innocent="warn", leaking="warn_and_leak")
    assert "memory blocks" in found["innocent"]["found"]


def test_the_hash_seed_does_not_change_what_is_found():
    """The rates of a leak are the same for every hash seed."""
    seeds = ({"PYTHONHASHSEED": seed} for seed in ("0", "7", "123"))
    rates = [judged(environment=seed)["leaking"]["rates"] for seed in seeds]
    assert [rates[0]] * 3 == rates
