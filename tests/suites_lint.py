"""What every suite must be, read from its source: blind to the platform, without doubles, repeatable.

Rules are in suites/README.md. A complaint is one line that begins with the file and the line.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from pydantic import ValidationError

from proctor.api.base import explain
from proctor.api.names import API_VERSION, TEST_SUITE
from proctor.api.testsuite import TestSuite

PLATFORM = ("bazaar", "cassette", "proctor")
DOUBLES = ("unittest.mock", "mock", "respx", "responses", "pytest_mock", "monkeypatch", "mocker")
SHARED = ("_fixtures", "_helpers")


def folders(suites: Path) -> list[Path]:
    """The folders that are suites: all that are not shared."""
    found = (path for path in suites.iterdir() if path.is_dir() and path.name not in (*SHARED, "__pycache__"))
    return sorted(path for path in found if not path.name.startswith("."))


def catalog(suites: Path) -> set[str]:
    """The names of the catalog's properties, such as EFFECT_ONCE."""
    tree = ast.parse((suites / "_helpers" / "properties.py").read_text(encoding="utf-8"))
    (properties,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Property")
    return {node.targets[0].id for node in properties.body if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]


def source(name: str, text: str, known: set[str]) -> Iterator[str]:
    """Complain about one Python file of suites/; `known` is the catalog."""
    judges = Path(name).name.startswith("test_")
    for node in ast.walk(ast.parse(text)):
        for wrong in _node(node, known, judges=judges):
            yield f"{name}:{getattr(node, 'lineno', 0)}: {wrong}"


def _node(node: ast.AST, known: set[str], *, judges: bool) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (wrong for alias in names for wrong in _import(alias.name))
        case ast.ImportFrom(module=str(module), names=names):
            for alias in names:
                yield from _import(f"{module}.{alias.name}")
                if module == "random" and alias.name != "Random":
                    yield f"random.{alias.name} is not seeded: take the fixture `seeded`"
        case ast.arg(arg=name) if name in DOUBLES:
            yield f"the fixture {name}: what is judged is not replaced"
        case ast.Assert() if judges:
            yield "a bare assert: use check(holds, Property.X, message)"
        # With a cause it only adds where it was to what a check has said.
        case ast.Raise(exc=ast.Call(func=ast.Name(id="AssertionError")), cause=None) if judges:
            yield "a bare AssertionError: use check(holds, Property.X, message)"
        case ast.Attribute(value=ast.Name(id="Property"), attr=name) if name not in known:
            yield f"Property.{name} is not in the catalog"
        case ast.Call():
            yield from _call(node, judges=judges)
        case _:
            pass


def _import(module: str) -> Iterator[str]:
    parts = module.split(".")
    if parts[0] in PLATFORM:
        yield f"imports {module}: a suite knows the platform by its doors only"
    if any(module == double or module.startswith(f"{double}.") for double in DOUBLES) or parts[:2] == [
        "pytest",
        "MonkeyPatch",
    ]:
        yield f"imports {module}: what is judged is not replaced"


def _call(node: ast.Call, *, judges: bool) -> Iterator[str]:
    match node.func:
        case ast.Attribute(attr="sleep") | ast.Name(id="sleep"):
            yield "sleeps: wait for an event, with a deadline"
        case ast.Attribute(value=ast.Name(id="random"), attr="Random") | ast.Name(id="Random") if not node.args:
            yield "Random() without a seed: take the fixture `seeded`"
        case ast.Attribute(value=ast.Name(id="random"), attr=name) if name != "Random":
            yield f"random.{name} is not seeded: take the fixture `seeded`"
        case ast.Attribute(value=ast.Name(id="pytest"), attr="fail") if judges:
            yield "pytest.fail names no property: use check(holds, Property.X, message)"
        case ast.Name(id="check") if judges and len(node.args) != 3:
            yield "check needs what holds, a Property and a message"


def manifest(folder: Path) -> Iterator[str]:
    """Complain about a suite's suite.yaml: a TestSuite that runs its own folder and says how much it must see."""
    file = folder / "suite.yaml"
    name = f"{folder.name}/suite.yaml"
    if not file.is_file():
        yield f"{name}:0: is not there"
        return
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    try:
        suite = TestSuite.model_validate(document)
    except ValidationError as error:
        yield f"{name}:0: {explain(error)}"
        return
    if (suite.api_version, suite.kind) != (API_VERSION, TEST_SUITE):
        yield f"{name}:0: is no {TEST_SUITE} of {API_VERSION}"
    for step in suite.spec.steps:
        if re.split("/|::", step.path)[0] != folder.name:
            yield f"{name}:0: step {step.name} runs {step.path}, not {folder.name}"
        if not step.evidence:
            yield f"{name}:0: step {step.name} has no minimum evidence"


def lint(suites: Path) -> list[str]:
    """All complaints about suites/, files sorted."""
    known = catalog(suites)
    files = sorted(path for path in suites.rglob("*.py") if "__pycache__" not in path.parts)
    found = [wrong for path in files for wrong in source(str(path.relative_to(suites)), path.read_text("utf-8"), known)]
    return found + [wrong for folder in folders(suites) for wrong in manifest(folder)]
