"""Reads every script and manifest of the cluster's rooms: Python compiles, YAML parses, shell is linted.

It needs no cluster. kind is not run here, so this is all that checks its configuration. shellcheck is
Debian's; without it the shell scripts count as skipped.
"""

import pathlib
import shutil
import subprocess
import sys

import yaml

E2E = pathlib.Path(__file__).resolve().parent.parent
ROOMS = ("cluster", "kind", "images", "examples")
SHELL_SECONDS = 60


def python(path: pathlib.Path) -> str:
    try:
        compile(path.read_text(), str(path), "exec")
    except SyntaxError as error:
        return str(error)
    return ""


def manifest(path: pathlib.Path) -> str:
    """Parses every document, and kind's own patches inside its configuration."""
    try:
        documents = [d for d in yaml.safe_load_all(path.read_text()) if d is not None]
        for document in documents:
            for patch in document.get("kubeadmConfigPatches", []):
                yaml.safe_load(patch)
    except (yaml.YAMLError, AttributeError) as error:
        return str(error)
    return "" if documents else "no document in it"


def shell(path: pathlib.Path) -> str:
    done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True,
                          timeout=SHELL_SECONDS)
    return done.stdout.strip() if done.returncode else ""


def main() -> int:
    checks = {".py": python, ".yaml": manifest, ".sh": shell}
    passed = failed = skipped = 0
    for room in ROOMS:
        for path in sorted((E2E / room).rglob("*")):
            check = checks.get(path.suffix)
            if not check or not path.is_file():
                continue
            if check is shell and not shutil.which("shellcheck"):
                skipped += 1
                print(f"skipped: {path.relative_to(E2E)}: shellcheck is not installed")
                continue
            wrong = check(path)
            failed += bool(wrong)
            passed += not wrong
            if wrong:
                print(f"FAILED  {path.relative_to(E2E)}: {wrong}")
    print(f"lint: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
