"""The cluster that the tests run against, chosen by `E2E_CLUSTER`: local, kind or kubeconfig.

One answer each to: which kubeconfig, how does an image get there, how is a node broken, how does a
client on this machine reach a Service. A test asks `target()` and does not care which it is; where a
target cannot do a thing it raises `Unsupported`, and the test counts as skipped with that reason.
"""

import abc
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import binaries
import images
import layout as plan
from machine import Failed, command
from up import Cluster

HERE = pathlib.Path(__file__).resolve().parent
KIND_NAME = "millstream"
REACH_SECONDS = 20
FORWARD_ENDS_SECONDS = 2
LOAD_SECONDS = 300


class Unsupported(Exception):
    """This target cannot do that; the message says which and why."""


class Target(abc.ABC):
    """A cluster to test on."""

    name: str
    kubeconfig: pathlib.Path
    # Where the charts find the images: PREFIX/millstream:TAG.
    image_prefix = images.REGISTRY
    image_tag = "dev"

    @property
    def tools_image(self) -> str:
        """An image with a shell and wget, as busybox has them, for pods of a test's own."""
        image = os.environ.get("E2E_TOOLS_IMAGE")
        if not image:
            raise Unsupported(f"E2E_CLUSTER={self.name}: set E2E_TOOLS_IMAGE to busybox, as its nodes get it")
        return image

    def kubectl(self, *words, check=True, text=None, seconds=60) -> str:
        program = binaries.clients() / "kubectl"
        flag = f"--kubeconfig={self.kubeconfig}"
        return command(program, flag, *words, check=check, text=text, seconds=seconds)

    def helm(self, *words, seconds=300) -> str:
        program = binaries.clients() / "helm"
        return command(program, f"--kubeconfig={self.kubeconfig}", *words, seconds=seconds)

    def get(self, *words) -> dict:
        """An object or a list of the API, as JSON."""
        return json.loads(self.kubectl("get", *words, "--output=json"))

    def nodes(self) -> list:
        """The names of the nodes that take pods."""
        items = self.get("nodes")["items"]
        control = "node-role.kubernetes.io/control-plane"
        return [n["metadata"]["name"] for n in items if control not in n["metadata"]["labels"]]

    @abc.abstractmethod
    def load(self, archives: list) -> None:
        """Puts images from OCI archives on every node."""

    @contextlib.contextmanager
    def killed(self, pod: dict):
        """Sends SIGKILL to everything in a pod, where its processes can be reached; the block deletes it.

        `kubectl delete --force --grace-period=0` alone gives a process two seconds to end well.
        """
        yield

    def freeze(self, pod: dict) -> None:
        """Stops everything in a pod where it stands: it answers nobody, and nobody is told."""
        raise Unsupported(f"freeze a pod: the nodes of {self.name} are not within reach")

    def thaw(self, pod: dict) -> None:
        """Lets it go on."""

    @abc.abstractmethod
    def power_off(self, node: str) -> None:
        """Ends everything on a node at once."""

    @abc.abstractmethod
    def power_on(self, node: str) -> None:
        """Boots it again."""

    @abc.abstractmethod
    def cut(self, node: str) -> None:
        """Pulls a node's cable: everything on it goes on, alone."""

    @abc.abstractmethod
    def mend(self, node: str) -> None:
        """Plugs it in again."""

    @contextlib.contextmanager
    def reach(self, namespace: str, service: str, port: int):
        """A loopback address `HOST:PORT` that leads to a port of a Service while it is held."""
        with self.port_forward(namespace, f"service/{service}", port) as address:
            yield address

    @contextlib.contextmanager
    def port_forward(self, namespace: str, to: str, port: int):
        """A loopback address that leads to a port of `pod/NAME` or `service/NAME` while it is held.

        kubectl ends when a connection is refused on the other side, or lost. Where the block fails by
        that, what kubectl said is printed.
        """
        words = [str(binaries.clients() / "kubectl"), f"--kubeconfig={self.kubeconfig}",
                 f"--namespace={namespace}", "port-forward", to, f":{port}"]
        with tempfile.NamedTemporaryFile("w+", suffix=".log") as log, running(words, log) as process:
            path = pathlib.Path(log.name)
            address = wait_for_line(process, path, r"Forwarding from (127\.0\.0\.1:\d+)")
            try:
                yield address
            except Exception:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(FORWARD_ENDS_SECONDS)
                    last = " / ".join(path.read_text(errors="replace").splitlines()[-2:])
                    print(f"        kubectl port-forward {to} ended with {code}: {last}", flush=True)
                raise


@contextlib.contextmanager
def running(words: list, log):
    """A helper process for as long as the block lasts."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_line(process, log: pathlib.Path, pattern: str) -> str:
    end = time.monotonic() + REACH_SECONDS
    while True:
        said = log.read_text(errors="replace")
        found = re.search(pattern, said)
        if found:
            return found[1]
        if process.poll() is not None or time.monotonic() > end:
            raise Failed(f"{' '.join(process.args)}: {said.strip()[-400:] or 'said nothing'}")
        time.sleep(0.05)


class Local(Target):
    """The cluster of `make cluster-up`."""

    name = "local"
    tools_image = f"{images.REGISTRY}/busybox:1"

    def __init__(self):
        self.cluster = Cluster(plan.layout())
        self.cluster.node_list()
        self.kubeconfig = self.cluster.where.kubeconfig

    def load(self, archives: list) -> None:
        images.load(self.cluster.nodes, self.cluster.node_list(), archives)

    def killed(self, pod: dict):
        """Until it is deleted its node does not start it again: that one would hold the volume against
        the pod that replaces it, which would exit, and wait for the back-off of its containers."""
        return self.cluster.nodes.killed(*self._place(pod))

    def freeze(self, pod: dict) -> None:
        self.cluster.nodes.signal_pod(*self._place(pod), signal.SIGSTOP)

    def thaw(self, pod: dict) -> None:
        self.cluster.nodes.signal_pod(*self._place(pod), signal.SIGCONT)

    def _place(self, pod: dict) -> tuple:
        return self.cluster.node(pod["spec"]["nodeName"]), pod["metadata"]["uid"]

    def power_off(self, node: str) -> None:
        self.cluster.nodes.power_off(self.cluster.node(node))

    def power_on(self, node: str) -> None:
        self.cluster.nodes.start(self.cluster.node(node))

    def cut(self, node: str) -> None:
        self.cluster.nodes.cut(self.cluster.node(node))

    def mend(self, node: str) -> None:
        self.cluster.nodes.mend(self.cluster.node(node))

    @contextlib.contextmanager
    def reach(self, namespace: str, service: str, port: int):
        """Through the Service's own address and kube-proxy, from the network of the first node."""
        address = self.get("service", service, "--namespace", namespace)["spec"]["clusterIP"]
        if address in ("", "None"):
            raise Failed(f"service {namespace}/{service}: no address of its own")
        space = self.cluster.where.namespace(self.cluster.node_list()[0])
        with tempfile.TemporaryDirectory() as folder:
            port_file, log = pathlib.Path(folder, "port"), pathlib.Path(folder, "log")
            with open(log, "w", encoding="utf-8") as output, running(
                [sys.executable, str(HERE / "forward.py"), "--namespace", f"/run/netns/{space}",
                 "--to", f"{address}:{port}", "--port-file", str(port_file)], output,
            ) as process:
                end = time.monotonic() + REACH_SECONDS
                while not port_file.exists():
                    if process.poll() is not None or time.monotonic() > end:
                        raise Failed(f"forward to {address}:{port}: {log.read_text()[-400:]}")
                    time.sleep(0.02)
                yield f"127.0.0.1:{port_file.read_text().strip()}"


class Kind(Target):
    """The cluster of e2e/kind/kind.sh, on Docker. Written by its documentation: not run here."""

    name = "kind"

    def __init__(self):
        for program in ("kind", "docker"):
            if not shutil.which(program):
                raise Unsupported(f"E2E_CLUSTER=kind needs {program} on the PATH")
        self.scratch = tempfile.TemporaryDirectory()
        self.kubeconfig = pathlib.Path(self.scratch.name) / "kubeconfig"
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(command("kind", "get", "kubeconfig", "--name", KIND_NAME))

    def load(self, archives: list) -> None:
        for archive in archives:
            load = ("kind", "load", "image-archive", "--name", KIND_NAME)
            command(*load, archive, seconds=LOAD_SECONDS)

    def power_off(self, node: str) -> None:
        command("docker", "kill", node)

    def power_on(self, node: str) -> None:
        command("docker", "start", node)

    def cut(self, node: str) -> None:
        command("docker", "network", "disconnect", "kind", node)

    def mend(self, node: str) -> None:
        command("docker", "network", "connect", "kind", node)


class Kubeconfig(Target):
    """Any cluster that KUBECONFIG names. Its nodes are not ours to break."""

    name = "kubeconfig"

    def __init__(self):
        path = os.environ.get("KUBECONFIG", "")
        if not os.path.isfile(path):
            raise Unsupported(f"E2E_CLUSTER=kubeconfig: KUBECONFIG={path!r} is not a file")
        prefix = os.environ.get("E2E_IMAGE_PREFIX")
        if not prefix:
            raise Unsupported("E2E_CLUSTER=kubeconfig: set E2E_IMAGE_PREFIX to the registry and "
                              "folder that holds the images millstream and millstream-operator")
        self.kubeconfig = pathlib.Path(path)
        self.image_prefix = prefix
        self.image_tag = os.environ.get("E2E_IMAGE_TAG", "dev")

    def load(self, archives: list) -> None:
        """Nothing to do: its nodes pull from the registry that E2E_IMAGE_PREFIX names."""

    def power_off(self, node: str) -> None:
        raise Unsupported(f"end node {node}: only a cluster of our own may be broken")

    power_on = cut = mend = power_off


def target() -> Target:
    """The target that the environment names."""
    kinds = {kind.name: kind for kind in (Local, Kind, Kubeconfig)}
    wanted = os.environ.get("E2E_CLUSTER") or Local.name
    if wanted not in kinds:
        raise Unsupported(f"E2E_CLUSTER={wanted}: one of {', '.join(kinds)}")
    return kinds[wanted]()
