"""Fills the pod's work folder before the tests: the runner itself, so that any image can run it, and the source."""

import shutil
import stat
import tarfile
import zlib
from pathlib import Path, PurePosixPath

import proctor
from proctor.api import names
from proctor.core.results import Trouble, encode
from proctor.runner.git import GitFailed, check_out
from proctor.runner.output import TerminationLog, say
from proctor.runner.plan import Assignment
from proctor.runner.report import Report

ARCHIVE = "suite.tgz"
MAX_BYTES = 256 << 20
MAX_MEMBERS = 20_000
"""What an archive may grow to; a ConfigMap holds 1 MiB, and gzip can make a thousand of one."""

_MODULES = (
    "__init__.py",
    "api/__init__.py",
    "api/names.py",
    "core/__init__.py",
    "core/envelope.py",
    "core/results.py",
    "core/shards.py",
)


class SourceUnavailable(Exception):
    """The step's source cannot be had. The text says why."""


def prepare(assignment: Assignment) -> int:
    """Copy runner and source. Return 0, or 1 after a summary with trouble SourceUnavailable is written."""
    try:
        _copy_runner(assignment.at(names.RUNNER_DIR))
        _fetch(assignment)
        root = assignment.source_root()
        if assignment.source.kind != "Image" and not root.is_dir():
            raise SourceUnavailable(f"the source has no folder {assignment.source.path!r}")
    except (SourceUnavailable, GitFailed, OSError) as error:
        say(str(error))
        report = Report(assignment)
        report.trouble = Trouble(names.SOURCE_UNAVAILABLE, str(error))
        TerminationLog(assignment.at(names.TERMINATION_LOG)).write(encode(report.summary(complete=False)))
        return 1
    return 0


def _copy_runner(destination: Path) -> None:
    """Copy what the runner imports. The folder itself is what `python3` is started with."""
    package = Path(proctor.__file__).parent
    modules = [*_MODULES, *(f"runner/{file.name}" for file in (package / "runner").glob("*.py"))]
    for module in modules:
        target = destination / "proctor" / module
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package / module, target)
    shutil.copyfile(package / "runner" / "__main__.py", destination / "__main__.py")


def _fetch(assignment: Assignment) -> None:
    source, destination = assignment.source, assignment.at(names.SOURCE_DIR)
    if PurePosixPath(source.path).is_absolute() or ".." in PurePosixPath(source.path).parts:
        raise SourceUnavailable(f"the source's path {source.path!r} leads out of it")
    if source.kind == "ConfigMap":
        _from_config_map(assignment.at(names.CONFIG_MAP_DIR), destination)
    elif source.kind == "Git":
        check_out(source.url, source.ref, assignment.commit, assignment.at(names.GIT_SECRET_DIR), destination)
    elif source.kind != "Image":
        raise SourceUnavailable(f"the source's kind {source.kind!r} is unknown")


def _from_config_map(mounted: Path, destination: Path) -> None:
    """Copy a mounted ConfigMap's keys. The kubelet keeps them behind links through a folder `..data`."""
    files = sorted(file for file in mounted.iterdir() if not file.name.startswith("..") and file.is_file())
    if not files:
        raise SourceUnavailable("the ConfigMap has no files")
    destination.mkdir(parents=True, exist_ok=True)
    for file in files:
        if file.name == ARCHIVE:
            _extract(file, destination)
        else:
            shutil.copyfile(file, destination / file.name)


def _extract(archive: Path, destination: Path) -> None:
    """Extract folders and files. By hand, since Debian 12's tarfile has no filter that keeps members inside."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            size = 0
            for count, member in enumerate(tar):
                size += member.size
                if size > MAX_BYTES or count >= MAX_MEMBERS:
                    raise SourceUnavailable(f"{ARCHIVE} holds more than {MAX_BYTES} bytes or {MAX_MEMBERS} members")
                _extract_member(tar, member, destination)
    except (tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        raise SourceUnavailable(f"{ARCHIVE} cannot be extracted: {error}") from error


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, destination: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise SourceUnavailable(f"{ARCHIVE} cannot be extracted: {member.name!r} is outside the destination")
    target = destination / path
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        raise SourceUnavailable(
            f"{ARCHIVE} cannot be extracted: {member.name!r} is no file and no folder; "
            "tar --dereference --hard-dereference packs what links point at"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file)
    target.chmod(0o755 if member.mode & stat.S_IXUSR else 0o644)
