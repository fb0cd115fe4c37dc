"""The table of manifests (`crds/tests/manifests/`) against a real API server.

`validate()` is held to the same table by the tests of `crds/`, so that a row on which both agree is a
verdict of both. A refusal must name the field that the table names.
"""

import copy
import pathlib

import yaml

from tally import equal, holds

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / "crds" / "tests" / "manifests" / "data_stream.yaml"
ROWS_MIN = 60
GROUP_PATH = "/apis/millstream.dev/v1alpha1"
STRICT = "fieldValidation=Strict&fieldManager=table"

# How the API server names what stands before any schema is asked.
ENVELOPE = {
    "apiVersion": ("API version", "in version"),
    "kind": ("kind", "cannot be handled as"),
    "metadata.name": ("name",),
    "metadata.namespace": ("namespace",),
}


def rows():
    """Every row that an API server is asked about."""
    with open(TABLE, encoding="utf-8") as file:
        table = yaml.safe_load(file)
    table = [row for row in table if row.get("by") != "offline"]
    holds(len(table) >= ROWS_MIN, f"only {len(table)} rows in {TABLE}")
    return table


def make_namespaces(server):
    """Makes the namespaces that good rows are written to."""
    for row in rows():
        name = row["manifest"]["metadata"].get("namespace")
        if name and "field" not in row:
            server.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})


def check(server, row):
    """One row: written as it stands, with every unknown field refused."""
    if "old" in row:
        code, answer = _update(server, row["old"], row["manifest"])
    else:
        path = f"{_collection(row['manifest'])}?dryRun=All&{STRICT}"
        code, answer = server.call("POST", path, row["manifest"])
    message = answer.get("message", "")
    if "field" not in row:
        holds(code in (200, 201), f"refused with {code}: {message}")
        return
    holds(400 <= code < 500, f"accepted with {code}")
    words = ENVELOPE.get(row["field"], (row["field"],))
    holds(any(word in message for word in words), f"{message!r} names none of {words}")


def _update(server, old, new):
    """Makes `old` with its status, asks for `new`, and leaves nothing behind."""
    old, new = copy.deepcopy(old), copy.deepcopy(new)
    path = f"{_collection(old)}/{old['metadata']['name']}"
    status = old.pop("status", None)
    code, made = server.call("POST", f"{_collection(old)}?{STRICT}", old)
    equal(code, 201, f"making the old object: {made.get('message')}")
    try:
        if status is not None:
            patch = {"status": status}
            code, made = server.call(
                "PATCH", f"{path}/status?{STRICT}", patch, "application/merge-patch+json"
            )
            equal(code, 200, f"writing its status: {made.get('message')}")
        new["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
        return server.call("PUT", f"{path}?dryRun=All&{STRICT}", new)
    finally:
        code, answer = server.call("DELETE", path)
        equal(code, 200, f"deleting it: {answer.get('message')}")


def _collection(manifest):
    namespace = manifest["metadata"].get("namespace", "default")
    return f"{GROUP_PATH}/namespaces/{namespace}/datastreams"
