"""The scenarios: what Millstream on Kubernetes must live through while clients use it.

    scenarios.py            all of them
    scenarios.py --short    the set of CI
    scenarios.py NAME...    some of them

Needs a cluster (`E2E_CLUSTER`) with the images on it, and the interpreter of `bring.py python`. Each
scenario has clients that write and read on, prints the records that they had acknowledged before,
during and after what it does, and has their history judged: it fails without. The last line counts.
"""

import argparse
import collections
import sys
import time

import access
import gateways
import load
import losses
import over_tls
import pool_life
import scenario
import stream_life
from scenario import Installation, say
from targets import Unsupported, target

SHARDS = 4
FIRST_RECORD_SECONDS = 60
ROLL_SECONDS = 240
# The longest that a shard may go without an acknowledgement while its pod is replaced.
PAUSE_MAX_SECONDS = 10
SEEN_SECONDS = 60
CUT_SECONDS = 8
NODE_BACK_SECONDS = 90


def apply_to_first_record(installation: Installation) -> None:
    """A stream takes records soon after `kubectl apply`, also while others are written; deleted it takes
    none."""
    to_first_record(installation, "first")
    with installation.under_load("beside-first", shardCount=SHARDS):
        to_first_record(installation, "next")


def to_first_record(installation: Installation, name: str) -> None:
    begin = time.monotonic()
    ready = installation.make_stream(name, shardCount=1)
    kinesis = installation.client(retries=False)
    where = {"StreamName": name, "PartitionKey": "k"}
    refusals = collections.Counter()
    while True:
        try:
            kinesis.put_record(Data=b"hello", **where)
            break
        except load.WRONG as error:
            refusals[load.why(error)] += 1
            waited = time.monotonic() - begin
            assert waited < FIRST_RECORD_SECONDS, f"no record in {waited:.0f} s: {error}"
            time.sleep(0.1)
    first = time.monotonic() - begin
    say(f"{name}: apply to Ready {ready:.1f} s, to the first record {first:.1f} s; on the way "
        f"{dict(refusals)}")
    installation.delete_stream(name)
    said = losses.refusal(kinesis, **where)
    assert said == "ResourceNotFoundException", f"a put into a deleted stream: {said or 'taken'}"


def shard_pod_kill(installation: Installation) -> None:
    with installation.under_load("pod-kill", shardCount=SHARDS):
        victim = installation.pods("shard")[0]
        installation.kill_pod(victim)
        say(f"killed {victim['metadata']['name']}")
        installation.wait_pods_ready("shard", {victim["metadata"]["uid"]})
        installation.wait("datastream", "pod-kill", "Ready", "True")


def operator_kill(installation: Installation) -> None:
    with installation.under_load("operator-kill", shardCount=SHARDS) as running:
        victims = installation.pods("operator")
        for pod in victims:
            installation.kill_pod(pod)
        running.wait_acked("during", scenario.ACKED_LEAST, scenario.ACKED_SECONDS)
        installation.wait_pods_ready("operator", {p["metadata"]["uid"] for p in victims})
        # A new leader reconciles: a stream can be made again.
        seconds = installation.make_stream("operator-back", shardCount=1)
        say(f"both operators killed; the next stream was Ready in {seconds:.1f} s")
    installation.delete_stream("operator-back")


def rolling_upgrade(installation: Installation) -> None:
    """Another setting for every shard pod and every gateway, and back again, under one load."""
    with installation.under_load("rolling", shardCount=SHARDS) as running:
        for values in (("poolClasses.default.settings.memory-bytes=160MiB",
                        "gateway.podAnnotations.e2e=rolled"), ()):
            before = {pod["metadata"]["uid"] for pod in installation.pods("shard")}
            begin = time.monotonic()
            installation.upgrade(*values)
            installation.wait_pods_ready("shard", before, ROLL_SECONDS)
            say(f"rolled in {time.monotonic() - begin:.1f} s")
            gateways.are_apart(installation)
    pause = max(running.phases.longest_pause.values())
    assert pause <= PAUSE_MAX_SECONDS, f"a shard took no record for {pause:.1f} s"


def node_is_cut_off(installation: Installation) -> None:
    """A node's cable is pulled for some seconds: what is on it goes on, alone."""
    with installation.under_load("cut-off", shardCount=SHARDS) as running:
        node = second_node(installation)
        installation.target.cut(node)
        try:
            time.sleep(CUT_SECONDS)
        finally:
            installation.target.mend(node)
        running.wait_all_shards(NODE_BACK_SECONDS)
        installation.wait("datastream", "cut-off", "Ready", "True")


def node_loses_power(installation: Installation) -> None:
    """Everything on a node ends at once; it boots again after the control plane has missed it."""
    with installation.under_load("power", shardCount=SHARDS) as running:
        node = second_node(installation)
        installation.target.power_off(node)
        try:
            installation.target.kubectl("wait", "--for=condition=Ready=Unknown", f"node/{node}",
                                        f"--timeout={SEEN_SECONDS}s", seconds=SEEN_SECONDS + 10)
            installation.wait("datastream", "power", "ShardsUnavailable", "True", SEEN_SECONDS)
        finally:
            installation.target.power_on(node)
        begin = time.monotonic()
        running.wait_all_shards(NODE_BACK_SECONDS)
        say(f"every shard took a record {time.monotonic() - begin:.1f} s after power on")
        installation.wait("datastream", "power", "Ready", "True")
        gateways.spread_again(installation)


def second_node(installation: Installation) -> str:
    """A node with a shard pod through which our own clients do not come in."""
    first = installation.target.nodes()[0]
    others = [pod["spec"]["nodeName"] for pod in installation.pods("shard")
              if pod["spec"]["nodeName"] != first]
    assert others, "every shard pod is on one node"
    return others[0]


SHORT = (
    apply_to_first_record, stream_life.bad_manifest, stream_life.sdk_streams_are_objects, shard_pod_kill,
    operator_kill, gateways.gateway_kill, access.key_rotation, access.metrics_ask_who_reads,
)
ALL = (
    *SHORT, stream_life.deleted_records_stay_away, stream_life.retained_records_are_adopted,
    stream_life.pause_leaves_alone, rolling_upgrade, gateways.drain_and_uncordon, node_is_cut_off,
    node_loses_power,
    over_tls.tls_and_a_new_certificate, pool_life.pool_is_deleted_by_word,
    losses.put_records_fails_in_part, losses.records_lost,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="the set of CI")
    names = {function.__name__: function for function in ALL}
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(names))
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}: there are {', '.join(names)}")
    chosen = [names[n] for n in options.names] or (SHORT if options.short else ALL)
    try:
        cluster = target()
    except Unsupported as reason:
        print(f"skipped: the scenarios: {reason}")
        print(f"scenarios: 0 passed, 0 failed, {len(chosen)} skipped")
        return 0
    return scenario.run(cluster, chosen)


if __name__ == "__main__":
    sys.exit(main())
