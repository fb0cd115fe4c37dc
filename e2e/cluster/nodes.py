"""A worker node: namespaces of its own, a containerd, a kubelet and a kube-proxy.

A node is a network namespace on the control plane's bridge and a mount namespace with a /run and a
/var/log of its own: what containerd and the kubelet mount there is gone with its last process.
"""

import contextlib
import json
import os
import pathlib
import signal
import sys

import layout as plan
from control_plane import BRIDGE, in_namespace
from layout import CONTROL_PLANE_IP, Layout, Node
from machine import (
    Failed, Processes, cgroup_members, command, command_line, kill_all, make_pods_cgroup,
    mounts, network_namespaces, until,
)
from pki import Pki

CNI_PROGRAMS = "/usr/lib/cni"
PAUSE_IMAGE = "e2e.local/pause:1"
MOUNT_SECONDS = 20
KUBELET_SECONDS = 60
ASK_KUBELET = """
import urllib.request
try:
    print(urllib.request.urlopen("http://127.0.0.1:10248/healthz", timeout=2).read().decode())
except OSError:
    pass
"""
# Where local-path finds its folders; addons/local-path.yaml names it too.
LAST_MOUNT = "/run/local-volumes"
# The process that keeps the mount namespace; its command line tells whose it is.
HOLD = (
    'mount --make-rshared / && mount -t tmpfs -o mode=755 tmpfs /run'
    ' && mount --bind "$1/var-log" /var/log'
    f' && mkdir {LAST_MOUNT} && mount --bind "$1/volumes" {LAST_MOUNT}'
    ' && exec sleep infinity'
)


class Nodes:
    """Starts, breaks and mends nodes."""

    def __init__(self, where: Layout, processes: Processes, pki: Pki, binaries: pathlib.Path):
        self.where = where
        self.processes = processes
        self.pki = pki
        self.binaries = binaries

    def make_network(self, nodes: list) -> None:
        """The namespaces of the nodes, each with a cable to the bridge and routes to the others."""
        there = network_namespaces(self.where.name)
        hub = self.where.control_plane_namespace
        for node in nodes:
            space = self.where.namespace(node)
            if space in there:
                continue
            command("ip", "netns", "add", space)
            ip = ("ip", "-n", space)
            command(*ip, "link", "set", "lo", "up")
            command("ip", "link", "add", node.name, "netns", hub, "type", "veth",
                    "peer", "name", "eth0", "netns", space)
            command("ip", "-n", hub, "link", "set", node.name, "master", BRIDGE, "up")
            address = f"{node.address}/{plan.NODE_NETWORK_BITS}"
            command(*ip, "addr", "add", address, "dev", "eth0")
            command(*ip, "link", "set", "eth0", "up")
            command(*ip, "route", "add", "default", "via", CONTROL_PLANE_IP)
            command(*in_namespace(space, "sysctl", "-qw", "net.ipv4.ip_forward=1"))
            # Where the kernel has it: a pod's way to itself through a Service.
            bridge = "net.bridge.bridge-nf-call-iptables=1"
            command(*in_namespace(space, "sysctl", "-qw", bridge), check=False)
        for node in nodes:
            others = [self.where.namespace(other) for other in nodes if other != node]
            for space in (hub, *others):
                route = (node.pod_range, "via", node.address)
                command("ip", "-n", space, "route", "replace", *route)

    def prepare(self, node: Node) -> None:
        """Writes a node's files and makes its cgroup."""
        folder = self.where.node_folder(node)
        for name in ("cni", "var-log", "kubelet", "volumes"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        files = {
            "resolv.conf": "",
            "containerd.toml": self._containerd(node),
            "cni/10-pods.conflist": json.dumps(self._cni(node), indent=1),
            "kubelet.json": json.dumps(self._kubelet(node), indent=1),
            "proxy.json": json.dumps(self._proxy(node), indent=1),
        }
        for name, content in files.items():
            path = folder / name
            # kube-proxy ends when its file is written, even with the same content.
            if not path.exists() or path.read_text() != content:
                path.write_text(content)
        make_pods_cgroup(self.where.pods_cgroup(node))

    def start(self, node: Node) -> None:
        """Starts what of a node is not running."""
        self.start_runtime(node)
        self.start_kubelet(node)

    def start_runtime(self, node: Node) -> None:
        folder = self.where.node_folder(node)
        holder = f"mounts-{node.name}"
        if not self.processes.find(holder):
            # Without its mounts nothing of the node can go on.
            self.power_off(node)
            propagation = ("--mount", "--propagation", "slave")
            script = ("sh", "-c", HOLD, holder, folder)
            self.processes.start(holder, ["unshare", *propagation, *script])
        # Whoever joins before it is whole would mount things in the machine's own namespace.
        if not until(lambda: self._has_mounts(holder), MOUNT_SECONDS):
            line = self.processes.telling_line(holder)
            raise Failed(f"node {node.name}: its mount namespace did not come up: {line}")
        self._start(f"containerd-{node.name}", node,
                    ["containerd", "--config", folder / "containerd.toml"])

    def _has_mounts(self, holder: str) -> bool:
        process = self.processes.find(holder)
        return bool(process and mounts(LAST_MOUNT, f"/proc/{process.pid}/mounts"))

    def start_kubelet(self, node: Node) -> None:
        """Starts the kubelet and waits until it is well, then kube-proxy."""
        # A kubelet ends when containerd is not ready for it yet; a real machine starts it again.
        if not until(lambda: self._kubelet_is_well(node), KUBELET_SECONDS, pause=0.3):
            line = self.processes.telling_line(f"kubelet-{node.name}")
            raise Failed(f"the kubelet of {node.name} was not well in {KUBELET_SECONDS} s: {line}")
        proxy = [self.binaries / "kube-proxy", f"--config={self.where.node_folder(node)}/proxy.json"]
        self._start(f"kube-proxy-{node.name}", node, proxy)

    def _kubelet_is_well(self, node: Node) -> bool:
        folder = self.where.node_folder(node)
        self._start(f"kubelet-{node.name}", node, [
            self.binaries / "kubelet",
            f"--config={folder}/kubelet.json",
            f"--kubeconfig={self.pki.path(node.name + '.conf')}",
            f"--hostname-override={node.name}",
            f"--node-ip={node.address}",
            f"--root-dir={folder}/kubelet",
            f"--node-labels=topology.kubernetes.io/zone={node.zone}",
        ])
        ask = in_namespace(self.where.namespace(node), sys.executable, "-c", ASK_KUBELET)
        return command(*ask, check=False).strip() == "ok"

    def _start(self, name: str, node: Node, words: list) -> None:
        holder = self.processes.find(f"mounts-{node.name}")
        if not holder:
            line = self.processes.telling_line(f"mounts-{node.name}")
            raise Failed(f"node {node.name}: its mount namespace is gone: {line}")
        namespaces = [f"--net=/run/netns/{self.where.namespace(node)}",
                      f"--mount=/proc/{holder.pid}/ns/mnt"]
        self.processes.start(name, ["nsenter", *namespaces, *words])

    def stop(self, node: Node) -> None:
        """Ends a node's own processes; its pods go on, as they do under a dead kubelet."""
        for part in ("kubelet", "kube-proxy", "containerd"):
            self.processes.kill(f"{part}-{node.name}")

    def power_off(self, node: Node) -> None:
        """Ends everything on a node at once, its pods too; `start` is then a boot."""
        self.stop(node)
        socket = str(self.where.containerd_socket(node))
        ours = cgroup_members(self.where.host_cgroup)
        shims = {pid for pid in ours if socket in command_line(pid)}
        kill_all(shims | cgroup_members(self.where.pods_cgroup(node)))
        self.processes.kill(f"mounts-{node.name}")

    @contextlib.contextmanager
    def killed(self, node: Node, uid: str):
        """Ends every process of a pod at once. The kubelet, which would start it again in its place,
        sees nothing of it during the block."""
        kubelet = self.processes.find(f"kubelet-{node.name}")
        if not kubelet:
            raise Failed(f"node {node.name}: its kubelet does not run")
        os.kill(kubelet.pid, signal.SIGSTOP)
        try:
            kill_all(cgroup_members(self.where.pods_cgroup(node), f"pod{uid}"))
            yield
        finally:
            os.kill(kubelet.pid, signal.SIGCONT)

    def signal_pod(self, node: Node, uid: str, number: int) -> None:
        """Sends a signal to every process of a pod."""
        for pid in cgroup_members(self.where.pods_cgroup(node), f"pod{uid}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def cut(self, node: Node) -> None:
        """Pulls the node's cable."""
        hub = self.where.control_plane_namespace
        command("ip", "-n", hub, "link", "set", node.name, "down")

    def mend(self, node: Node) -> None:
        """Plugs the cable in again."""
        hub = self.where.control_plane_namespace
        command("ip", "-n", hub, "link", "set", node.name, "up")

    def ctr(self, node: Node, *words, seconds: int = 300) -> str:
        """Asks a node's containerd."""
        socket = self.where.containerd_socket(node)
        return command("ctr", "-a", socket, "-n", "k8s.io", *words, seconds=seconds)

    # The files of a node.

    def _containerd(self, node: Node) -> str:
        folder = self.where.node_folder(node)
        return f"""version = 2
root = "{folder}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{self.where.containerd_socket(node)}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  tolerate_missing_hugetlb_controller = true
  # runc may not lower oom_score_adj without CAP_SYS_RESOURCE: every sandbox would die.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PROGRAMS}"
    conf_dir = "{folder}/cni"
"""

    def _cni(self, node: Node) -> dict:
        return {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": "/run/cni-addresses",
                        "ranges": [[{"subnet": node.pod_range}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }

    def _kubelet(self, node: Node) -> dict:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.where.pods_cgroup(node)}",
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": ["pods"],
            "containerRuntimeEndpoint": f"unix://{self.where.containerd_socket(node)}",
            "failSwapOn": False,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.pki.path("ca.crt"))},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(self.pki.path(f"{node.name}.crt")),
            "tlsPrivateKeyFile": str(self.pki.path(f"{node.name}.key")),
            "clusterDNS": [plan.DNS_IP],
            "clusterDomain": plan.DOMAIN,
            "resolvConf": str(self.where.node_folder(node) / "resolv.conf"),
            # The disk is the machine's: a full one must not evict pods or images of a test.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {
                "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%",
            },
            "nodeStatusUpdateFrequency": "4s",
            "registryPullQPS": 0,
        }

    def _proxy(self, node: Node) -> dict:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clusterCIDR": plan.POD_RANGE,
            "hostnameOverride": node.name,
            "clientConnection": {"kubeconfig": str(self.pki.path("proxy.conf"))},
            # The limit is the machine's and read-only in a namespace.
            "conntrack": {
                "maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
            },
        }
