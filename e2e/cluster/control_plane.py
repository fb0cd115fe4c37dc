"""The control plane: a network that leads nowhere, etcd, the API server and its two companions.

All of it lives in one network namespace with the bridge that joins the nodes. The machine's own
programs reach the API server over a loopback port, by `forward.py`.
"""

import json
import pathlib
import sys

import layout as plan
from layout import API_PORT, CONTROL_PLANE_IP, Layout
from machine import Processes, command, network_namespaces
from pki import FRONT_PROXY, Pki

BRIDGE = "nodes"
FORWARD = "api-forward"
HERE = pathlib.Path(__file__).resolve().parent


def in_namespace(name: str, *words) -> list:
    """A command line inside a network namespace.

    Not `ip netns exec`: that mounts a fresh /sys, without the cgroups.
    """
    return ["nsenter", f"--net=/run/netns/{name}", *words]


class ControlPlane:
    """Starts what is not running; asks whether it is well."""

    def __init__(self, where: Layout, processes: Processes, pki: Pki, binaries: pathlib.Path):
        self.where = where
        self.processes = processes
        self.pki = pki
        self.binaries = binaries
        self.space = where.control_plane_namespace

    def make_network(self) -> None:
        if self.space in network_namespaces(self.where.name):
            return
        command("ip", "netns", "add", self.space)
        ip = ("ip", "-n", self.space)
        command(*ip, "link", "set", "lo", "up")
        command(*ip, "link", "add", BRIDGE, "type", "bridge")
        command(*ip, "addr", "add", f"{CONTROL_PLANE_IP}/{plan.NODE_NETWORK_BITS}", "dev", BRIDGE)
        command(*ip, "link", "set", BRIDGE, "up")
        command(*in_namespace(self.space, "sysctl", "-qw", "net.ipv4.ip_forward=1"))

    def start_api(self) -> None:
        self._start("etcd", self.etcd())
        self._start("kube-apiserver", self.api_server())
        self.processes.start(FORWARD, [
            sys.executable, HERE / "forward.py",
            "--namespace", f"/run/netns/{self.space}",
            "--listen", f"127.0.0.1:{self.port() or 0}",
            "--to", f"{CONTROL_PLANE_IP}:{API_PORT}",
            "--port-file", self.port_file,
        ])

    def start_companions(self) -> None:
        self._start("kube-controller-manager", self.controller_manager())
        self._start("kube-scheduler", self.scheduler())

    def _start(self, name: str, flags: list) -> None:
        self.processes.start(name, in_namespace(self.space, self.binaries / name, *flags))

    @property
    def port_file(self) -> pathlib.Path:
        return self.where.folder / "api-port"

    def port(self) -> int:
        """The loopback port that leads to the API server; 0 before there is one."""
        try:
            return int(self.port_file.read_text())
        except (OSError, ValueError):
            return 0

    def write_kubeconfig(self) -> None:
        server = f"https://127.0.0.1:{self.port()}"
        self.pki.write_kubeconfig(self.where.kubeconfig, "admin", server)

    def etcd(self) -> list:
        # Thrown away with the cluster: losing it to a power cut costs nothing.
        return [
            f"--data-dir={self.where.folder}/etcd",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def api_server(self) -> list:
        pki = self.pki.folder
        return [
            "--etcd-servers=http://127.0.0.1:2379",
            f"--secure-port={API_PORT}",
            f"--advertise-address={CONTROL_PLANE_IP}",
            f"--service-cluster-ip-range={plan.SERVICE_RANGE}",
            "--allow-privileged",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--kubelet-client-certificate={pki}/apiserver-client.crt",
            f"--kubelet-client-key={pki}/apiserver-client.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer=https://kubernetes.default.svc.{plan.DOMAIN}",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            f"--requestheader-allowed-names={FRONT_PROXY}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki}/front-proxy.crt",
            f"--proxy-client-key-file={pki}/front-proxy.key",
            # Pods of an aggregated API or a webhook are reached by their own addresses: there is no
            # kube-proxy beside the API server.
            "--enable-aggregator-routing",
            # Short, so that a test of a lost node does not wait for five minutes.
            "--default-not-ready-toleration-seconds=10",
            "--default-unreachable-toleration-seconds=10",
        ]

    def controller_manager(self) -> list:
        pki = self.pki.folder
        return [
            *self._kubeconfigs("controller-manager"),
            "--use-service-account-credentials",
            "--leader-elect=false",
            f"--service-account-private-key-file={pki}/sa.key",
            f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            f"--cluster-cidr={plan.POD_RANGE}",
            # The node objects carry their pod ranges already, which the CNI files repeat.
            "--allocate-node-cidrs=false",
            "--node-monitor-grace-period=16s",
            "--horizontal-pod-autoscaler-sync-period=5s",
            "--horizontal-pod-autoscaler-downscale-stabilization=20s",
        ]

    def scheduler(self) -> list:
        return [*self._kubeconfigs("scheduler"), "--leader-elect=false"]

    def _kubeconfigs(self, client: str) -> list:
        path = self.pki.path(f"{client}.conf")
        flags = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
        return [f"--{flag}={path}" for flag in flags]


def node_object(node: plan.Node) -> str:
    """A Node as its kubelet will find it: with its zone and its pod range."""
    return json.dumps({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": {
            "kubernetes.io/hostname": node.name,
            "kubernetes.io/os": "linux",
            "topology.kubernetes.io/zone": node.zone,
        }},
        "spec": {"podCIDR": node.pod_range, "podCIDRs": [node.pod_range]},
    })
