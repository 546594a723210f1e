"""A cache key changes with everything that goes into a build and with nothing else."""

from pathlib import Path

import pytest
from cluster.images import find_images, given
from cluster.progress import ClusterError
from cluster.settings import KUBERNETES_VERSION

from cluster import tools


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    for name, text in {
        "images/app/Containerfile": "FROM scratch\n",
        "images/app/inputs": "src/**/*.py\npyproject.toml\n",
        "images/base/Containerfile": "FROM scratch\n",
        "images/plain/Containerfile": "FROM scratch\n",
        "images/plain/data.txt": "1",
        "src/a.py": "a = 1\n",
        "src/deep/b.py": "b = 1\n",
        "src/notes.md": "unrelated\n",
        "pyproject.toml": "[project]\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def _reference(repo: Path, name: str, base: str | None = None) -> str:
    (image,) = find_images([name], repo)
    return image.reference(base)


def test_an_image_is_named_by_twelve_hex_digits_of_its_content(repo: Path) -> None:
    name, _, tag = _reference(repo, "app").partition(":")
    assert name == "localhost/proctor-app"
    assert len(tag) == 12
    assert set(tag) <= set("0123456789abcdef")


@pytest.mark.parametrize("changed", ["src/a.py", "src/deep/b.py", "pyproject.toml", "images/app/Containerfile"])
def test_every_input_changes_the_tag(repo: Path, changed: str) -> None:
    before = _reference(repo, "app")
    (repo / changed).write_text("something else\n")
    assert _reference(repo, "app") != before


def test_what_is_no_input_leaves_the_tag_alone(repo: Path) -> None:
    before = _reference(repo, "app"), _reference(repo, "plain")
    (repo / "src/notes.md").write_text("rewritten\n")
    for folder in ("src", "images/plain"):
        (repo / folder / "__pycache__").mkdir()
        (repo / folder / "__pycache__/a.py").write_text("compiled\n")
    assert (_reference(repo, "app"), _reference(repo, "plain")) == before


def test_moving_content_from_one_file_to_another_changes_the_tag(repo: Path) -> None:
    before = _reference(repo, "app")
    (repo / "src/a.py").rename(repo / "src/c.py")
    assert _reference(repo, "app") != before


def test_the_base_is_part_of_the_tag(repo: Path) -> None:
    assert _reference(repo, "app", "localhost/proctor-base:1") != _reference(repo, "app", "localhost/proctor-base:2")


def test_without_inputs_the_whole_folder_counts(repo: Path) -> None:
    before = _reference(repo, "plain")
    (repo / "images/plain/data.txt").write_text("2")
    assert _reference(repo, "plain") != before


def test_the_base_is_not_one_of_the_images(repo: Path) -> None:
    assert [image.name for image in find_images(root=repo)] == ["app", "plain"]


def test_an_image_with_a_tool_is_built_when_named_and_follows_the_tool(
    repo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = tmp_path / "tools/demo/go.mod"
    module.parent.mkdir(parents=True)
    module.write_text("module demo\n")
    monkeypatch.setattr(tools, "TOOLS", tmp_path / "tools")
    monkeypatch.setitem(tools.GROUPS, "demo", tools.Group("demo", {"demo": "."}, {}))
    monkeypatch.setattr(tools, "go_version", lambda: "go version go1.26.0 linux/amd64")
    (repo / "images/plain/inputs").write_text("images/plain/data.txt\ntool:demo\n")
    assert [image.name for image in find_images(root=repo)] == ["app"]
    before = _reference(repo, "plain")
    module.write_text("module demo // changed\n")
    assert _reference(repo, "plain") != before


def test_an_unknown_image_is_named_with_those_that_exist(repo: Path) -> None:
    with pytest.raises(ClusterError, match=r"images/nope/Containerfile.*app, plain"):
        find_images(["nope"], repo)


def test_an_input_that_matches_nothing_is_an_error(repo: Path) -> None:
    (repo / "images/app/inputs").write_text("source/*.py\n")
    with pytest.raises(ClusterError, match=r"images/app/inputs: `source/\*\.py` matches no file"):
        find_images(["app"], repo)


def test_a_tool_group_is_rebuilt_for_another_go_or_another_go_mod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "TOOLS", tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/go.mod").write_text("module demo\n")
    group = tools.Group("demo", {"demo": "."}, {})
    monkeypatch.setattr(tools, "go_version", lambda: "go version go1.26.0 linux/amd64")
    first = tools.group_dir(group)
    assert tools.group_dir(group) == first
    monkeypatch.setattr(tools, "go_version", lambda: "go version go1.26.1 linux/amd64")
    second = tools.group_dir(group)
    (tmp_path / "demo/go.mod").write_text("module demo // changed\n")
    third = tools.group_dir(group)
    with_cgo = tools.group_dir(tools.Group("demo", {"demo": "."}, {}, cgo=True))
    assert len({first, second, third, with_cgo}) == 4


@pytest.mark.parametrize(
    ("found", "good"), [("go1.9.9", False), ("go1.26.0", True), ("go1.26.10", True), ("go1.100.0", True)]
)
def test_go_versions_compare_as_numbers(monkeypatch: pytest.MonkeyPatch, found: str, good: bool) -> None:
    monkeypatch.setattr(tools, "required_go", lambda: "1.26.0")
    monkeypatch.setattr(tools, "go_version", lambda: f"go version {found} linux/amd64")
    if good:
        tools.check_go()
    else:
        with pytest.raises(ClusterError, match=r"Go 1\.26\.0 or newer is needed"):
            tools.check_go()


def test_every_replace_of_a_staging_module_names_the_same_release() -> None:
    text = (tools.TOOLS / "kubernetes" / "go.mod").read_text()
    staging = [line.split("=>")[1].split() for line in text.splitlines() if "=> k8s.io/" in line]
    assert len(staging) > 25
    assert {version for _, version in staging} == {KUBERNETES_VERSION.replace("v1.", "v0.")}


def test_images_named_by_hand_count_when_none_is_missing(tmp_path: Path) -> None:
    values = tmp_path / "images.yaml"
    assert not given(["operator"], values)
    values.write_text("images: {operator: 'registry.example/op:1', runner: ''}")
    assert given(["operator"], values)
    assert not given(["operator", "runner"], values)
