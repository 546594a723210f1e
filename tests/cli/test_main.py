from pathlib import Path

import pytest

from proctor.cli.main import main

ROOT = Path(__file__).parents[2]
COMMANDS = ("run", "watch", "cassettes", "crds", "up", "down", "status")


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    for word in (*COMMANDS, "0 Passed", "1 Failed", "2 Error", "3 Inconclusive", "docs/examples/hello.yaml"):
        assert word in said
    assert (ROOT / "docs/examples/hello.yaml").is_file()


@pytest.mark.parametrize(
    "argv", [[], ["rum"], ["run"], ["watch", "a", "--timeout", "2 hours"], ["crds"], ["run", "a", "--flag"]]
)
def test_wrong_usage_is_no_verdict(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 64
    assert "usage: proctor" in capsys.readouterr().err


def checkout(folder: Path) -> Path:
    """Make the least that counts as a checkout, with a cluster module that tells what it was asked."""
    chart = folder / "helm/proctor/Chart.yaml"
    chart.parent.mkdir(parents=True)
    chart.touch()
    module = folder / "cluster"
    module.mkdir()
    (module / "__main__.py").write_text(
        "import os, pathlib, sys\n"
        "pathlib.Path('asked').write_text(' '.join([os.getcwd(), *sys.argv[1:]]))\n"
        "sys.exit(7)\n"
    )
    inside = folder / "docs/deep"
    inside.mkdir(parents=True)
    return inside


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_cluster_commands_run_the_module_of_the_checkout(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout(tmp_path))
    assert main([command, "--fake-nodes", "3"]) == 7
    assert (tmp_path / "asked").read_text() == f"{tmp_path} {command} --fake-nodes 3"


@pytest.mark.parametrize("argv", [["up"], ["crds", "--check"]])
def test_outside_a_checkout_the_message_says_so(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 5
    assert "no checkout of Proctor found" in capsys.readouterr().err


def test_crds_are_written_checked_and_tidied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkout(tmp_path))
    assert main(["crds", "--check"]) == 1
    assert "crds/testruns.yaml" in capsys.readouterr().err
    assert main(["crds", "--write"]) == 0
    assert main(["crds", "--check"]) == 0
    (tmp_path / "crds/perfgates.yaml").write_text("kind: Edited\n")
    (tmp_path / "crds/gone.yaml").touch()
    assert main(["crds", "--check"]) == 1
    capsys.readouterr()
    assert main(["crds", "--write"]) == 0
    assert capsys.readouterr().out.splitlines() == ["wrote crds/perfgates.yaml", "removed crds/gone.yaml"]
    assert main(["crds", "--check"]) == 0
