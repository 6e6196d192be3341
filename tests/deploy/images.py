"""Makes, without an engine, what the images of examples/deploy hold: an environment with the package, and the files.

What ``.dockerignore`` lets through is copied first, and all else is made of that copy: a file that an image needs and
that isn't let through is missed here as it would be there. Dependencies come from the environment of the tests; the
package itself is installed by pip, with its console scripts.
"""

from __future__ import annotations

import atexit
import fnmatch
import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.files import ROOT, Image, image

_INSTALL_S = 50


@dataclass(frozen=True)
class Place:
    """Where the files of the images are."""

    commands: Path
    """The folder of the environment's commands."""
    folders: Mapping[str, Path]
    """By Dockerfile: what it has copied."""


def in_context(path: str) -> bool:
    """Whether the file, relative to the root, goes to the builder: the last pattern that matches it decides."""
    wanted = True
    parts = path.split("/")
    above = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        if any(_matches(one, pattern) for one in above):
            wanted = line.startswith("!")
    return wanted


def _matches(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(path.rpartition("/")[2], pattern[3:])
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


def make_context(folder: Path) -> Path:
    """A copy of what goes to the builder."""
    for place in ("examples", "zmqagents", "."):
        found = ROOT.glob("*") if place == "." else (ROOT / place).rglob("*")
        for file in found:
            path = file.relative_to(ROOT).as_posix()
            if file.is_file() and in_context(path):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, folder / path)
    return folder


def make_environment(folder: Path, context: Path) -> Path:
    """The folder of commands of an environment in which the package is installed, as the Dockerfiles install it."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    variables = {"base": str(folder), "platbase": str(folder)}
    inside = Path(sysconfig.get_path("purelib", "venv", vars=variables))
    (inside / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    install = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-build-isolation"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run(
        [sys.executable, *install, "--no-index", str(context)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_INSTALL_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "bin"


def make_files(image: Image, folder: Path, context: Path) -> Path:
    """What the last stage copies from the context, laid out below ``folder``, which stands for its WORKDIR."""
    folder.mkdir()
    for sources, destination in image.copied():
        for source in sources:
            found, target = context / source, folder / destination
            if found.is_dir():
                shutil.copytree(found, target, dirs_exist_ok=True)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, target)
    return folder


@functools.cache
def made() -> Place:
    """Both images, made once in a run of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="zmqagents-images-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    context = make_context(folder / "context")
    built = [image("forwarder"), image("worker")]
    folders = {one.file.name: make_files(one, folder / one.file.stem, context) for one in built}
    return Place(make_environment(folder / "venv", context), folders)
