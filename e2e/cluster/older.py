"""Charts and images of an older commit, for the upgrade from it: built once, cached by commit.

The commit's files are laid out in the cache, apart from the checkout, and built there with a target
folder of their own, which is dropped afterwards. Nothing of the repository is touched.
"""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import images
from binaries import bring
from machine import Failed, command

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD_SECONDS = 3600
# Image to crate.
PROGRAMS = {"millstream": "millstream-server", "millstream-operator": "millstream-operator"}
TAG_LENGTH = 12


@dataclasses.dataclass(frozen=True)
class Older:
    """A version that can be installed."""

    commit: str
    source: pathlib.Path
    archives: list

    @property
    def tag(self) -> str:
        return self.commit[:TAG_LENGTH]


def older(ref: str) -> Older:
    """The version of a commit of this repository."""
    commit = command("git", "-C", ROOT, "rev-parse", "--verify", f"{ref}^{{commit}}").strip()
    folder = bring.cache() / f"older-{commit[:TAG_LENGTH]}"
    version = Older(commit, folder / "source", [folder / f"{name}.tar" for name in PROGRAMS])

    def fill():
        lay_out(version)
        target = build(version)
        pack(version, target)
        shutil.rmtree(target)

    bring.once(folder, fill)
    return version


def lay_out(version: Older) -> None:
    version.source.mkdir()
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        command("git", "-C", ROOT, "archive", f"--output={archive.name}", version.commit)
        command("tar", "-xf", archive.name, "-C", version.source)


def build(version: Older) -> pathlib.Path:
    """Compiles its programs as CI does; where they are."""
    target = version.source.parent / "target"
    crates = [word for crate in PROGRAMS.values() for word in ("-p", crate)]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_PROFILE_DEV_DEBUG": "false",
                   "CARGO_INCREMENTAL": "0"}
    words = ["nice", "cargo", "build", "--quiet", "--locked", "--profile", "dev", *crates]
    done = subprocess.run(words, cwd=version.source, env=environment, timeout=BUILD_SECONDS)
    if done.returncode != 0:
        raise Failed(f"the programs of {version.tag} were not built")
    return target


def pack(version: Older, target: pathlib.Path) -> None:
    """Makes its images by its own rules, with a tag of their own."""
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    with tempfile.TemporaryDirectory(dir=version.source.parent) as scratch:
        context = pathlib.Path(scratch) / "context"
        script = version.source / "e2e/images/build.py"
        words = [sys.executable, str(script), "--profile", "dev", "--context-only", str(context)]
        subprocess.run([*words, *PROGRAMS], env=environment, check=True, timeout=BUILD_SECONDS)
        for name, archive in zip(PROGRAMS, version.archives, strict=True):
            tag = f"{images.REGISTRY}/{name}:{version.tag}"
            images.build(context, context / "Dockerfile", tag, archive, target=name)
