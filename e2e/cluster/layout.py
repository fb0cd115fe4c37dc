"""Names, addresses and folders of the local cluster: pure, so that every other module agrees.

A cluster has a name (`E2E_CLUSTER_NAME`, default `millstream`). Its namespaces and cgroups begin
with that name and its files lie in one folder of the cache, so that two clusters do not meet and
`down` knows what belongs to it.
"""

import dataclasses
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import bring  # noqa: E402

NODES_MIN, NODES_MAX = 1, 9
NODES_DEFAULT = 2
ZONES = ("zone-a", "zone-b")
NAME_LENGTH_MAX = 20

# Addresses that exist only inside the cluster's own network namespaces.
CONTROL_PLANE_IP = "172.30.0.1"
NODE_NETWORK_BITS = 24
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_IP = "10.96.0.10"
POD_RANGE = "10.244.0.0/16"
API_PORT = 6443
DOMAIN = "cluster.local"


class Refused(Exception):
    """A wish that cannot be granted; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Node:
    """One worker node: number K counts from 1."""

    number: int

    @property
    def name(self) -> str:
        return f"n{self.number}"

    @property
    def address(self) -> str:
        return f"172.30.0.{10 + self.number}"

    @property
    def pod_range(self) -> str:
        return f"10.244.{self.number}.0/24"

    @property
    def zone(self) -> str:
        return ZONES[(self.number - 1) % len(ZONES)]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where everything of one cluster is."""

    name: str
    folder: pathlib.Path

    @property
    def pki(self) -> pathlib.Path:
        return self.folder / "pki"

    @property
    def logs(self) -> pathlib.Path:
        return self.folder / "log"

    @property
    def kept_logs(self) -> pathlib.Path:
        """Where `down` leaves the logs of the cluster that it ended."""
        return self.folder.with_name(self.folder.name + "-last-log")

    @property
    def kubeconfig(self) -> pathlib.Path:
        """For the machine's own programs: reaches the API server on a loopback port."""
        return self.folder / "kubeconfig"

    @property
    def lock(self) -> pathlib.Path:
        return self.folder.with_name(self.folder.name + ".lock")

    def node_folder(self, node: Node) -> pathlib.Path:
        return self.folder / node.name

    def containerd_socket(self, node: Node) -> pathlib.Path:
        return self.node_folder(node) / "containerd.sock"

    @property
    def control_plane_namespace(self) -> str:
        return f"{self.name}-cp"

    def namespace(self, node: Node) -> str:
        return f"{self.name}-{node.name}"

    @property
    def host_cgroup(self) -> str:
        """The cgroup of every process that we start ourselves."""
        return f"{self.name}-host"

    def pods_cgroup(self, node: Node) -> str:
        """The cgroup under which a kubelet makes those of its pods."""
        return f"{self.name}-{node.name}"


def layout() -> Layout:
    """The cluster that the environment names."""
    name = os.environ.get("E2E_CLUSTER_NAME") or "millstream"
    # No dash: `a-*` would be the cluster `a` and also parts of a cluster `a-b`.
    if not re.fullmatch(f"[a-z][a-z0-9]{{0,{NAME_LENGTH_MAX - 1}}}", name):
        rule = f"a lower-case letter, then such letters and digits, {NAME_LENGTH_MAX} at most"
        raise Refused(f"cluster name {name!r}: {rule}")
    return Layout(name, bring.cache() / "cluster" / name)


def nodes(count: int) -> list:
    if not NODES_MIN <= count <= NODES_MAX:
        raise Refused(f"{count} nodes: between {NODES_MIN} and {NODES_MAX}")
    return [Node(number) for number in range(1, count + 1)]
