"""Real test frameworks, each in an environment of its own, run decorated tests and blocks.

Environments are made once, below REFLEAK_CACHE or the temporary directory, and kept for later runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_readme import blocks, write_files

pytestmark = pytest.mark.frameworks

CHECKOUT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("REFLEAK_CACHE") or tempfile.gettempdir()) / "refleak-frameworks"

HEAD = """
    import unittest
    from {module} import {testcase} as TestCase
    from refleak import assert_no_leaks, leak_check

    kept = []
    quickly = dict(max_rounds=64)
"""

CLEAN = """
    @assert_no_leaks
    class TestClass(TestCase):
        def setUp(self):
            self.data = []

        def tearDown(self):
            self.data.append(self)

        def test_class(self):
            self.data.append(object())

    class TestSingle(TestCase):
        def test_loop(self):
            for _ in leak_check():
                [object()]

        def test_call(self):
            with leak_check() as check:
                check(sorted, [2, 1])

        def test_block(self):
            with leak_check():
                [object()]
"""

LEAKING = """
    @assert_no_leaks(**quickly)
    class TestClass(TestCase):
        def test_class(self):
            kept.append(object())

    class TestSingle(TestCase):
        def test_loop(self):
            for _ in leak_check(**quickly):
                kept.append(object())

        def test_call(self):
            with leak_check(**quickly) as check:
                check(kept.append, object)

        def test_block(self):
            with leak_check():
                kept.append([object()])
"""

CLEAN_METHOD = """
    class TestMethod(TestCase):
        @assert_no_leaks
        def test_method(self):
            [object()]
"""

LEAKING_METHOD = """
    class TestMethod(TestCase):
        @assert_no_leaks(**quickly)
        def test_method(self):
            kept.append(object())
"""

CLEAN_FUNCTIONS = """
    @assert_no_leaks
    def test_function():
        [object()]

    def test_function_loop():
        for _ in leak_check():
            [object()]
"""

LEAKING_FUNCTIONS = """
    @assert_no_leaks(**quickly)
    def test_function():
        kept.append(object())

    def test_function_loop():
        for _ in leak_check(**quickly):
            kept.append(object())
"""

CLEAN_DEFERREDS = """
    from twisted.internet import defer, reactor, task

    @assert_no_leaks
    class TestDeferred(TestCase):
        def test_deferred(self):
            return task.deferLater(reactor, 0, object)
"""

LEAKING_DEFERREDS = """
    from twisted.internet import defer

    @assert_no_leaks(**quickly)
    class TestDeferred(TestCase):
        def test_deferred(self):
            return defer.succeed(None).addCallback(lambda _: kept.append(object()))
"""

CLEAN_DATABASE = """
    from django.contrib.auth.models import Group
    from django.test import TestCase as DatabaseTestCase

    @assert_no_leaks
    class TestDatabase(DatabaseTestCase):
        def test_database(self):
            Group.objects.create(name="group")
            self.assertEqual(404, self.client.get("/nowhere").status_code)
"""

SETTINGS = """
    SECRET_KEY = "none"
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
    ROOT_URLCONF = "settings"
    USE_TZ = True
    urlpatterns = []
"""


@dataclass(frozen=True)
class Framework:
    """How to get a framework, how to start it on a module, and what it can run.

    ``counts`` finds the number of tests that were run in a session without failures, ``failures``
    the numbers of those that failed in one with failures only. ``installed`` has refleak installed
    with its entry points, as a user would, and not only importable.
    """

    name: str
    requirement: str | None
    command: tuple[str, ...]
    counts: str
    failures: str
    module: str = "unittest"
    testcase: str = "TestCase"
    clean: str = ""
    leaking: str = ""
    methods: bool = True
    installed: bool = False


PYTEST = Framework(
    "pytest",
    "pytest",
    ("-m", "pytest", "-p", "no:cacheprovider", "{name}.py"),
    r"(\d+) passed",
    r"(\d+) failed",
    clean=CLEAN_FUNCTIONS,
    leaking=LEAKING_FUNCTIONS,
)
RAN = r"Ran (\d+) tests"
FAILED = r"FAILED \(.*?failures=(\d+)\)"

FRAMEWORKS = (
    Framework("unittest", None, ("-m", "unittest", "{name}"), RAN, FAILED),
    PYTEST,
    Framework(**{**vars(PYTEST), "name": "pytest-oldest", "requirement": "pytest==8.0.0"}),
    Framework(
        "pynose",
        "pynose",
        ("-m", "nose", "{name}.py"),
        RAN,
        FAILED,
        clean=CLEAN_FUNCTIONS,
        leaking=LEAKING_FUNCTIONS,
    ),
    Framework(
        "nose2",
        "nose2",
        ("-m", "nose2", "{name}"),
        RAN,
        FAILED,
        clean=CLEAN_FUNCTIONS,
        leaking=LEAKING_FUNCTIONS,
    ),
    Framework(
        "zope.testrunner",
        "zope.testrunner",
        ("-m", "zope.testrunner", "--test-path=.", "--tests-pattern=^{name}$"),
        r"Ran (\d+) tests with 0 failures",
        r"Ran \d+ tests with (\d+) failures, 0 errors",
    ),
    Framework(
        "trial",
        "twisted",
        ("-m", "twisted.trial", "{name}"),
        r"PASSED \(successes=(\d+)\)",
        # Its failures are those of its own assert methods; LeakError from a block is an error.
        r"FAILED \(failures=(\d+), errors=(\d+)\)",
        module="twisted.trial.unittest",
        clean=CLEAN_DEFERREDS,
        leaking=LEAKING_DEFERREDS,
        methods=False,  # see test_trial_runs_decorated_methods
    ),
    Framework(
        "django",
        "django",
        ("-W", "ignore", "-m", "django", "test", "--settings=settings", "{name}"),
        RAN,
        FAILED,
        module="django.test",
        clean=CLEAN_DATABASE,
        testcase="SimpleTestCase",
    ),
)

each_framework = pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda each: each.name)


def environment(framework):
    """Make the framework's environment if need be; return its interpreter."""
    recipe = f"{sys.version} {sys.base_prefix} {framework.requirement} {CHECKOUT}"
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:10]
    folder = CACHE / f"{framework.name}-{digest}"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not (folder / "ready").exists():
        call([sys.executable, "-m", "venv", "--clear", str(folder)])
        packages = ["wrapt", "typing-extensions", *(framework.requirement or "").split()]
        if framework.installed:
            packages += ["-e", str(CHECKOUT)]
        call([str(python), "-m", "pip", "install", "-q", *packages])
        where = "import sysconfig; print(sysconfig.get_path('purelib'))"
        site = Path(call([str(python), "-c", where]).strip())
        if not framework.installed:
            (site / "refleak-checkout.pth").write_text(f"{CHECKOUT}\n", encoding="utf-8")
        (folder / "ready").touch()
    return python


def call(command):
    """Run a command that must succeed; return its output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def run(framework, folder, source):
    """Run a test module under the framework; return the exit status and all it printed."""
    (folder / "settings.py").write_text(textwrap.dedent(SETTINGS), encoding="utf-8")
    (folder / "test_sample.py").write_text(source, encoding="utf-8")
    done = subprocess.run(
        [environment(framework), *(part.format(name="test_sample") for part in framework.command)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout


def module(framework, *parts):
    """Put a test module together."""
    head = HEAD.format(**vars(framework))
    return "".join(textwrap.dedent(part) for part in (head, *parts))


@each_framework
def test_clean_tests_pass(framework, tmp_path):
    """Decorated tests, calls, loops and blocks that leak nothing pass."""
    method = CLEAN_METHOD if framework.methods else ""
    source = module(framework, CLEAN, method, framework.clean)
    status, output = run(framework, tmp_path, source)
    assert 0 == status, output
    found = re.search(framework.counts, output)
    assert found is not None, output
    assert source.count("def test_") == int(found[1]), output


@each_framework
def test_leaking_tests_fail(framework, tmp_path):
    """Each leak is a failure that shows LeakError's text."""
    method = LEAKING_METHOD if framework.methods else ""
    source = module(framework, LEAKING, method, framework.leaking)
    status, output = run(framework, tmp_path, source)
    assert 0 != status, output
    found = re.search(framework.failures, output)
    assert found is not None, output
    assert source.count("def test_") == sum(map(int, found.groups())), output
    for name in ("TestClass.test_class", *["TestMethod.test_method"] * framework.methods):
        assert re.search(rf"LeakError: {name} leaked [\d.]+ references? and ", output), output
    for line in ("the loop at test_sample.py:", "the block at test_sample.py:"):
        assert f"LeakError: {line}" in output, output
    assert "object" in output


@pytest.mark.xfail(
    strict=True, reason="trial collects plain functions only, and the decorator makes none"
)
def test_trial_runs_decorated_methods(tmp_path):
    """A decorated method is collected as a test."""
    trial = next(each for each in FRAMEWORKS if each.name == "trial")
    _, output = run(trial, tmp_path, module(trial, CLEAN_METHOD))
    assert "test_method" in output


@pytest.mark.parametrize("command", ["-R", "-N"])
def test_unmodified_suites_under_our_runner(command, tmp_path):
    """A suite that knows nothing of refleak is judged by python -m refleak unittest."""
    source = "import unittest\nkept = []\nclass Test(unittest.TestCase):\n    def test_leak(self):"
    (tmp_path / "test_sample.py").write_text(f"{source}\n        kept.append(object())\n")
    python = environment(FRAMEWORKS[0])
    option = [command, "2:2"] if command == "-R" else [command, "3"]
    done = subprocess.run(
        [python, "-m", "refleak", "unittest", *option, "test_sample"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert 3 == done.returncode
    assert "leaked 1 reference and 1 memory block per call" in done.stdout + done.stderr


COMMON = """
    import pytest

    garbage = []

    class Thing:
        pass

    def test_clean():
        Thing()

    def test_leaks():
        garbage.append(Thing())

    def test_fails():
        assert 0

    def test_skips():
        pytest.skip()

    def test_after():
        Thing()
"""

SPECIAL = """
    import asyncio
    import time

    runs = []

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.mark.asyncio
    async def test_asyncio_clean():
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))

    @pytest.mark.asyncio
    async def test_asyncio_leaks():
        await asyncio.sleep(0)
        garbage.append(Thing())

    @pytest.mark.anyio
    async def test_anyio_clean():
        await asyncio.sleep(0)

    @pytest.mark.anyio
    async def test_anyio_leaks():
        await asyncio.sleep(0)
        garbage.append(Thing())

    @pytest.mark.timeout(1)
    def test_timeout_of_each_repetition():
        time.sleep(0.3)

    @pytest.mark.timeout(1)
    def test_timeout_leaks():
        time.sleep(0.02)
        garbage.append(Thing())

    @pytest.mark.timeout(1)
    def test_timeout_fails():
        time.sleep(60)

    @pytest.mark.timeout(1)
    def test_timeout_fails_when_repeated():
        runs.append(1)
        time.sleep(60 * (len(runs) > 1))

    @pytest.mark.flaky(reruns=2)
    def test_flaky_clean(request):
        assert request.node.execution_count == 2

    @pytest.mark.flaky(reruns=2)
    def test_flaky_leaks(request):
        garbage.append(Thing())
        assert request.node.execution_count == 2

    @pytest.mark.flaky(reruns=2)
    def test_flaky_fails():
        assert 0
"""

PLUGINS = Framework(
    "pytest-plugins",
    "pytest pytest-xdist pytest-cov pytest-rerunfailures pytest-timeout pytest-sugar "
    "pytest-asyncio anyio",
    ("-m", "pytest", "-R3:2", "--junitxml=junit.xml", "--leaks-sarif=leaks.sarif", "{name}.py"),
    "",
    "",
    installed=True,
)


def outcomes(folder):
    """Return the outcome of each test in the junit file; a leak is its property."""
    found = {}
    for case in ET.parse(folder / "junit.xml").getroot().iter("testcase"):
        ended = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        leaked = any(each.get("name") == "leaked references" for each in case.iter("property"))
        found[case.get("name")] = [*ended, *["leaked"] * leaked] or ["passed"]
    return found


def promised(source):
    """Return the outcome that each test's name promises."""
    words = {"leaks": "leaked", "fails": "failure", "skips": "skipped"}
    return {
        name: [next((word for part, word in words.items() if part in name), "passed")]
        for name in re.findall(r"def (test_\w+)", source)
    }


@pytest.mark.parametrize(
    "arguments", [["-p", "no:sugar"], [], ["-n2"], ["--cov=."]], ids=["no", "sugar", "xdist", "cov"]
)
def test_pytest_plugins_for_all_tests(arguments, tmp_path):
    """With plugins that concern every test, -R tells leaks from clean, failed and skipped tests."""
    framework = Framework(**{**vars(PLUGINS), "command": (*PLUGINS.command, *arguments)})
    status, output = run(framework, tmp_path, module(framework, COMMON))
    assert 1 == status, output
    assert outcomes(tmp_path) == promised(COMMON), output
    assert "test_sample.py::test_leaks: leaked references: [2, 2]" in output
    assert output.count(": leaked ") == 1, output
    (log,) = json.loads((tmp_path / "leaks.sarif").read_text(encoding="utf-8"))["runs"]
    assert output.count(": leaked ") == len(log["results"])


def test_pytest_plugins_for_some_tests(tmp_path):
    """Tests that are asynchronous, limited in time or rerun are repeated as what they are."""
    status, output = run(PLUGINS, tmp_path, module(PLUGINS, COMMON, SPECIAL))
    assert 1 == status, output
    assert outcomes(tmp_path) == promised(COMMON + SPECIAL), output
    assert "The test passed at first, but failed in repetition 1, in its call phase." in output


REMOTE = """
    def test_options(pytestconfig, leaks_checker):
        assert (leaks_checker.stab, leaks_checker.run) == (3, 2)
        assert pytestconfig.getoption("remote_data") == "{remote}"
"""


@pytest.mark.parametrize(
    ("arguments", "remote"),
    [
        (["-R", "3:2"], "none"),
        (["--leaks=3:2", "--remote-data"], "any"),
        (["--remote-data=any", "-R3:2"], "any"),
    ],
)
def test_pytest_remotedata(arguments, remote, tmp_path):
    """Beside pytest-remotedata, for which -R is not taken at once, both work.

    None of its releases claims -R: for a plugin that does, see test_pytest_plugin.py.
    """
    framework = Framework(
        **{
            **vars(PLUGINS),
            "name": "pytest-remotedata",
            "requirement": "pytest pytest-remotedata",
            "command": ("-m", "pytest", *arguments, "--junitxml=junit.xml", "{name}.py"),
        }
    )
    source = module(framework, COMMON, REMOTE.format(remote=remote))
    _, output = run(framework, tmp_path, source)
    found = outcomes(tmp_path)
    assert found["test_options"] == ["passed"], output
    assert found["test_leaks"] == ["leaked"], output


# --- what the pages say ------------------------------------------------------------------------

COMMANDS = {
    "nose": "pynose",
    "nose2": "nose2",
    "zope.testrunner": "zope.testrunner",
    "twisted.trial": "trial",
    "django": "django",
}
"""The framework that a command runs, by the module it starts."""


def lines_of(page):
    """Return the lines of a page's shell block."""
    (block,) = blocks(CHECKOUT / "docs" / page, "sh")
    return block.text.splitlines()


@pytest.mark.parametrize("line", lines_of("how-to/other-frameworks.md"))
def test_the_commands_of_the_page_run_its_file(line, tmp_path):
    """Each command passes the tests that the page shows."""
    name, *arguments = shlex.split(line)
    started = arguments[arguments.index("-m") + 1]
    framework = next(each for each in FRAMEWORKS if each.name == COMMANDS[started])
    write_files(CHECKOUT / "docs/how-to/other-frameworks.md", tmp_path, sys.maxsize)
    source = (tmp_path / "test_sample.py").read_text(encoding="utf-8")
    changed = dataclasses.replace(framework, command=tuple(arguments))
    status, output = run(changed, tmp_path, source)
    assert ("python", 0) == (name, status), output
    found = re.search(framework.counts, output)
    assert found is not None, output
    assert source.count("def test_") - (not framework.methods) == int(found[1]), output


def test_the_tutorials_installation(tmp_path):
    """The tutorial's first commands make an environment with refleak and pytest in it."""
    lines = [line.replace("PATH_OF_THE_CLONE", str(CHECKOUT)) for line in lines_of("tutorial.md")]
    proof = 'python -c "import sys, refleak, pytest; print(sys.prefix)"'
    script = "\n".join(["set -e", f"cd '{tmp_path}'", *lines, proof])
    assert str(tmp_path / ".venv") == call(["bash", "-c", script]).splitlines()[-1]
