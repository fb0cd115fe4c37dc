"""Proves the local cluster itself: up, what it must be able to do, faults, and down with nothing left.

It uses a cluster of its own beside whatever else runs, prints the seconds of each check and ends
with `cluster: N passed, M failed, 0 skipped`. Everything it waits for has a deadline.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.request

os.environ["E2E_CLUSTER_NAME"] = NAME = "proof"
os.environ["E2E_CLUSTER"] = "local"

import layout as plan  # noqa: E402
from down import left  # noqa: E402
from machine import Failed, cgroups, command, until  # noqa: E402
from targets import Local  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
PROBE = HERE / "fixtures" / "probe.yaml"
UP_SECONDS = 400
LOST_SECONDS = 60
SERVICE_SECONDS = 20
# The machine's mounts before the first `up`, and folders that belong to nodes and not to it.
BEFORE = set()
STRAYS = ["/run/containerd", "/run/cni-addresses", "/run/local-volumes", "/run/xtables.lock",
          "/var/log/pods", "/var/log/containers", "/var/lib/kubelet", "/var/lib/cni"]
# Long enough that a broken `up` has got to each of its parts once.
BREAK_UP_AFTER_SECONDS = (0.6, 2.5, 6.0, 9.0)


def cluster(*words, seconds=UP_SECONDS) -> str:
    return command(sys.executable, HERE / "cluster.py", *words, seconds=seconds)


def pids(target: Local) -> dict:
    processes = target.cluster.processes
    return {name: processes.find(name) for name in processes.names()}


def up_from_nothing() -> None:
    cluster("up")


def second_up_changes_nothing() -> None:
    before = pids(Local())
    cluster("up")
    assert pids(Local()) == before, "a second `up` started something again"


def status_is_well() -> None:
    said = cluster("status")
    assert "ENDED" not in said and "NOT READY" not in said, said


def volumes_in_two_zones() -> None:
    target = Local()
    target.kubectl("apply", f"--filename={PROBE}")
    target.kubectl("rollout", "status", "statefulset/probe", "--timeout=90s", seconds=100)
    pods = target.get("pods", "--selector=app=probe")["items"]
    on = sorted(pod["spec"]["nodeName"] for pod in pods)
    assert on == ["n1", "n2"], f"the pods run on {on}"
    claims = target.get("pvc")["items"]
    bound = [claim["status"]["phase"] for claim in claims]
    assert bound == ["Bound", "Bound"], f"the claims are {bound}"


def service_reaches_both_pods() -> None:
    seen = set()

    def both():
        with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
            seen.add(answer.read().decode().strip())
        return len(seen) == 2

    with Local().reach("default", "probe", 80) as address:
        assert until(both, SERVICE_SECONDS), f"all answers came from {seen}"


def names_resolve_in_a_pod() -> None:
    url = f"http://probe.default.svc.{plan.DOMAIN}/"
    said = Local().kubectl("exec", "probe-0", "--", "wget", "-qO-", url)
    assert said.strip() in ("probe-0", "probe-1"), said


def metrics_are_there() -> None:
    target = Local()
    said = []

    def measured():
        said[:] = [target.kubectl("top", "nodes", "--no-headers", check=False)]
        return len(said[0].splitlines()) == 2 and "<unknown>" not in said[0]

    assert until(measured, 60, pause=1), said[0]


def no_way_out() -> None:
    where = plan.layout()
    for space in (where.control_plane_namespace, *map(where.namespace, plan.nodes(2))):
        route = command("ip", "-n", space, "-json", "route", "get", "192.0.2.1", check=False)
        # A node may send to the control plane, which knows no way on.
        hop = json.loads(route)[0].get("gateway") if route.strip() else None
        assert hop in (None, plan.CONTROL_PLANE_IP), f"{space} sends strangers' packets to {hop}"
    devices = command("ip", "-n", where.control_plane_namespace, "-json", "link")
    names = sorted(device["ifname"] for device in json.loads(devices))
    assert names == ["lo", "n1", "n2", "nodes"], f"the control plane has the devices {names}"
    hop = command("ip", "-n", where.control_plane_namespace, "route", "show", "default")
    assert not hop.strip(), f"the control plane has a default route: {hop}"


def up_mends_what_was_killed() -> None:
    target = Local()
    for name in ("kubelet-n1", "etcd", "kube-scheduler", "api-forward"):
        target.cluster.processes.kill(name)
    cluster("up")
    status_is_well()


def lost_node_is_seen_and_comes_back() -> None:
    target = Local()
    target.power_off("n2")
    seen = ("wait", "--for=condition=Ready=Unknown", "node/n2", f"--timeout={LOST_SECONDS}s")
    target.kubectl(*seen, seconds=LOST_SECONDS + 10)
    target.power_on("n2")
    target.kubectl("wait", "--for=condition=Ready", "node/n2", "--timeout=60s", seconds=70)
    target.kubectl("rollout", "status", "statefulset/probe", "--timeout=90s", seconds=100)
    said = {name: target.kubectl("exec", name, "--", "cat", "/data/index.html").strip()
            for name in ("probe-0", "probe-1")}
    assert said == {"probe-0": "probe-0", "probe-1": "probe-1"}, f"the volumes hold {said}"


def down_leaves_nothing() -> None:
    cluster("down")
    nothing_is_left()


def down_twice_is_fine() -> None:
    cluster("down")


def down_after_a_broken_up() -> None:
    for seconds in BREAK_UP_AFTER_SECONDS:
        started = subprocess.Popen(
            [sys.executable, str(HERE / "cluster.py"), "up"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds)
        started.send_signal(signal.SIGKILL)
        started.wait()
        cluster("down")
        nothing_is_left()


def down_after_killed_parts() -> None:
    cluster("up")
    target = Local()
    target.kubectl("apply", f"--filename={PROBE}")
    target.kubectl("rollout", "status", "statefulset/probe", "--timeout=90s", seconds=100)
    for name in ("mounts-n1", "containerd-n2", "kubelet-n1", "kube-apiserver", "etcd"):
        target.cluster.processes.kill(name)
    cluster("down")
    nothing_is_left()


def nothing_is_left() -> None:
    remains = left(plan.layout())
    assert not remains, "; ".join(remains)
    assert not cgroups(f"{NAME}-*")
    # Said again in other words than `down` uses.
    new = machine_mounts() - BEFORE
    assert not new, f"mounts that were not there before: {sorted(new)}"
    stray = [path for path in STRAYS if os.path.exists(path)]
    assert not stray, f"what containerd or a kubelet left outside of the node: {stray}"
    listed = command("ps", "-eo", "args")
    lines = [line for line in listed.splitlines() if f"cluster/{NAME}/" in line]
    assert not lines, f"processes: {lines}"


def machine_mounts() -> set:
    lines = pathlib.Path("/proc/mounts").read_text().splitlines()
    return {line.split()[1] for line in lines}


CHECKS = (
    up_from_nothing, second_up_changes_nothing, status_is_well, volumes_in_two_zones,
    service_reaches_both_pods, names_resolve_in_a_pod, metrics_are_there, no_way_out,
    up_mends_what_was_killed, lost_node_is_seen_and_comes_back, down_leaves_nothing,
    down_twice_is_fine, down_after_a_broken_up, down_after_killed_parts,
)


def main() -> int:
    command(sys.executable, HERE / "cluster.py", "down")
    BEFORE.update(machine_mounts())
    STRAYS[:] = [path for path in STRAYS if not os.path.exists(path)]
    passed = failed = 0
    for check in CHECKS:
        begin = time.monotonic()
        name = check.__name__.replace("_", " ")
        try:
            check()
        except (AssertionError, Failed, OSError) as error:
            failed += 1
            print(f"FAILED  {name}: {error}", flush=True)
        else:
            passed += 1
            print(f"ok      {name}: {time.monotonic() - begin:.1f} s", flush=True)
    if failed:
        command(sys.executable, HERE / "cluster.py", "down", check=False)
    print(f"cluster: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
