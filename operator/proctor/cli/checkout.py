"""Commands that need the source: the local cluster is built from it, and the CRDs are generated into it."""

import subprocess
import sys
from pathlib import Path

from proctor.api import crd
from proctor.cli.errors import CommandError

_MARK = Path("helm/proctor/Chart.yaml")


def find(start: Path) -> Path:
    """Return the root of the checkout that `start` is in. Raises CommandError if it is in none."""
    for folder in (start, *start.parents):
        if (folder / _MARK).is_file():
            return folder
    raise CommandError(f"no checkout of Proctor found from {start} upwards: this command needs one, so cd into it")


def cluster(root: Path, arguments: list[str]) -> int:
    """Run `python -m cluster` of the checkout and return its exit code."""
    return subprocess.run([sys.executable, "-m", "cluster", *arguments], cwd=root, check=False).returncode


def write_crds(root: Path) -> int:
    """Write every generated file that is not current, and remove CRDs of kinds that are no more. Returns 0."""
    for path, text in crd.files().items():
        target = root / path
        if not target.is_file() or target.read_text(encoding="utf-8") != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    for path in _strays(root):
        (root / path).unlink()
        print(f"removed {path}")
    return 0


def check_crds(root: Path) -> int:
    """Return 0 if every generated file is current. Raises CommandError with the ones that are not."""
    stale = [
        str(path)
        for path, text in crd.files().items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]
    stale += [str(path) for path in _strays(root)]
    if stale:
        raise CommandError(f"not what the models give: {', '.join(stale)}. Run `proctor crds --write` and commit.", 1)
    print("CRDs are what the models give")
    return 0


def _strays(root: Path) -> list[Path]:
    generated = crd.files()
    folders = {path.parent for path in generated}
    found = {path.relative_to(root) for folder in folders for path in (root / folder).glob("*.yaml")}
    return sorted(found - set(generated))
