"""The project's images: one per images/NAME/Containerfile, named by their content.

The tag is a hash of exactly what goes into the build: the Containerfile, the files that images/NAME/inputs lists (glob
paths from the repo root, one per line; images/NAME itself where there is no such file) and the base. Only those files
are in the build context, so a file that does not change the tag cannot change the image.

A line `tool:NAME` puts the programs of a group in cluster/tools/ into the context, as tools/PROGRAM. Such an image
takes minutes, so it is built only when it is named.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import yaml

from cluster.progress import ClusterError, run_steps
from cluster.settings import ROOT, cache_dir
from cluster.tools import GROUPS, Group, build_group, files_below, files_key, group_dir

_TOOL = "tool:"


class ImageEngine(Protocol):
    """What building and loading needs of an engine (cluster.local, cluster.kind, cluster.current)."""

    def base(self) -> str | None:
        """The image that BASE is set to, made if need be; None leaves the Containerfile's default."""

    def has(self, reference: str) -> bool:
        """Whether the builder already has this image."""

    def build_image(self, reference: str, containerfile: Path, context: Path, log: Path, base: str | None) -> None:
        """Build one image."""

    def loaded(self) -> set[str]:
        """The references that the cluster has; ClusterError when it does not run."""

    def load(self, reference: str, log: Path) -> None:
        """Give an image to the cluster."""


@dataclass(frozen=True)
class Image:
    """One images/NAME folder: the files that go into it, relative names sorted, and the tools."""

    name: str
    root: Path
    files: tuple[Path, ...]
    tools: tuple[Group, ...] = ()

    @property
    def containerfile(self) -> Path:
        """Its Containerfile."""
        return self.root / "images" / self.name / "Containerfile"

    def reference(self, base: str | None) -> str:
        """Its name in the cluster when built on `base`."""
        tools = (group_dir(tool).name for tool in self.tools)
        return f"localhost/proctor-{self.name}:{files_key(self.root, self.files, base or '', *tools)}"


def find_images(names: Sequence[str] = (), root: Path = ROOT) -> list[Image]:
    """The named images, or all that need no tool.

    ClusterError for a name without a Containerfile or an input that matches nothing.
    """
    every = sorted(path.parent.name for path in (root / "images").glob("*/Containerfile") if path.parent.name != "base")
    unknown = sorted(set(names) - set(every))
    if unknown:
        raise ClusterError(f"No images/{unknown[0]}/Containerfile. There are: {', '.join(every) or 'none'}.")
    images = [Image(name, root, tuple(_files(root, name)), tuple(_tools(root, name))) for name in every]
    return [image for image in images if (image.name in names if names else not image.tools)]


def build_and_load(names: Sequence[str], engine: ImageEngine) -> None:
    """Build and load what is new, then write build/images.yaml, which Helm charts take with -f."""
    images = find_images(names)
    present = engine.loaded()
    base: list[str | None] = []
    references: dict[str, str] = {}

    def bring_base() -> None:
        base.append(engine.base())
        references.update({image.name: image.reference(base[0]) for image in images})

    def bring(image: Image) -> str:
        return _bring(image, references[image.name], base[0], engine, present)

    run_steps([("base image", bring_base), *((f"image {image.name}", partial(bring, image)) for image in images)])
    target = ROOT / "build" / "images.yaml"
    _write_values(target, references)
    print(f"{len(references)} image(s) in {target}")


def given(names: Sequence[str], target: Path = ROOT / "build" / "images.yaml") -> bool:
    """Whether build/images.yaml names every wanted image already, as written by hand for a cluster with a registry."""
    if not target.exists():
        return False
    known = (yaml.safe_load(target.read_text()) or {}).get("images", {})
    return all(known.get(image.name) for image in find_images(names))


def _bring(image: Image, reference: str, base: str | None, engine: ImageEngine, present: set[str]) -> str:
    if reference in present:
        return f"unchanged {reference}"
    log = cache_dir() / "log" / f"image-{image.name}.log"
    if not engine.has(reference):
        with tempfile.TemporaryDirectory(prefix=f"proctor-{image.name}-") as folder:
            context = Path(folder)
            for path in image.files:
                target = context / path.relative_to(image.root)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
            for tool in image.tools:
                build_group(tool)
                shutil.copytree(group_dir(tool), context / "tools", dirs_exist_ok=True)
            containerfile = context / image.containerfile.relative_to(image.root)
            engine.build_image(reference, containerfile, context, log, base)
    engine.load(reference, log)
    return reference


def _files(root: Path, name: str) -> Iterable[Path]:
    folder = root / "images" / name
    inputs = folder / "inputs"
    if not inputs.exists():
        return files_below(folder)
    found = {folder / "Containerfile"}
    for pattern in inputs.read_text().split():
        if pattern.startswith(_TOOL):
            continue
        matches = list(root.glob(pattern))
        files = {file for match in matches for file in (files_below(match) if match.is_dir() else [match])}
        if not files:
            raise ClusterError(f"images/{name}/inputs: `{pattern}` matches no file below {root}.")
        found |= {file for file in files if "__pycache__" not in file.parts}
    return sorted(found)


def _tools(root: Path, name: str) -> Iterable[Group]:
    inputs = root / "images" / name / "inputs"
    lines = inputs.read_text().split() if inputs.exists() else []
    return [GROUPS[line.removeprefix(_TOOL)] for line in lines if line.startswith(_TOOL)]


def _write_values(target: Path, references: dict[str, str]) -> None:
    known: dict[str, str] = {}
    if target.exists():
        known = (yaml.safe_load(target.read_text()) or {}).get("images", {})
    target.parent.mkdir(exist_ok=True)
    target.write_text(yaml.safe_dump({"images": {**known, **references}}))
