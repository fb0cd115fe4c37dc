"""Builds the container images from programs that are built already, and checks them.

    build.py --profile release [millstream] [millstream-operator]
    build.py --context-only FOLDER ...    only gather what the Dockerfile copies

The archives land in the cache; the last lines on stdout are their paths. An image that is larger
than its limit fails the build.
"""

import argparse
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "e2e"), str(ROOT / "e2e" / "cluster")]
import binaries  # noqa: E402
import images  # noqa: E402
from binaries import bring  # noqa: E402
from machine import Failed, command  # noqa: E402

MIB = 1024 * 1024
# Unpacked size that an image may have.
SIZE_MAX_BYTES = {"millstream": 60_000_000, "millstream-operator": 60_000_000}
USER = "65532"
FILES = {
    "etc/passwd": f"millstream:x:{USER}:{USER}::/:/sbin/nologin\n",
    "etc/group": f"millstream:x:{USER}:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


def built(profile: str, name: str) -> pathlib.Path:
    """Where cargo left a program."""
    target = os.environ.get("CARGO_TARGET_DIR") or bring.cache() / "target"
    path = pathlib.Path(target) / ("debug" if profile == "dev" else profile) / name
    if not path.is_file():
        raise Failed(f"no program {path}: cargo build --profile {profile} -p {name}")
    return path


def gather(context: pathlib.Path, programs: dict) -> None:
    """Lays out what the Dockerfile copies."""
    (context / "bin").mkdir(parents=True)
    for path, content in FILES.items():
        target = context / "root" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    for name, program in programs.items():
        command("strip", "--strip-all", "-o", context / "bin" / name, program)
        (context / "bin" / name).chmod(0o755)
        for library in libraries(program):
            target = context / "root" / str(library).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(library, target)
            target.chmod(0o755)
    shutil.copy(ROOT / "Dockerfile", context / "Dockerfile")


def libraries(program: pathlib.Path) -> list:
    """The shared libraries that a program is linked to, at the places where it looks for them."""
    lines = command("ldd", program).splitlines()
    if any("not found" in line for line in lines):
        raise Failed(f"{program}: a library is missing: {' '.join(lines)}")
    found = [re.search(r"(/\S+) \(0x", line) for line in lines]
    return [pathlib.Path(match[1]) for match in found if match]


def check(archive: pathlib.Path, name: str) -> int:
    """Reads an image back: its user, its entry point, its unpacked size in bytes."""
    with tarfile.open(archive) as tar:
        def blob(digest):
            return tar.extractfile(f"blobs/{digest.replace(':', '/')}").read()

        index = json.load(tar.extractfile("index.json"))
        manifest = json.loads(blob(index["manifests"][0]["digest"]))
        config = json.loads(blob(manifest["config"]["digest"]))["config"]
        size = sum(_unpacked(blob(layer["digest"]), layer["mediaType"])
                   for layer in manifest["layers"])
    if config.get("User") != f"{USER}:{USER}":
        raise Failed(f"image {name}: runs as {config.get('User')!r}, not as {USER}")
    if config.get("Entrypoint") != [f"/usr/bin/{name}"]:
        raise Failed(f"image {name}: entry point {config.get('Entrypoint')}")
    limit = SIZE_MAX_BYTES[name]
    if size > limit:
        raise Failed(f"image {name}: {size:,} bytes unpacked, more than the limit of {limit:,}")
    return size


def _unpacked(layer: bytes, kind: str) -> int:
    return len(gzip.decompress(layer)) if kind.endswith("gzip") else len(layer)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="release")
    parser.add_argument("--context-only", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--tag", default="dev")
    parser.add_argument("names", nargs="*", default=sorted(SIZE_MAX_BYTES))
    options = parser.parse_args()
    try:
        unknown = sorted(set(options.names) - set(SIZE_MAX_BYTES))
        if unknown:
            raise Failed(f"no image {', '.join(unknown)}: there are {', '.join(SIZE_MAX_BYTES)}")
        programs = {name: built(options.profile, name) for name in options.names}
        if options.context_only:
            gather(options.context_only, programs)
            return 0
        binaries.debian()
        build_all(programs, options.tag)
    except bring.Missing as missing:
        print(f"missing: {missing}", file=sys.stderr)
        return 1
    except (Failed, subprocess.CalledProcessError) as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    return 0


def build_all(programs: dict, tag: str) -> None:
    folder = bring.cache() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    archives = []
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        context = pathlib.Path(scratch)
        gather(context, programs)
        for name in programs:
            begin = time.monotonic()
            archive = folder / f"{name}.tar"
            image = f"{images.REGISTRY}/{name}:{tag}"
            images.build(context, context / "Dockerfile", image, archive, target=name)
            size = check(archive, name)
            seconds = time.monotonic() - begin
            print(f"{image}: {size / MIB:.1f} MiB unpacked, {seconds:.1f} s", file=sys.stderr)
            archives.append(archive)
    print(*archives, sep="\n")


if __name__ == "__main__":
    sys.exit(main())
