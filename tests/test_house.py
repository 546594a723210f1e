"""Rules of the repository that no linter knows."""

import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = ROOT / "operator" / "proctor"
MAX_LINES = 300
LONG: dict[str, str] = {}
"""Modules over the limit, by their path, with the reason why they are not split."""
MAX_PLATFORM = 4341
"""Lines of code of images/bazaar/bazaar. The aim is 4,000: lower it with each simplification, never raise it."""
PRODUCT = ("operator/proctor", "images/bazaar/bazaar", "images/cassette/cassette")


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_operator_stays_the_standard_module() -> None:
    """With operator/__init__.py, `python -m pytest` and `python -m json.tool` from the root die at import."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    program = "import operator; print(operator.__file__ or ''); operator.itemgetter(0)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not done.stdout.startswith(str(ROOT))


# In two halves, so that this file does not hold what it looks for.
REGISTRIES = [
    "pypi" + ".org",
    "python" + "hosted.org",
    "proxy.golang" + ".org",
    "sum.golang" + ".org",
    "deb.debian" + ".org",
]
REGISTRIES += ["registry.npm" + "js.org", "crates" + ".io", "repo1.maven" + ".org", "security.debian" + ".org"]
MACHINE = ["/work" + "/main", "/work" + "/shared", "/work/" + ".library", "/tmp" + "/bash_"]
FORBIDDEN = re.compile("|".join(re.escape(word) for word in REGISTRIES + MACHINE))


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    found = []
    for path in committed():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures and archives
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in FORBIDDEN.finditer(text)]
    assert found == []


@pytest.mark.parametrize("word", REGISTRIES + MACHINE)
def test_the_search_would_find_it(word: str) -> None:
    assert FORBIDDEN.search(f"see {word}/x")


def test_modules_are_short_enough_to_read() -> None:
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in PRODUCT
        for path in (ROOT / folder).rglob("*.py")
    }
    too_long = {name: count for name, count in lines.items() if count > MAX_LINES and name not in LONG}
    assert too_long == {}, "split by noun, or add the reason to LONG"
    assert [name for name in LONG if lines.get(name, 0) <= MAX_LINES] == [], "no longer long"


def code_lines(source: str) -> int:
    """Count the lines of a module that hold code: no blank lines, no comments, no docstrings."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.string.strip() and token.type != tokenize.COMMENT:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_the_platform_stays_small() -> None:
    """It is what suites are measured on, not what is sold: a larger one hides its own faults."""
    modules = (ROOT / "images" / "bazaar" / "bazaar").rglob("*.py")
    assert sum(code_lines(path.read_text(encoding="utf-8")) for path in modules) <= MAX_PLATFORM


def test_only_code_is_counted() -> None:
    assert code_lines('"""Why."""\n\n# a reason\nx = (\n    1\n)  # three\n"""What x is."""\n') == 3


def imports(path: Path) -> set[str]:
    """Return the modules of proctor that a file imports, wherever in it the import is."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "proctor"}


def files(module: str) -> set[Path]:
    """Return the files that importing a module runs: its own, and the __init__.py of each package above it."""
    parts = module.split(".")[1:]
    found = {CODE.joinpath(*parts[:depth], "__init__.py") for depth in range(len(parts) + 1)}
    return {path for path in found | {CODE.joinpath(*parts).with_suffix(".py")} if path.is_file()}


@pytest.mark.parametrize(("image", "room"), [("operator", "edge"), ("runner", "runner")])
def test_an_image_gets_all_the_code_that_it_imports(image: str, room: str) -> None:
    """images/NAME/inputs is short, so that a change elsewhere builds no new image; this is what it must not miss."""
    given: set[Path] = set()
    for pattern in (ROOT / "images" / image / "inputs").read_text(encoding="utf-8").split():
        for match in ROOT.glob(pattern):
            given |= set(match.rglob("*.py")) if match.is_dir() else {match}
    needed, todo = set[Path](), set((CODE / room).rglob("*.py"))
    while todo:
        path = todo.pop()
        needed.add(path)
        todo |= {file for module in imports(path) for file in files(module)} - needed
    assert {str(path.relative_to(ROOT)) for path in needed - given} == set()
