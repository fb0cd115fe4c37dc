"""What people and controllers do with the custom resource beyond writing it, against a real API server.

Scaling, columns, field ownership, the status that several managers write, selectors, and what a
person reads who got a field wrong.
"""

import json
import pathlib

from table import GROUP_PATH
from tally import equal, holds

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "e2e" / "examples"
OBJECTS = f"{GROUP_PATH}/namespaces/default/datastreams"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
NOW = "2026-01-01T00:00:00Z"


def manifest(name, **spec):
    """A DataStream."""
    return {
        "apiVersion": "millstream.dev/v1alpha1", "kind": "DataStream",
        "metadata": {"name": name}, "spec": spec,
    }


def condition(kind, status, reason="Testing"):
    """A condition as the operator writes it."""
    return {
        "type": kind, "status": status, "reason": reason, "message": "a test",
        "lastTransitionTime": NOW, "observedGeneration": 1,
    }


def all_checks(tally, server):
    """Every check of this module."""
    for check in (
        columns, scaling, ownership, shared_status, status_apart, selectors, examples, bad_manifests,
        explanations,
    ):
        with tally.check(f"{check.__name__}: {check.__doc__}"):
            check(server)


def columns(server):
    """kubectl get shows stream, status, shards, Ready and age, and more when wide."""
    make(server, manifest("columns", streamName="Columns_1", pool="fast"))
    write_status(server, "columns", {
        "streamName": "Columns_1", "streamStatus": "ACTIVE", "shardCount": 4,
        "streamArn": "arn:aws:kinesis:us-east-1:000000000001:stream/Columns_1",
        "conditions": [condition("Reconciling", "False"), condition("Ready", "True")],
    })
    head, row = table(server, "get", "datastreams", "columns")
    equal(head, ["NAME", "STREAM", "STATUS", "SHARDS", "READY", "AGE"])
    equal(row[:5], ["columns", "Columns_1", "ACTIVE", "4", "True"])
    head, row = table(server, "get", "dstream", "columns", "-o", "wide")
    equal(head[6:], ["ARN", "POOL"])
    equal(row[6:], ["arn:aws:kinesis:us-east-1:000000000001:stream/Columns_1", "fast"])
    _, _, err = server.kubectl("get", "dstream", "columns")
    equal(err, "", "the short name belongs to another resource too")
    _, row = table(server, "get", "millstream", "columns")
    holds("ACTIVE" in row, f"the category shows {row}")


def scaling(server):
    """kubectl scale and autoscalers set the shard count and read status and selector."""
    make(server, manifest("scaling", shardCount=2))
    write_status(server, "scaling", {"shardCount": 2, "selector": "pool=default"})
    code, out, err = server.kubectl("scale", "datastream/scaling", "--replicas=6")
    equal(code, 0, err + out)
    scale = read(server, "scaling/scale")
    equal(scale["spec"]["replicas"], 6)
    equal(scale["status"], {"replicas": 2, "selector": "pool=default"})
    equal(read(server, "scaling")["spec"]["shardCount"], 6)
    code, out, err = server.kubectl("scale", "datastream/scaling", "--replicas=0")
    holds(code != 0 and "spec.shardCount" in err, f"no shards: {code} {out}{err}")
    make(server, manifest("on-demand", streamMode="ON_DEMAND"))
    code, out, err = server.kubectl("scale", "datastream/on-demand", "--replicas=3")
    holds(code != 0 and "counts its shards itself" in err, f"on demand: {code} {out}{err}")


def ownership(server):
    """a field that one manager owns is refused to another, who learns its name."""
    path = f"{OBJECTS}/owned"
    code, _ = server.call("PATCH", f"{path}?fieldManager=git", manifest("owned", shardCount=2), APPLY)
    equal(code, 201)
    wish = manifest("owned", shardCount=4)
    code, answer = server.call("PATCH", f"{path}?fieldManager=millstream-api", wish, APPLY)
    equal(code, 409, answer.get("message"))
    holds("git" in answer["message"] and "shardCount" in answer["message"], answer["message"])
    equal(read(server, "owned")["spec"]["shardCount"], 2)
    wish = manifest("owned", retentionPeriodHours=48)
    code, answer = server.call("PATCH", f"{path}?fieldManager=millstream-api", wish, APPLY)
    equal(code, 200, answer.get("message"))
    spec = read(server, "owned")["spec"]
    equal((spec["shardCount"], spec["retentionPeriodHours"]), (2, 48))


def shared_status(server):
    """two managers write a condition each and leave the other's alone."""
    make(server, manifest("shared"))
    for manager, kind in (("one", "Ready"), ("two", "ShardsUnavailable"), ("one", "Ready")):
        body = manifest("shared")
        del body["spec"]
        body["status"] = {"conditions": [condition(kind, "False")]}
        path = f"{OBJECTS}/shared/status?fieldManager={manager}"
        code, answer = server.call("PATCH", path, body, APPLY)
        equal(code, 200, answer.get("message"))
    kinds = [each["type"] for each in read(server, "shared")["status"]["conditions"]]
    equal(sorted(kinds), ["Ready", "ShardsUnavailable"])


def status_apart(server):
    """a manifest cannot write the status, and a status cannot change the spec or its generation."""
    body = manifest("apart", shardCount=1)
    body["status"] = {"streamStatus": "ACTIVE"}
    make(server, body)
    holds("status" not in read(server, "apart"), "the manifest's status was kept")
    patch = {"status": {"streamStatus": "ACTIVE"}, "spec": {"shardCount": 9}}
    code, answer = server.call("PATCH", f"{OBJECTS}/apart/status", patch, MERGE)
    equal(code, 200, answer.get("message"))
    found = read(server, "apart")
    equal((found["spec"]["shardCount"], found["metadata"]["generation"]), (1, 1))
    equal(found["status"]["streamStatus"], "ACTIVE")


def selectors(server):
    """objects are found by pool and mode, and defaults are stored."""
    make(server, manifest("selected", pool="special"))
    make(server, manifest("unselected"))
    code, out, err = server.kubectl("get", "dstream", "--field-selector=spec.pool=special", "-o", "name")
    equal((code, out.split()), (0, ["datastream.millstream.dev/selected"]), err)
    equal(read(server, "unselected")["spec"], {
        "maxRecordSizeInKiB": 1024, "pool": "default", "retentionPeriodHours": 24,
        "streamMode": "PROVISIONED",
    })


def examples(server):
    """every example is accepted by kubectl apply, strictly."""
    files = [file for file in sorted(EXAMPLES.rglob("*.yaml")) if "values" not in file.name]
    holds(files, f"no examples in {EXAMPLES}")
    for file in files:
        code, out, err = server.kubectl(
            "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", str(file)
        )
        equal(code, 0, f"{file.name}: {out}{err}")


def bad_manifests(server):
    """a bad manifest is answered with the field and what would be right."""
    cases = [
        ({"shardCount": 0}, ["spec.shardCount", "greater than or equal to 1"]),
        ({"retentionPeriodHours": 9000}, ["spec.retentionPeriodHours", "less than or equal to 8760"]),
        ({"streamMode": "on_demand"}, ["spec.streamMode", '"PROVISIONED", "ON_DEMAND"']),
        ({"deletionPolicy": "Keep"}, ["spec.deletionPolicy", '"Retain", "Delete"']),
        ({"streamMode": "ON_DEMAND", "shardCount": 2}, ["spec.shardCount", "remove shardCount"]),
        ({"streamName": "a b"}, ["spec.streamName", "[a-zA-Z0-9_.-]{1,128}"]),
        ({"shardcount": 2}, ["spec.shardcount", "not declared"]),
        ({"tags": {"aws:x": "y"}}, ["spec.tags", "choose another"]),
        ({"pool": "Fast"}, ["spec.pool", "[a-z0-9]"]),
    ]
    for spec, words in cases:
        text = json.dumps(manifest("bad", **spec))
        code, out, err = server.kubectl("apply", "--server-side", "-f", "-", stdin=text)
        holds(code != 0, f"{spec} was accepted: {out}")
        for word in words:
            holds(word in err, f"{spec}: {err!r} lacks {word!r}")
    make(server, manifest("pooled", pool="fast"))
    text = json.dumps(manifest("pooled", pool="slow"))
    code, _, err = server.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    holds(code != 0 and "spec.pool" in err and "make another DataStream" in err, err)


def explanations(server):
    """kubectl explain describes a field as the reference does."""
    code, out, err = server.kubectl("explain", "datastream.spec.adoptStreamId")
    holds(code == 0 and "retained stream" in out, out + err)


def make(server, body):
    """Creates an object."""
    code, answer = server.call("POST", OBJECTS, body)
    equal(code, 201, answer.get("message"))


def read(server, path):
    """An object, or a part of it."""
    code, answer = server.call("GET", f"{OBJECTS}/{path}")
    equal(code, 200, answer.get("message"))
    return answer


def write_status(server, name, status):
    """Writes the status as the operator does, apart from the spec."""
    code, answer = server.call("PATCH", f"{OBJECTS}/{name}/status", {"status": status}, MERGE)
    equal(code, 200, answer.get("message"))


def table(server, *arguments):
    """What kubectl prints: the heads of the columns, and the cells of the first row."""
    code, out, err = server.kubectl(*arguments)
    equal(code, 0, err + out)
    lines = out.splitlines()
    return lines[0].split(), lines[1].split()
