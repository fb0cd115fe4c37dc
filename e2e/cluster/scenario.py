"""What scenarios stand on: Millstream installed by its charts, streams, waits, and clients' loads.

A scenario is a function that takes an `Installation`. It says what it measured with `say`, and fails
by an AssertionError. Nothing here knows which cluster it is: that is `targets.py`.
"""

import base64
import contextlib
import json
import pathlib
import re
import secrets
import string
import tempfile
import time
import urllib.request

import load
from machine import Failed, telling, until
from targets import Target, Unsupported

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
VALUES = "e2e/examples/kubernetes/values-small.yaml"
SYSTEM = "millstream-system"
STREAMS = "millstream-e2e"
SERVICE, SERVICE_PORT, TLS_PORT = "millstream", 80, 443
ADMIN_PORT, METRICS_SECRET = 4568, "millstream-metrics"
INSTALL_SECONDS = 180
READY_SECONDS = 120
GONE_SECONDS = 90
# Acknowledged records that a phase must have; any zero is a failure.
ACKED_LEAST = 200
ACKED_SECONDS = 60
KEY_ALPHABET = string.ascii_uppercase + string.digits


def say(line: str) -> None:
    print(f"        {line}", flush=True)


class Installation:
    """Millstream on a cluster, serving one namespace of streams."""

    def __init__(self, target: Target, folder: pathlib.Path, streams: str = STREAMS):
        self.target = target
        self.folder = folder
        self.streams = streams
        self.endpoint = ""
        # Whom clients are: (id, secret), and whom they trust where the endpoint has TLS.
        self.key, self.ca = ("", ""), None
        # What is installed: the folder of a checkout, and the tag of the images made from it.
        self.source, self.tag = ROOT, target.image_tag
        # How many histories of clients were judged good.
        self.judged = 0

    # Installing.

    def install(self, *values) -> None:
        """Both charts, as their guide says, with the small values of the examples."""
        for namespace in (SYSTEM, self.streams):
            manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {
                "name": namespace,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            }}
            self.apply(manifest)
        self.upgrade_definitions()
        try:
            self.upgrade(*values)
        except Failed as failure:
            raise Failed(f"{failure}\n{self.trouble()}") from failure

    def upgrade_definitions(self) -> None:
        """Installs or upgrades the chart of the custom resources."""
        self.target.helm(
            "upgrade", "--install", "millstream-crds", self.source / "charts/millstream-crds",
            "--namespace", SYSTEM, "--wait", f"--timeout={INSTALL_SECONDS}s",
            seconds=INSTALL_SECONDS + 20,
        )

    def upgrade(self, *values) -> None:
        """Installs or upgrades the chart; `values` are more of helm's `--set` settings."""
        prefix, tag = self.target.image_prefix, self.tag
        settings = [
            f"images.server.repository={prefix}/millstream", f"images.server.tag={tag}",
            f"images.operator.repository={prefix}/millstream-operator", f"images.operator.tag={tag}",
            "images.pullPolicy=IfNotPresent", f"watchNamespaces={{{self.streams}}}", *values,
        ]
        self.target.helm(
            "upgrade", "--install", "millstream", self.source / "charts/millstream", "--namespace", SYSTEM,
            f"--values={self.source / VALUES}", *[f"--set={s}" for s in settings],
            "--wait", f"--timeout={INSTALL_SECONDS}s", seconds=INSTALL_SECONDS + 20,
        )

    def uninstall(self) -> None:
        """Everything away, also the records; for a cluster that goes on to be used."""
        kubectl = self.target.kubectl
        names = kubectl("get", "datastreams", "-n", self.streams, "--output=name", check=False)
        for name in names.split():
            self.annotate(name.partition("/")[2], "millstream.dev/pause-")
            kubectl("delete", name, "-n", self.streams, "--wait=false")
        gone = ("wait", "--for=delete", "datastreams", "--all", "-n", self.streams)
        kubectl(*gone, f"--timeout={GONE_SECONDS}s", check=False, seconds=GONE_SECONDS + 10)
        # Where no operator could finish, nobody else may wait for it for ever.
        for name in names.split():
            patch = ("--type=merge", "--patch", '{"metadata":{"finalizers":null}}')
            kubectl("patch", name, "-n", self.streams, *patch, check=False)
        for chart in ("millstream", "millstream-crds"):
            with contextlib.suppress(Failed):
                self.target.helm("uninstall", chart, "--namespace", SYSTEM, "--ignore-not-found")
        for namespace in {self.streams, SYSTEM} - {"default"}:
            kubectl("delete", "namespace", namespace, "--ignore-not-found", check=False, seconds=120)

    def trouble(self) -> str:
        """Pods, the newest warnings, and the line that matters of each pod that is not ready."""
        lines = []
        for namespace in (SYSTEM, self.streams):
            lines += self.target.kubectl("get", "pods", "-n", namespace, check=False).splitlines()
            for pod in self.target.get("pods", "-n", namespace)["items"]:
                if not is_ready(pod):
                    lines.append(self.last_words(pod))
            events = self.target.kubectl(
                "get", "events", "-n", namespace, "--field-selector=type=Warning",
                "--sort-by=.lastTimestamp", "--no-headers",
                "--output=custom-columns=:involvedObject.name,:reason,:message", check=False)
            lines += events.splitlines()[-5:]
        return "\n".join(lines)

    def last_words(self, pod: dict) -> str:
        """What a pod's log says of why it is not ready, also of the container before this one."""
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        said = [self.target.kubectl("logs", name, "-n", namespace, "--tail=100", *more, check=False)
                for more in (("--previous",), ())]
        return f"  {name} says: {telling(''.join(said).splitlines()) or 'nothing'}"

    @contextlib.contextmanager
    def reachable(self, ca=None):
        """Holds a way to the client Service, over TLS where clients are to trust a `ca`."""
        before = self.endpoint, self.ca
        with self.target.reach(SYSTEM, SERVICE, TLS_PORT if ca else SERVICE_PORT) as address:
            self.endpoint, self.ca = f"http{'s' if ca else ''}://{address}", ca
            try:
                yield self
            finally:
                self.endpoint, self.ca = before

    # Objects.

    def apply(self, manifest: dict, *words) -> str:
        text = json.dumps(manifest)
        flags = ("--server-side", "--field-manager=e2e", "--filename=-")
        return self.target.kubectl("apply", *flags, *words, text=text)

    def stream(self, name: str, annotations=None, **spec) -> dict:
        """The manifest of a DataStream."""
        return {
            "apiVersion": "millstream.dev/v1alpha1", "kind": "DataStream",
            "metadata": {"name": name, "namespace": self.streams, "annotations": annotations or {}},
            "spec": spec,
        }

    def make_stream(self, name: str, **spec) -> float:
        """Applies a new stream and waits until it serves; the seconds that it took."""
        spec.setdefault("deletionPolicy", "Delete")
        begin = time.monotonic()
        self.apply(self.stream(name, **spec))
        self.wait("datastream", name, "Ready", "True")
        return time.monotonic() - begin

    def delete_stream(self, name: str) -> None:
        self.target.kubectl("delete", "datastream", name, "-n", self.streams,
                            f"--timeout={GONE_SECONDS}s", seconds=GONE_SECONDS + 10)

    def delete_all_streams(self) -> None:
        """What a failed run left would bring records that this one never sent."""
        for item in self.target.get("datastreams", "-n", self.streams)["items"]:
            name = item["metadata"]["name"]
            self.annotate(name, "millstream.dev/pause-")
            policy = ("--type=merge", "--patch", '{"spec":{"deletionPolicy":"Delete"}}')
            self.target.kubectl("patch", "datastream", name, "-n", self.streams, *policy)
            self.delete_stream(name)

    def annotate(self, name: str, *annotations) -> None:
        self.target.kubectl("annotate", "--overwrite", "datastream", name, "-n", self.streams,
                            *annotations)

    def status(self, name: str) -> dict:
        """What the object of a stream shows."""
        return self.target.get("datastream", name, "-n", self.streams).get("status", {})

    def condition(self, name: str, kind: str) -> dict:
        """A condition of a stream; empty if it is not there."""
        conditions = self.status(name).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def wait(self, kind: str, name: str, condition: str, status: str, seconds=READY_SECONDS) -> None:
        try:
            self.target.kubectl(
                "wait", f"--for=condition={condition}={status}", f"{kind}/{name}",
                "-n", self.streams, f"--timeout={seconds}s", seconds=seconds + 10)
        except Failed as failure:
            found = self.target.kubectl("get", kind, name, "-n", self.streams,
                                        "--output=jsonpath={.status}", check=False)
            why = f"{kind} {name}: not {condition}={status} in {seconds} s: {found}"
            raise AssertionError(f"{why}\n{self.trouble()}") from failure

    def pods(self, component: str, namespace: str = "") -> list:
        """The pods of `operator`, `gateway` or `shard`."""
        namespace = namespace or (self.streams if component == "shard" else SYSTEM)
        selector = f"app.kubernetes.io/name=millstream,app.kubernetes.io/component={component}"
        return self.target.get("pods", "-n", namespace, f"--selector={selector}")["items"]

    def wait_pods_ready(self, component: str, gone: set, seconds=READY_SECONDS) -> None:
        """Waits until none of the pods that were ended is there and every pod is ready."""
        def ready():
            pods = self.pods(component)
            good = [p for p in pods if p["metadata"]["uid"] not in gone and is_ready(p)]
            return pods and len(good) == len(pods)

        assert until(ready, seconds, pause=0.5), f"the {component} pods did not come back"

    def home(self, stream: str, pool: str = "default") -> int:
        """The number of the pod at which a stream is at home, as the pool's placement has it."""
        identity = self.status(stream)["streamId"]
        found = self.target.get("configmap", f"millstream-placement-{pool}", "-n", self.streams)
        return json.loads(found["data"]["placement.json"])["homes"][identity]["group"]

    def shard_pod(self, number: int, pool: str = "default") -> dict:
        """The pod of a pool with this number."""
        return self.target.get("pod", f"millstream-shard-{pool}-{number}", "-n", self.streams)

    def shards_held(self, pod: dict) -> int:
        """How many shards a shard pod has in its data directory, as its metrics say."""
        name = pod["metadata"]["name"]
        with self.target.port_forward(self.streams, f"pod/{name}", ADMIN_PORT) as address:
            ask = urllib.request.Request(f"http://{address}/metrics", headers={
                "Authorization": f"Bearer {self.metrics_token(self.streams)}"})
            with urllib.request.urlopen(ask, timeout=10) as answer:
                said = answer.read().decode()
        found = re.search(r"^millstream_shards (\d+)$", said, re.MULTILINE)
        assert found, f"{name} does not show its shards"
        return int(found[1])

    def metrics_token(self, namespace: str) -> str:
        """What the metrics of a namespace's pods ask for."""
        secret = self.target.get("secret", METRICS_SECRET, "-n", namespace)
        return base64.b64decode(secret["data"]["token"]).decode()

    def wait_event(self, kind: str, name: str, reason: str, words: str, seconds=READY_SECONDS) -> None:
        """Waits for an Event with these words in its message."""
        select = f"--field-selector=involvedObject.kind={kind},involvedObject.name={name},reason={reason}"
        told = []

        def is_told():
            items = self.target.get("events", "-n", self.streams, select)["items"]
            told[:] = [item["message"] for item in items]
            return any(words in message for message in told)

        assert until(is_told, seconds, pause=0.5), f"no Event {reason} with {words!r}: {told}"

    @contextlib.contextmanager
    def frozen(self, pod: dict):
        """Holds a pod where it stands."""
        self.target.freeze(pod)
        try:
            yield
        finally:
            self.target.thaw(pod)

    def kill_pod(self, pod: dict) -> None:
        """Ends a pod without grace, as a crash of its machine would, and lets it be replaced."""
        meta = pod["metadata"]
        with self.target.killed(pod):
            self.target.kubectl("delete", "pod", meta["name"], "-n", meta["namespace"],
                                "--grace-period=0", "--force")

    # Keys.

    def make_key(self, name: str) -> tuple:
        """A new access key as a Secret; (id, secret)."""
        identity = "AKIA" + "".join(secrets.choice(KEY_ALPHABET) for _ in range(16))
        secret = secrets.token_urlsafe(30)
        data = {"id": identity, "secret": secret}
        self.apply({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": name, "namespace": self.streams,
                         "labels": {"millstream.dev/access-key": "true"}},
            "data": {k: base64.b64encode(v.encode()).decode() for k, v in data.items()},
        })
        return identity, secret

    # Loads.

    def client(self, retries: bool, key: tuple = (), patience: int = 15):
        """A Kinesis client on the client Service; without retries each call is one request."""
        attempts = load.SDK_DEFAULT if retries else 1
        return load.client(self.endpoint, key or self.key, attempts, self.ca, patience)

    @contextlib.contextmanager
    def under_load(self, stream: str, key: tuple = (), **spec):
        """A new stream with writers and a reader for as long as the block lasts."""
        self.make_stream(stream, **spec)
        with self.loaded(stream, key) as clients:
            yield clients
        self.delete_stream(stream)

    @contextlib.contextmanager
    def loaded(self, stream: str, key: tuple = ()):
        """Writers and a reader on a stream; the block is what happens to it.

        Records must be acknowledged before, during and after the block. Prints the counts and the
        verdict over the history, in the same two lines for every scenario.
        """
        clients = load.Load(self.client(retries=False, key=key), stream, self.folder).start()
        try:
            for phase in load.PHASES:
                clients.phases.enter(phase)
                if phase == "during":
                    yield clients
                clients.wait_acked(phase, ACKED_LEAST, ACKED_SECONDS)
            verdict = clients.verdict()
        finally:
            clients.stop()
        say(f"{stream}: {clients.phases.line()}")
        say(f"{stream}: history: " + ", ".join(f"{k} {v}" for k, v in verdict.items() if k != "faults"))
        self.judged += 1

    @contextlib.contextmanager
    def steady(self, stream: str, attempts: int = load.SDK_DEFAULT):
        """Clients with the SDK's retries for as long as the block lasts: no call of theirs may fail."""
        kinesis = [load.client(self.endpoint, self.key, attempts, self.ca)
                   for _ in range(load.STEADY_CLIENTS)]
        load.shards(kinesis[0], stream)
        clients = load.Steady(kinesis, stream).start()
        try:
            yield clients
        finally:
            clients.stop()
        how = f"{attempts} attempts" if attempts else "the SDK's default"
        say(f"{stream}: clients with {how}: {clients.verdict()} records, no failed call")


def is_ready(pod: dict) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def run(target: Target, scenarios, prepare=None) -> int:
    """Runs scenarios in order on one installation; `prepare` says before what is installed.

    The closing line counts them.
    """
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation(target, pathlib.Path(folder))
        if prepare:
            prepare(installation)
        begin = time.monotonic()
        installation.install()
        say(f"installed in {time.monotonic() - begin:.1f} s")
        installation.delete_all_streams()
        installation.key = installation.make_key("scenarios")
        with installation.reachable():
            for scenario in scenarios:
                begin = time.monotonic()
                name = scenario.__name__.replace("_", " ")
                print(f"--      {name}", flush=True)
                try:
                    judged = installation.judged
                    scenario(installation)
                    assert installation.judged > judged, "no client's history was judged"
                except Unsupported as reason:
                    skipped += 1
                    print(f"skipped: {name}: {reason}", flush=True)
                except Exception as error:  # the next one may still say something
                    failed += 1
                    print(f"FAILED  {name}: {type(error).__name__}: {error}\n"
                          f"{installation.trouble()}", flush=True)
                else:
                    passed += 1
                    print(f"ok      {name}: {time.monotonic() - begin:.1f} s", flush=True)
    print(f"scenarios: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0
