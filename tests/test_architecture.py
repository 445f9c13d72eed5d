"""The imports between refleak's modules point one way, and only one module imports from outside."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "refleak"

# A module imports only from those before it; a subpackage counts as one module.
ORDER = (
    "_errors",
    "_data",
    "_format",
    "_originals",
    "_platform",
    "_settle",
    "_caches",
    "_census",
    "_rules",
    "_resources",
    "probes",
    "_plan",
    "_readings",
    "_rounds",
    "_verdict",
    "_names",
    "_origins",
    "_holders",
    "_cycles",
    "_survivors",
    "_native",
    "_groups",
    "_diagnosis",
    "_results",
    "_html",
    "_report",
    "_terminal",
    "_github",
    "_sarif",
    "_junit",
    "_files",
    "_check",
    "_enclosing",
    "_single_pass",
    "_testcase",
    "_doctor",
    "_api",
    "__init__",
    "unittest",
    "_pytest_files",
    "_pytest_items",
    "pytest_plugin",
    "__main__",
)
# What may be imported from outside the standard library, when the module itself is imported.
OUTSIDE = {
    "_api": {"typing_extensions", "wrapt"},
    "_pytest_files": {"pytest"},
    "_pytest_items": {"_pytest", "pytest"},
    "pytest_plugin": {"_pytest", "pytest"},
}

FILES = sorted(PACKAGE.rglob("*.py"))
each_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix()
)


def module_of(path: Path) -> str:
    """Name the module of ORDER that a file of the package belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_type_checking(node: ast.AST) -> bool:
    """Tell whether a node is an ``if TYPE_CHECKING:`` statement."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def import_statements(node: ast.AST, *, deep: bool) -> list[ast.Import | ast.ImportFrom]:
    """List the imports that run: with *deep* those in functions too; none for type checkers."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [node]
    if not deep and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        return []
    children = node.orelse if is_type_checking(node) else ast.iter_child_nodes(node)
    return [found for child in children for found in import_statements(child, deep=deep)]


def imported_names(node: ast.AST, *, deep: bool) -> set[str]:
    """Give the dotted names that *node* imports, relative ones spelt out from ``refleak``."""
    names = set()
    for statement in import_statements(node, deep=deep):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        else:
            module = statement.module or ""
            source = f"refleak.{module}".rstrip(".") if statement.level else module
            names |= {f"{source}.{alias.name}" for alias in statement.names}
    return names


def inner_imports(node: ast.AST) -> set[str]:
    """Give the modules of ORDER that *node* imports; a name of the package itself is __init__'s."""
    found = set()
    for name in imported_names(node, deep=True):
        package, _, rest = f"{name}.".partition(".")
        if package == "refleak":
            module = rest.split(".")[0]
            is_module = module in ORDER or (PACKAGE / f"{module}.py").exists()
            found.add(module if is_module else "__init__")
    return found


def outer_imports(node: ast.AST, *, deep: bool) -> set[str]:
    """Give the top-level packages from outside the standard library that *node* imports."""
    tops = {name.partition(".")[0] for name in imported_names(node, deep=deep)}
    return tops - set(sys.stdlib_module_names) - {"refleak"}


def test_every_module_has_its_place():
    """A new module must be given a place in the order."""
    assert set() == {module_of(path) for path in FILES} - set(ORDER)


@each_file
def test_imports_point_one_way(path):
    """A module imports only from modules above it, also inside its functions."""
    here = ORDER.index(module_of(path))
    allowed = set(ORDER[:here]) if path.parent == PACKAGE else set(ORDER[: here + 1])
    assert set() == inner_imports(ast.parse(path.read_text("utf-8"))) - allowed


@each_file
def test_importing_needs_the_standard_library_alone(path):
    """Importing a module imports nothing from outside, but for the public forms and the plugin."""
    allowed = OUTSIDE.get(module_of(path), set())
    assert set() == outer_imports(ast.parse(path.read_text("utf-8")), deep=False) - allowed


@each_file
def test_wrapt_and_typing_extensions_stay_in_the_public_forms(path):
    """Nothing but the public forms uses the two dependencies, not even inside a function."""
    used = outer_imports(ast.parse(path.read_text("utf-8")), deep=True)
    assert set() == used & (OUTSIDE["_api"] - OUTSIDE.get(module_of(path), set()))


def test_the_package_only_exports():
    """``__init__`` holds imports of refleak's modules, a sorted ``__all__`` of them, no more.

    Those for type checkers stand in ``__getattr__`` as well: they are imported when asked for.
    """
    body = ast.parse((PACKAGE / "__init__.py").read_text("utf-8")).body[1:]
    exports = next(ast.literal_eval(node.value) for node in body if isinstance(node, ast.Assign))
    imported = [
        alias.asname or alias.name
        for outer in body
        for node in (outer.body if isinstance(outer, ast.If) else [outer])
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("refleak.")
        for alias in node.names
    ]
    assert sorted(imported) == exports
    assert {"__getattr__"} >= {
        getattr(node, "name", ast.unparse(node))
        for node in body
        if not isinstance(node, (ast.Assign, ast.If, ast.Import, ast.ImportFrom))
    }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import refleak._plan", {"_plan"}),
        ("from refleak._platform._linux import threads", {"_platform"}),
        ("from refleak import _plan, Report", {"_plan", "__init__"}),
        ("from . import _plan", {"_plan"}),
        ("from ._plan import Plan", {"_plan"}),
        ("def lazily():\n    from refleak._check import Check", {"_check"}),
        (
            "if TYPE_CHECKING:\n    import refleak._plan\nelse:\n    import refleak._check",
            {"_check"},
        ),
        ("import refleaks, sys", set()),
    ],
)
def test_the_reading_of_imports(source, expected):
    """Every way to write an import is understood, and those for type checkers are left out."""
    assert expected == inner_imports(ast.parse(source))


@pytest.mark.parametrize(("deep", "expected"), [(False, {"wrapt"}), (True, {"wrapt", "psutil"})])
def test_the_reading_of_imports_from_outside(deep, expected):
    """An import inside a function does not happen when the module is imported."""
    source = "import os\ntry:\n    import wrapt\nfinally:\n    def f():\n        import psutil.x"
    assert expected == outer_imports(ast.parse(source), deep=deep)
