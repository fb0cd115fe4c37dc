"""Calls helm on the charts of the repository, and reads what it makes."""

import os
import pathlib
import subprocess
import sys
import tempfile

import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "cluster"))
import binaries  # noqa: E402

ROOT = HERE.parent.parent
CHARTS = ROOT / "charts"
MAIN, CRDS = CHARTS / "millstream", CHARTS / "millstream-crds"
# The settings of `millstream server`, as generated from its table.
SETTINGS = ROOT / "docs" / "reference" / "settings.md"
RELEASE, NAMESPACE = "streams", "millstream-system"
DEADLINE_SECONDS = 120


class Refused(Exception):
    """Helm refused; the message is what it said."""


def helm(*arguments, kubeconfig="/dev/null"):
    """Runs helm; returns its stdout."""
    with tempfile.TemporaryDirectory(prefix="millstream-helm-") as home:
        # Nothing of the user's own: no plugins, no repositories, no cluster.
        environment = {
            "PATH": os.environ["PATH"], "HOME": home, "HELM_CONFIG_HOME": home,
            "HELM_CACHE_HOME": home, "HELM_DATA_HOME": home, "KUBECONFIG": str(kubeconfig),
        }
        done = subprocess.run(
            [binaries.clients() / "helm", *map(str, arguments)], capture_output=True, text=True,
            timeout=DEADLINE_SECONDS, env=environment,
        )
    if done.returncode != 0:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def cases():
    """The values to render with, those of the examples too: name to file."""
    files = sorted((HERE / "cases").glob("*.yaml"))
    files += sorted((ROOT / "e2e" / "examples").rglob("values*.yaml"))
    return {file.stem: file for file in files}


def template(values, chart=MAIN, *more):
    """The rendered chart as text."""
    return helm("template", RELEASE, chart, "--namespace", NAMESPACE, "--values", values, *more)


def objects(text):
    """The objects of a rendered chart."""
    return [document for document in yaml.safe_load_all(text) if document]
