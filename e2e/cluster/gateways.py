"""Scenarios of the gateways: one is killed, and one goes with the node that is drained under it."""

import collections
import time

import losses
import scenario
from machine import until
from scenario import SYSTEM, Installation, is_ready, say

SHARDS = 4
DRAIN_SECONDS = 60
AFTER_UNCORDON_SECONDS = 30
SEEN_SECONDS = 60
ROLLOUT_SECONDS = 120
# Some 20 s of them, on average.
KILLED_ATTEMPTS = 10
DEPLOYMENT = "deployment/millstream-gateway"


def gateway_kill(installation: Installation) -> None:
    """A gateway ends without a word. Until the Service knows, one connection in two leads to it, and the
    SDK's default of three attempts within 0.2 s may meet it three times: so clients try more often."""
    installation.make_stream("steady", shardCount=SHARDS)
    with (installation.under_load("gateway-kill", shardCount=SHARDS) as running,
          installation.steady("steady", KILLED_ATTEMPTS)):
        victim = installation.pods("gateway")[0]
        installation.kill_pod(victim)
        running.wait_acked("during", scenario.ACKED_LEAST, scenario.ACKED_SECONDS)
        installation.wait_pods_ready("gateway", {victim["metadata"]["uid"]})
        are_apart(installation)
    installation.delete_stream("steady")


def drain_and_uncordon(installation: Installation) -> None:
    """A node with a shard pod and a gateway is drained. Its shards wait for it; the rest goes on by the
    other gateway. No pod is moved back after uncordon: the rollout of the guide spreads them again. A
    client with the SDK's retries, whose records lie elsewhere, notices nothing of it."""
    with installation.under_load("drained", shardCount=SHARDS) as running:
        node = installation.pods("shard")[0]["spec"]["nodeName"]
        drained = {pod["metadata"]["name"] for pod in installation.pods("shard")
                   if pod["spec"]["nodeName"] == node}
        elsewhere = losses.a_stream_away_from(installation, drained, shardCount=1)
        are_apart(installation)
        with installation.steady(elsewhere) as steady:
            gateway = next(pod for pod in gateways(installation) if pod["spec"]["nodeName"] == node)
            drain(installation, node, gateway["metadata"]["uid"], steady)
            begin = time.monotonic()
            running.wait_all_shards(AFTER_UNCORDON_SECONDS)
            say(f"every shard took a record {time.monotonic() - begin:.1f} s after uncordon")
            installation.wait("datastream", "drained", "Ready", "True")
            say(f"gateways after uncordon: {nodes(installation)}")
            spread_again(installation)
    installation.delete_all_streams()


def drain(installation: Installation, node: str, gateway: str, steady) -> None:
    """Drains a node and gives it back once its shards are missed and its gateway is replaced."""
    kubectl = installation.target.kubectl
    begin, sent = time.monotonic(), len(steady.sent)
    try:
        kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data",
                "--pod-selector=app.kubernetes.io/name=millstream",
                f"--timeout={DRAIN_SECONDS}s", seconds=DRAIN_SECONDS + 10)
        say(f"drained {node} in {time.monotonic() - begin:.1f} s")
        installation.wait("datastream", "drained", "ShardsUnavailable", "True", SEEN_SECONDS)
        installation.wait_pods_ready("gateway", {gateway}, SEEN_SECONDS)
        assert node not in nodes(installation), f"a gateway is on a node that is drained: {node}"
        sent = len(steady.sent) - sent
        say(f"gateways while {node} was away: {nodes(installation)}; {sent} records meanwhile")
        assert sent, "nothing was acknowledged while the node was away"
    finally:
        kubectl("uncordon", node)


def spread_again(installation: Installation) -> None:
    """The rollout that the guide says after maintenance; its pods never share a node."""
    kubectl = installation.target.kubectl
    before = {pod["metadata"]["uid"] for pod in gateways(installation)}
    kubectl("rollout", "restart", DEPLOYMENT, "-n", SYSTEM)

    def is_done():
        new = [pod for pod in gateways(installation) if pod["metadata"]["uid"] not in before]
        hold_apart(new)
        return len(new) == len(before) == len(gateways(installation)) and all(map(is_ready, new))

    assert until(is_done, ROLLOUT_SECONDS, pause=0.5), "the gateways were not rolled"
    are_apart(installation)
    say(f"gateways after their rollout: {nodes(installation)}")


def gateways(installation: Installation) -> list:
    """The gateway pods that are not on their way out."""
    return [pod for pod in installation.pods("gateway") if "deletionTimestamp" not in pod["metadata"]]


def nodes(installation: Installation) -> list:
    """Where the gateways are."""
    return sorted(pod["spec"].get("nodeName", "nowhere") for pod in gateways(installation))


def are_apart(installation: Installation) -> None:
    """Holds that no two gateways share a node; all nodes take pods."""
    hold_apart(gateways(installation))


def hold_apart(pods: list) -> None:
    shared = collections.Counter(pod["spec"]["nodeName"] for pod in pods if "nodeName" in pod["spec"])
    assert max(shared.values(), default=0) <= 1, f"gateways share a node: {dict(shared)}"
