"""Scenarios of who is let in: clients whose key is replaced, and who reads the metrics in the cluster."""

import contextlib
import re
import time

import load
from machine import until
from scenario import ADMIN_PORT, STREAMS, SYSTEM, Installation, say

SHARDS = 4
KEY_SECONDS = 30
# Calls in a row, each on a new connection: more than gateways, several times over.
CALLS_IN_A_ROW = 6
REFUSED = ("UnrecognizedClientException", "InvalidSignatureException")
SCRAPER = "millstream-e2e-scraper"
SCRAPER_SECONDS = 60
WRONG_TOKEN = "not-the-token-of-anybody"
# Prints the answer with its status line; the token comes on stdin, so that no command line shows it.
ASK = ('read -r token; timeout 5 wget -S -O - ${token:+--header "Authorization: Bearer $token"} "$0" 2>&1; '
       "true")


def key_rotation(installation: Installation) -> None:
    """The writers' key is replaced as an administrator does it: a second one, the clients change over,
    the first is deleted and stops working. No call of theirs is refused, and nothing is restarted."""
    gateways = uids(installation)
    first = installation.make_key("first")
    wait_taken(installation, first)
    with installation.under_load("keys", key=first, shardCount=1) as running:
        second = installation.make_key("second")
        say(f"a new key was taken after {wait_taken(installation, second):.1f} s")
        assert may(installation, first), "the old key stopped working before it was deleted"
        running.kinesis = installation.client(retries=False, key=second)
        installation.target.kubectl("delete", "secret", "first", "-n", STREAMS)
        begin = time.monotonic()
        assert until(lambda: not may(installation, first), KEY_SECONDS, pause=0.3), (
            "a deleted key still works")
        say(f"a deleted key was refused after {time.monotonic() - begin:.1f} s")
    refused = {phase: dict(words) for phase, words in running.phases.failed.items()
               if any(word.removeprefix("read ") in REFUSED for word in words)}
    assert not refused, f"calls of the writers were refused: {refused}"
    assert uids(installation) == gateways, "gateways were replaced"
    installation.target.kubectl("delete", "secret", "second", "-n", STREAMS)


def uids(installation: Installation) -> set:
    return {pod["metadata"]["uid"] for pod in installation.pods("gateway")}


def wait_taken(installation: Installation, key: tuple) -> float:
    """Waits until a key works; the seconds that it took."""
    begin = time.monotonic()
    assert until(lambda: may(installation, key), KEY_SECONDS, pause=0.3), "the new key is refused"
    return time.monotonic() - begin


def may(installation: Installation, key: tuple) -> bool:
    """Whether every gateway takes the key, as far as some calls on new connections tell."""
    for _ in range(CALLS_IN_A_ROW):
        try:
            installation.client(retries=False, key=key).list_streams()
        except load.WRONG as error:
            said = load.why(error)
            assert said in REFUSED, said
            return False
    return True


def metrics_ask_who_reads(installation: Installation) -> None:
    """From another pod of the cluster, `/metrics` of every gateway, shard pod and operator is shown to
    the right token alone (docs/adr/0015-metrics-for-a-token-of-the-namespace.md)."""
    with installation.under_load("scraped", shardCount=SHARDS), scraper(installation) as tokens:
        of_gateways, of_shards = map(installation.metrics_token, (SYSTEM, STREAMS))
        assert of_gateways != of_shards, "two namespaces have one token"
        hold_answers(installation, "gateway", {"no token": (401, ""), "a wrong one": (401, WRONG_TOKEN),
                     "the shard pods'": (401, of_shards), "the right one": (200, of_gateways)})
        hold_answers(installation, "shard", {"no token": (401, ""), "a wrong one": (401, WRONG_TOKEN),
                     "the gateways'": (401, of_gateways), "the right one": (200, of_shards)})
        hold_answers(installation, "operator", {
            "no token": (401, ""), "a wrong one": (401, WRONG_TOKEN),
            "that of an account without the right": (403, tokens["stranger"]),
            "that of one with it": (200, tokens["scraper"])})


def hold_answers(installation: Installation, component: str, wanted: dict) -> None:
    """Asks every pod of a component with each token; `wanted` has (status, token) by a word for it."""
    pods = installation.pods(component)
    assert pods, f"no {component} pods"
    for pod in pods:
        name, url = pod["metadata"]["name"], f"http://{pod['status']['podIP']}:{ADMIN_PORT}/metrics"
        for word, (status, token) in wanted.items():
            said = installation.target.kubectl(
                "exec", "-i", SCRAPER, "-n", SCRAPER, "--", "sh", "-c", ASK, url, text=f"{token}\n")
            answered = re.search(r"HTTP/1\.\d (\d+)", said)
            assert answered and int(answered[1]) == status, f"{name} with {word}: not {status}: {said[:300]}"
            assert ("\nmillstream_" in said) == (status == 200), f"{name} with {word}: {said[:300]}"
    say(f"{len(pods)} {component} pods: " + ", ".join(f"{s} with {w}" for w, (s, _) in wanted.items()))


@contextlib.contextmanager
def scraper(installation: Installation):
    """A pod that asks, in a namespace of its own, and tokens of two accounts: `scraper` may get the URL
    /metrics as Prometheus commonly may, `stranger` may not."""
    kubectl = installation.target.kubectl
    for manifest in scraper_manifests(installation.target.tools_image):
        installation.apply(manifest)
    try:
        kubectl("wait", "--for=condition=Ready", f"pod/{SCRAPER}", "-n", SCRAPER,
                f"--timeout={SCRAPER_SECONDS}s", seconds=SCRAPER_SECONDS + 10)
        yield {account: kubectl("create", "token", account, "-n", SCRAPER).strip()
               for account in ("scraper", "stranger")}
    finally:
        kubectl("delete", f"clusterrole/{SCRAPER}", f"clusterrolebinding/{SCRAPER}", f"namespace/{SCRAPER}",
                check=False, seconds=120)


def scraper_manifests(image: str) -> list:
    """The namespace, the accounts with the right of one, and the pod, which has no right and no token."""
    inside = {"namespace": SCRAPER}
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": SCRAPER}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": SCRAPER, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
        *({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, **inside}}
          for account in ("scraper", "stranger")),
        {**rbac, "kind": "ClusterRole", "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]},
        {**rbac, "kind": "ClusterRoleBinding",
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": SCRAPER},
         "subjects": [{"kind": "ServiceAccount", "name": "scraper", **inside}]},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": SCRAPER, **inside}, "spec": {
            "serviceAccountName": "stranger", "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532,
                                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "shell", "image": image, "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "3600"],
                "resources": {"requests": {"cpu": "10m", "memory": "10Mi"}},
                "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                    "capabilities": {"drop": ["ALL"]}},
            }],
        }},
    ]
