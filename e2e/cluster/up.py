"""Brings the local cluster up, part by part; each part is left alone where it runs already."""

import time

import addons
import binaries
import images
import layout as plan
from control_plane import ControlPlane, node_object
from layout import Layout, Refused
from machine import NAMESPACES, Failed, Processes, command, is_mount, read_setting, until
from nodes import Nodes
from pki import Pki

API_SECONDS = 120
RUNTIME_SECONDS = 30
NODES_SECONDS = 120
FORWARD_SECONDS = 10
# A kubelet sets these for the whole machine; `down` puts back what was there.
MACHINE_SETTINGS = ("vm.overcommit_memory", "kernel.panic", "kernel.panic_on_oops")


class Cluster:
    """The parts of one cluster, wired together."""

    def __init__(self, where: Layout):
        self.where = where
        kube = binaries.kube()
        self.processes = Processes(where.folder / "processes", where.logs, where.host_cgroup)
        self.pki = Pki(where.pki)
        self.control_plane = ControlPlane(where, self.processes, self.pki, kube)
        self.nodes = Nodes(where, self.processes, self.pki, kube)
        clients = binaries.clients()
        self.kubectl = [str(clients / "kubectl"), f"--kubeconfig={where.kubeconfig}"]
        self.helm = [str(clients / "helm"), f"--kubeconfig={where.kubeconfig}"]

    @property
    def count_file(self):
        return self.where.folder / "nodes"

    def node_list(self) -> list:
        """The nodes that this cluster was brought up with."""
        try:
            return plan.nodes(int(self.count_file.read_text()))
        except OSError as error:
            raise Refused(f"cluster {self.where.name}: not there: make cluster-up") from error

    def node(self, name: str) -> plan.Node:
        for node in self.node_list():
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.node_list())
        raise Refused(f"node {name!r}: the cluster has {known}")

    def complete(self) -> bool:
        """Whether it came up once and every process that was started lives."""
        return (self.where.folder / "complete").exists() and not self.processes.dead()


def up(where: Layout, count: int, say) -> Cluster:
    """Makes the cluster, or what of it is missing. `say` takes a line for each step."""
    steps = Steps(say)
    steps.run("Debian packages", binaries.debian)
    steps.run("binaries", binaries.kube)
    steps.run("system images", images.system_images)
    cluster = Cluster(where)
    _remember(cluster, count)
    nodes = cluster.node_list()
    if len(nodes) != count:
        raise Refused(f"the cluster has {len(nodes)} nodes, not {count}: make cluster-down first")
    if cluster.complete():
        return cluster
    try:
        _start(cluster, nodes, steps)
    except Failed as failure:
        raise Failed(f"{failure}\n{dead_parts(cluster)}".strip()) from failure
    (where.folder / "complete").touch()
    return cluster


class Steps:
    """Says how long each step took."""

    def __init__(self, say):
        self.say = say

    def run(self, name: str, step):
        begin = time.monotonic()
        answer = step()
        self.say(f"{name}: {time.monotonic() - begin:.1f} s")
        return answer


def _remember(cluster: Cluster, count: int) -> None:
    plan.nodes(count)
    cluster.where.folder.mkdir(parents=True, exist_ok=True)
    if cluster.count_file.exists():
        return
    settings = "".join(f"{name} {read_setting(name)}\n" for name in MACHINE_SETTINGS)
    (cluster.where.folder / "machine-settings").write_text(settings)
    if not is_mount(NAMESPACES):
        # The first `ip netns add` of a machine mounts it on itself.
        (cluster.where.folder / "namespaces-mounted").touch()
    cluster.count_file.write_text(f"{count}\n")


def _start(cluster: Cluster, nodes: list, steps: Steps) -> None:
    def network():
        cluster.pki.make(nodes)
        cluster.control_plane.make_network()
        cluster.nodes.make_network(nodes)
        for node in nodes:
            cluster.nodes.prepare(node)

    steps.run("certificates and networks", network)
    steps.run("API server", lambda: _start_api(cluster, nodes))
    steps.run("images on the nodes", lambda: _start_runtimes(cluster, nodes))
    steps.run("nodes ready", lambda: _start_kubelets(cluster, nodes))

    def services():
        addons.apply(cluster.kubectl)
        addons.wait(cluster.kubectl)

    steps.run("DNS, volumes, metrics", services)


def _start_api(cluster: Cluster, nodes: list) -> None:
    plane = cluster.control_plane
    plane.start_api()
    if not until(lambda: plane.port() > 0, FORWARD_SECONDS):
        raise Failed(f"no way to the API server: {cluster.processes.telling_line('api-forward')}")
    plane.write_kubeconfig()

    def ready():
        if not cluster.processes.find("kube-apiserver"):
            raise Failed(f"the API server ended: {cluster.processes.telling_line('kube-apiserver')}")
        answer = command(*cluster.kubectl, "get", "--raw=/readyz", check=False, seconds=20)
        return answer.strip() == "ok"

    if not until(ready, API_SECONDS, pause=0.3):
        line = cluster.processes.telling_line("kube-apiserver")
        raise Failed(f"the API server was not ready in {API_SECONDS} s: {line}")
    plane.start_companions()
    binding = ("create", "clusterrolebinding", "apiserver-kubelet", "--dry-run=client",
               "--clusterrole=system:kubelet-api-admin", "--user=kube-apiserver", "--output=json")
    objects = [command(*cluster.kubectl, *binding), *map(node_object, nodes)]
    apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=e2e-cluster")
    command(*cluster.kubectl, *apply, "--filename=-", text="\n---\n".join(objects))


def _start_runtimes(cluster: Cluster, nodes: list) -> None:
    for node in nodes:
        cluster.nodes.start_runtime(node)
    for node in nodes:
        socket = cluster.where.containerd_socket(node)
        if not until(lambda: _answers(cluster, node), RUNTIME_SECONDS, pause=0.2):
            line = cluster.processes.telling_line(f"containerd-{node.name}")
            raise Failed(f"containerd of {node.name} does not answer on {socket}: {line}")
    images.load(cluster.nodes, nodes, images.system_images())


def _answers(cluster: Cluster, node: plan.Node) -> bool:
    try:
        cluster.nodes.ctr(node, "version", seconds=10)
    except Failed:
        return False
    return True


def _start_kubelets(cluster: Cluster, nodes: list) -> None:
    for node in nodes:
        cluster.nodes.start_kubelet(node)
    names = [f"node/{node.name}" for node in nodes]
    waiting = ("wait", "--for=condition=Ready", *names, f"--timeout={NODES_SECONDS}s")
    try:
        command(*cluster.kubectl, *waiting, seconds=NODES_SECONDS + 10)
    except Failed as failure:
        lines = [cluster.processes.telling_line(f"kubelet-{node.name}") for node in nodes]
        raise Failed("\n".join([str(failure), *lines])) from failure


def dead_parts(cluster: Cluster) -> str:
    """What ended although it should run, with the line that says why."""
    lines = [f"{name} ended: {cluster.processes.telling_line(name)}"
             for name in cluster.processes.dead()]
    return "\n".join(lines)
