"""Says how the local cluster is: processes, nodes, the parts beside Kubernetes, and how to use it."""

import json
import pathlib

import addons
from machine import Failed, command
from up import Cluster

PAGE_BYTES = 4096


def resident_mib(pid: int) -> int:
    try:
        return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES >> 20
    except (OSError, IndexError):
        return 0


def status(cluster: Cluster, say) -> bool:
    """Prints the state; true when everything is well."""
    well = _processes(cluster, say)
    try:
        well = _nodes(cluster, say) and well
        well = _deployments(cluster, say) and well
    except Failed as failure:
        say(f"the API server does not answer: {failure}")
        return False
    say("")
    say(f"  export KUBECONFIG={cluster.where.kubeconfig}")
    say(f"  export PATH={pathlib.Path(cluster.kubectl[0]).parent}:$PATH")
    return well


def _processes(cluster: Cluster, say) -> bool:
    well, total = True, 0
    for name in cluster.processes.names():
        process = cluster.processes.find(name)
        if process:
            resident = resident_mib(process.pid)
            total += resident
            say(f"  {name:<26} pid {process.pid:<8} {resident:>5} MiB")
        else:
            well = False
            say(f"  {name:<26} ENDED   {cluster.processes.telling_line(name)}")
    say(f"  {'together':<26} {'':<12} {total:>5} MiB")
    return well


def _get(cluster: Cluster, *words) -> list:
    answer = command(*cluster.kubectl, "get", *words, "--output=json", "--request-timeout=10s")
    return json.loads(answer)["items"]


def _nodes(cluster: Cluster, say) -> bool:
    well = True
    for node in _get(cluster, "nodes"):
        conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", [])}
        ready = conditions.get("Ready") == "True"
        well = well and ready
        zone = node["metadata"]["labels"].get("topology.kubernetes.io/zone", "-")
        version = node["status"].get("nodeInfo", {}).get("kubeletVersion", "-")
        word = "Ready" if ready else "NOT READY"
        if node["spec"].get("unschedulable"):
            word += ", cordoned"
        say(f"  node {node['metadata']['name']:<4} {zone:<8} {version:<10} {word}")
    return well


def _deployments(cluster: Cluster, say) -> bool:
    well = True
    items = {d["metadata"]["name"]: d for d in _get(cluster, "deployments", "-n", "kube-system")}
    for name in addons.DEPLOYMENTS:
        state = items.get(name, {}).get("status", {})
        ready, wanted = state.get("readyReplicas", 0), state.get("replicas", 0)
        good = wanted > 0 and ready == wanted
        well = well and good
        say(f"  {name:<26} {ready} of {wanted} ready")
        if not good:
            say(f"    {addons.why_not_ready(cluster.kubectl, name)}")
    return well
