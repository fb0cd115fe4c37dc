#!/usr/bin/env python3
"""Makes kinesis.json: the digest of the Kinesis service model that AWS publishes with botocore.

    python3 data-plane/protocol/model/digest.py            # the pinned version, as checked in
    python3 data-plane/protocol/model/digest.py --latest   # the newest on PyPI: look at the diff

botocore goes into a virtual environment of its own below ${XDG_CACHE_HOME:-~/.cache}/millstream.
The digest holds every operation and every shape, with their constraints, without the documents.
"""

import gzip
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

PINNED = "1.44.5"
OPERATIONS = 57
INSTALL_SECONDS = 300
HERE = Path(__file__).resolve().parent
SHAPE_KEYS = ("min", "max", "pattern", "enum", "required", "eventstream", "event", "exception", "fault")


def cache_dir():
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "millstream"


def install(wanted):
    """Returns (site-packages, version) of a botocore in its own virtual environment."""
    home = cache_dir() / f"botocore-{wanted or 'latest'}"
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
    requirement = f"botocore=={wanted}" if wanted else "botocore"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--upgrade", requirement],
        check=True, timeout=INSTALL_SECONDS,
    )
    (package,) = home.glob("lib/python3*/site-packages/botocore")
    (info,) = home.glob("lib/python3*/site-packages/botocore-*.dist-info")
    return package, info.name.removeprefix("botocore-").removesuffix(".dist-info")


def load_model(package):
    (path,) = (package / "data" / "kinesis").glob("*/service-2.json*")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return json.load(file)


def digest_shape(shape):
    out = {"type": shape["type"]}
    for key in SHAPE_KEYS:
        if key in shape:
            out[key] = shape[key]
    for key in ("member", "key", "value"):
        if key in shape:
            out[key] = shape[key]["shape"]
    if "members" in shape:
        out["members"] = {name: member["shape"] for name, member in shape["members"].items()}
    return out


def digest_operation(operation):
    out = {
        "kind": operation.get("staticContextParams", {}).get("OperationType", {}).get("value"),
        "input": operation["input"]["shape"] if "input" in operation else None,
        "output": operation["output"]["shape"] if "output" in operation else None,
        "errors": [error["shape"] for error in operation.get("errors", [])],
    }
    return out


def render(model, version):
    """One operation or shape per line, so that a new model shows as a readable diff."""
    meta = model["metadata"]
    source = {
        "package": "botocore", "version": version, "api_version": meta["apiVersion"],
        "target_prefix": meta["targetPrefix"], "json_version": meta["jsonVersion"],
    }
    lines = ["{", f'"source": {json.dumps(source)},']
    for title, items, one in (
        ("operations", model["operations"], digest_operation),
        ("shapes", model["shapes"], digest_shape),
    ):
        lines.append(f'"{title}": {{')
        rows = [f"{json.dumps(name)}: {json.dumps(one(items[name]))}" for name in sorted(items)]
        lines.append(",\n".join(rows))
        lines.append("}," if title == "operations" else "}")
    lines.append("}")
    return "\n".join(lines) + "\n"


def main():
    latest = sys.argv[1:] == ["--latest"]
    if sys.argv[1:] and not latest:
        sys.exit(__doc__)
    package, version = install(None if latest else PINNED)
    print(f"botocore {version}")
    model = load_model(package)
    if len(model["operations"]) < OPERATIONS:
        sys.exit(f"the model has {len(model['operations'])} operations, {OPERATIONS} are expected")
    target = HERE / "kinesis.json"
    target.write_text(render(model, version), encoding="utf-8")
    print(f"{target}: {len(model['operations'])} operations, {len(model['shapes'])} shapes")


if __name__ == "__main__":
    main()
