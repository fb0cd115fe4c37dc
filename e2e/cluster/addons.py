"""What a cluster needs beside Kubernetes itself: names, volumes, metrics. Applied as plain YAML."""

import pathlib

from machine import Failed, command, telling

FOLDER = pathlib.Path(__file__).resolve().parent / "addons"
# Deployments of kube-system, in the order in which the others wait for them.
DEPLOYMENTS = ("coredns", "local-path-provisioner", "metrics-server")
READY_SECONDS = 120


def apply(kubectl: list) -> None:
    files = [f"--filename={path}" for path in sorted(FOLDER.glob("*.yaml"))]
    command(*kubectl, "apply", "--server-side", "--field-manager=e2e-cluster", *files)


def wait(kubectl: list) -> None:
    """Waits until all of them answer."""
    for name in DEPLOYMENTS:
        rollout = ("rollout", "status", f"deployment/{name}", "--namespace=kube-system")
        limit = f"--timeout={READY_SECONDS}s"
        try:
            command(*kubectl, *rollout, limit, seconds=READY_SECONDS + 10)
        except Failed as failure:
            raise Failed(f"{failure}\n{why_not_ready(kubectl, name)}") from failure
    api = ("wait", "--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io")
    command(*kubectl, *api, f"--timeout={READY_SECONDS}s", seconds=READY_SECONDS + 10)


def why_not_ready(kubectl: list, name: str) -> str:
    """The newest warning about a deployment's pods, and the line of their log that matters."""
    events = command(
        *kubectl, "get", "events", "--namespace=kube-system", "--field-selector=type=Warning",
        "--sort-by=.lastTimestamp", "--no-headers",
        "--output=custom-columns=:involvedObject.name,:reason,:message", check=False,
    )
    about = [line for line in events.splitlines() if line.startswith(name)]
    logs = command(
        *kubectl, "logs", f"deployment/{name}", "--namespace=kube-system", "--tail=200", check=False
    )
    said = telling(logs.splitlines())
    warning = about[-1] if about else f"no warning about {name} in kube-system"
    return f"{warning}\nits log: {said}" if said else warning
