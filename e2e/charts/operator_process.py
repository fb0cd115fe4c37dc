"""The operator as a process against a real API server, with exactly the rights that the chart gives it.

Nothing runs its pods. What is tried: it is elected, makes a pool for a stream, reports, lets the object
go again, and is refused nothing by the API server on the way.
"""

import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request

import api_server
import helm
import rules
import yaml
from tally import equal, holds

OPERATOR = f"system:serviceaccount:{helm.NAMESPACE}:millstream-operator"
STREAMS = "/apis/millstream.dev/v1alpha1/namespaces/team-a/datastreams"
DEADLINE_SECONDS = 90
END_SECONDS = 40
POLL_SECONDS = 0.3
LOG_LINES = 20
# What the pool of a stream in team-a is made of.
POOL = {
    "StatefulSet": "/apis/apps/v1/namespaces/team-a/statefulsets/millstream-shard-default",
    "Service": "/api/v1/namespaces/team-a/services/millstream-shard-default",
    "ServiceAccount": "/api/v1/namespaces/team-a/serviceaccounts/millstream-shard-default",
    "PodDisruptionBudget":
        "/apis/policy/v1/namespaces/team-a/poddisruptionbudgets/millstream-shard-default",
    "NetworkPolicy":
        "/apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies/millstream-shard-default",
    "ConfigMap": "/api/v1/namespaces/team-a/configmaps/millstream-ca-bundle",
    "Secret": f"/api/v1/namespaces/team-a/secrets/{rules.METRICS_SECRET}",
}


def binary():
    """Where cargo leaves the operator in the profile of the tests."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    target = os.environ.get("CARGO_TARGET_DIR") or pathlib.Path(cache) / "millstream" / "target"
    return pathlib.Path(target) / "debug" / "millstream-operator"


def is_current():
    """Whether the operator is built, and newer than its sources."""
    if not binary().exists():
        return False
    sources = (helm.ROOT / "operator" / "src").rglob("*.rs")
    return binary().stat().st_mtime > max(file.stat().st_mtime for file in sources)


def all_checks(tally, server):
    """Every check of this module; the charts are installed, team-a is watched."""
    if not is_current():
        tally.skip("the operator with its rights", "not built: cargo build -p millstream-operator")
        return
    with Operator(server) as operator:
        with tally.check("operator: it starts, is elected, and makes its certificate authority"):
            operator.await_ready()
            lease = f"/apis/coordination.k8s.io/v1/namespaces/{helm.NAMESPACE}/leases/millstream-operator"
            until("a leader", operator, lambda: read(server, lease).get("spec", {}).get("holderIdentity"))
            secret = f"/api/v1/namespaces/{helm.NAMESPACE}/secrets/millstream-ca"
            until("the authority", operator, lambda: read(server, secret).get("data"))
            bundle = f"/api/v1/namespaces/{helm.NAMESPACE}/configmaps/millstream-ca-bundle"
            until("its bundle", operator, lambda: read(server, bundle).get("data", {}).get("ca.crt"))
            token = f"/api/v1/namespaces/{helm.NAMESPACE}/secrets/{rules.METRICS_SECRET}"
            until("a token for metrics", operator, lambda: read(server, token).get("data", {}).get("token"))
        with tally.check("operator: a stream gets its pool"):
            make_stream(server)
            for kind, path in POOL.items():
                until(kind, operator, lambda path=path: read(server, path).get("metadata"))
        with tally.check("operator: the pool's pods meet the level `restricted`, with settings that there are"):
            objects = [{**read(server, POOL["StatefulSet"]), "kind": "StatefulSet"}]
            equal(rules.pod_security(objects), [])
            equal(rules.variables(objects, helm.SETTINGS.read_text()), [])
            equal(rules.secret_modes(objects) + rules.metrics_tokens(objects) + rules.empty_dirs(objects), [])
        with tally.check("operator: the object says that it is being worked on"):
            until("Reconciling", operator, lambda: condition(server, "Reconciling") == "True")
            equal(condition(server, "Ready"), "False")
            equal(condition(server, "Stalled"), "False")
            until("an Event", operator, lambda: reasons(server))
        with tally.check("operator: a stream of no known pool is stalled, with the fix"):
            make_stream(server, "lost", pool="nowhere")
            until("Stalled", operator, lambda: condition(server, "Stalled", "lost") == "True")
            equal(condition(server, "Stalled", "lost", "reason"), "PoolUnknown")
        with tally.check("operator: another fault is another Event, and the same one again is counted"):
            merge = "application/merge-patch+json"
            make_stream(server, "large", shardCount=5000)
            until("the first words", operator, lambda: counts(server, "PoolFull", "5000") == [1])
            equal(server.call("PATCH", f"{STREAMS}/large", {"spec": {"shardCount": 6000}}, merge)[0], 200)
            until("other words", operator, lambda: counts(server, "PoolFull", "6000") == [1])
            equal(server.call("PATCH", f"{STREAMS}/large", {"spec": {"shardCount": 5000}}, merge)[0], 200)
            until("the first words again", operator, lambda: counts(server, "PoolFull", "5000") == [2])
        with tally.check("operator: objects that are deleted go"):
            for name in ("worked-on", "lost", "large"):
                server.call("DELETE", f"{STREAMS}/{name}")
                until(f"the end of {name}", operator, lambda name=name: not exists(server, name))
        with tally.check("operator: a pool with a retained stream stays, and an Event says so"):
            patch = {"metadata": {"annotations": {"millstream.dev/delete-pool": "true"}}}
            merge = "application/merge-patch+json"
            equal(server.call("PATCH", POOL["StatefulSet"], patch, merge)[0], 200)
            until("PoolInUse", operator, lambda: "PoolInUse" in reasons(server))
        with tally.check("operator: it ends when it is asked to, and gives the lease up"):
            equal(operator.end(), 0, operator.tail())
        with tally.check("operator: the API server refused it nothing"):
            asked = list(server.requests_of(OPERATOR))
            holds(len(asked) > 20, f"only {len(asked)} requests were seen")
            refused = sorted({entry[:4] for entry in asked if entry[4] in (401, 403)})
            equal(refused, [])


class Operator:
    """One operator process, with the token that its pod would carry."""

    def __init__(self, server):
        self.folder = server.folder / "operator"
        self.folder.mkdir()
        kubeconfig = self.folder / "kubeconfig"
        server.write_kubeconfig(kubeconfig, server.token_of(helm.NAMESPACE, "millstream-operator"))
        path = f"/api/v1/namespaces/{helm.NAMESPACE}/configmaps/millstream-operator"
        config = yaml.safe_load(read(server, path)["data"]["operator.yaml"])
        # On this machine nothing listens beyond loopback.
        self.admin, contract = (f"127.0.0.1:{port}" for port in api_server.free_ports(2))
        config["adminListen"], config["contract"]["listen"] = self.admin, contract
        file = self.folder / "operator.yaml"
        file.write_text(yaml.safe_dump(config))
        environment = {
            "KUBECONFIG": str(kubeconfig), "MILLSTREAM_LOG": "info", "POD_NAME": "millstream-operator-0",
            "POD_NAMESPACE": helm.NAMESPACE, "POD_UID": "00000000-0000-0000-0000-000000000001",
        }
        self.log = self.folder / "log"
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [binary(), "--config", file], env=environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=self.folder, preexec_fn=api_server.end_with_parent,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(END_SECONDS)

    def await_ready(self):
        """Waits until the admin port says that it is ready."""
        until("/readyz", self, lambda: self._answers("/readyz"))

    def _answers(self, path):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            return opener.open(f"http://{self.admin}{path}", timeout=5).status == 200
        except (OSError, urllib.error.HTTPError):
            return False

    def end(self):
        """Asks it to end; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_SECONDS)

    def tail(self):
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])


def until(what, operator, seen):
    """Waits until `seen()` is true."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not seen():
        ended = operator.process.poll()
        holds(ended is None, f"the operator ended with {ended} before {what}:\n{operator.tail()}")
        holds(time.monotonic() < deadline, f"no {what} in {DEADLINE_SECONDS} s:\n{operator.tail()}")
        time.sleep(POLL_SECONDS)


def make_stream(server, name="worked-on", **spec):
    """A stream in team-a."""
    body = {
        "apiVersion": "millstream.dev/v1alpha1", "kind": "DataStream",
        "metadata": {"name": name}, "spec": spec,
    }
    code, answer = server.call("POST", STREAMS, body)
    equal(code, 201, answer.get("message"))


def reasons(server):
    """The reasons of the Events in team-a."""
    events = read(server, "/apis/events.k8s.io/v1/namespaces/team-a/events").get("items", [])
    return {event["reason"] for event in events}


def counts(server, reason, words):
    """How often each Event of this reason with these words was seen."""
    events = read(server, "/apis/events.k8s.io/v1/namespaces/team-a/events").get("items", [])
    return [
        (event.get("series") or {"count": 1})["count"]
        for event in events
        if event["reason"] == reason and words in event["note"]
    ]


def read(server, path):
    """An object, or nothing."""
    code, answer = server.call("GET", path)
    return answer if code == 200 else {}


def exists(server, name):
    """Whether the stream's object is there."""
    return server.call("GET", f"{STREAMS}/{name}")[0] == 200


def condition(server, kind, name="worked-on", field="status"):
    """A field of a condition, or nothing."""
    conditions = read(server, f"{STREAMS}/{name}").get("status", {}).get("conditions", [])
    return next((each[field] for each in conditions if each["type"] == kind), None)
