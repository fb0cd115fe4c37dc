"""The scenarios: what Millstream on Kubernetes must live through while clients use it.

    scenarios.py            all of them
    scenarios.py --short    the set of CI
    scenarios.py NAME...    some of them

Needs a cluster (`E2E_CLUSTER`) with the images on it, and the interpreter of `bring.py python`. Each
scenario with a fault prints the acknowledged records before, during and after it, and has its history
judged. The last line counts.
"""

import argparse
import collections
import sys
import time

import load
import losses
import over_tls
import pool_life
import scenario
from machine import Failed, until
from scenario import STREAMS, Installation, is_ready, say
from targets import Unsupported, target

SHARDS = 4
FIRST_RECORD_SECONDS = 60
ROLL_SECONDS = 240
# The longest that a shard may go without an acknowledgement while its pod is replaced.
PAUSE_MAX_SECONDS = 10
DRAIN_SECONDS = 60
AFTER_UNCORDON_SECONDS = 30
SEEN_SECONDS = 60
CUT_SECONDS = 8
NODE_BACK_SECONDS = 90
KEY_SECONDS = 30

def apply_to_first_record(installation: Installation) -> None:
    begin = time.monotonic()
    ready = installation.make_stream("first", shardCount=1)
    kinesis = installation.client(retries=False)
    record = {"StreamName": "first", "Data": b"hello", "PartitionKey": "k"}
    refusals = collections.Counter()
    while True:
        try:
            kinesis.put_record(**record)
            break
        except load.WRONG as error:
            refusals[load.why(error)] += 1
            waited = time.monotonic() - begin
            assert waited < FIRST_RECORD_SECONDS, f"no record in {waited:.0f} s: {error}"
            time.sleep(0.1)
    first = time.monotonic() - begin
    say(f"apply to Ready {ready:.1f} s, to the first record {first:.1f} s; on the way {dict(refusals)}")
    installation.delete_stream("first")
    refused = False
    try:
        kinesis.put_record(**record)
    except load.WRONG as error:
        refused = load.why(error) == "ResourceNotFoundException"
    assert refused, "a deleted stream still takes records"


def shard_pod_kill(installation: Installation) -> None:
    installation.make_stream("pod-kill", shardCount=SHARDS)
    with installation.loaded("pod-kill") as running:
        running.phases.enter("during")
        victim = installation.pods("shard")[0]
        installation.kill_pod(victim)
        say(f"killed {victim['metadata']['name']}")
        wait_pods_ready(installation, "shard", {victim["metadata"]["uid"]})
        installation.wait("datastream", "pod-kill", "Ready", "True")
        running.wait_acked("during", scenario.ACKED_LEAST, scenario.ACKED_SECONDS)
    installation.delete_stream("pod-kill")


def wait_pods_ready(installation: Installation, component: str, gone: set, seconds=120) -> None:
    """Waits until none of the pods that were ended is there and every pod is ready."""
    def ready():
        pods = installation.pods(component)
        good = [p for p in pods if p["metadata"]["uid"] not in gone and is_ready(p)]
        return pods and len(good) == len(pods)

    assert until(ready, seconds, pause=0.5), f"the {component} pods did not come back"


def operator_kill(installation: Installation) -> None:
    installation.make_stream("operator-kill", shardCount=SHARDS)
    with installation.loaded("operator-kill") as running:
        running.phases.enter("during")
        victims = installation.pods("operator")
        for pod in victims:
            installation.kill_pod(pod)
        running.wait_acked("during", scenario.ACKED_LEAST, scenario.ACKED_SECONDS)
        wait_pods_ready(installation, "operator", {p["metadata"]["uid"] for p in victims})
        # A new leader reconciles: a stream can be made again.
        seconds = installation.make_stream("operator-back", shardCount=1)
        say(f"both operators killed; the next stream was Ready in {seconds:.1f} s")
    installation.delete_stream("operator-back")
    installation.delete_stream("operator-kill")


def gateway_kill(installation: Installation) -> None:
    for name in ("gateway-kill", "steady"):
        installation.make_stream(name, shardCount=SHARDS)
    steady = installation.steady("steady")
    with installation.loaded("gateway-kill") as running:
        running.phases.enter("during")
        victim = installation.pods("gateway")[0]
        installation.kill_pod(victim)
        running.wait_acked("during", scenario.ACKED_LEAST, scenario.ACKED_SECONDS)
        wait_pods_ready(installation, "gateway", {victim["metadata"]["uid"]})
    say(f"a client with the SDK's retries: {steady.verdict()} records, no failed call")
    for name in ("gateway-kill", "steady"):
        installation.delete_stream(name)


def rolling_upgrade(installation: Installation) -> None:
    """Another setting for every shard pod and every gateway, and back again, under one load."""
    installation.make_stream("rolling", shardCount=SHARDS)
    with installation.loaded("rolling") as running:
        running.phases.enter("during")
        for values in (("poolClasses.default.settings.memory-bytes=160MiB",
                        "gateway.podAnnotations.e2e=rolled"), ()):
            before = {pod["metadata"]["uid"] for pod in installation.pods("shard")}
            begin = time.monotonic()
            installation.upgrade(*values)
            wait_pods_ready(installation, "shard", before, ROLL_SECONDS)
            say(f"rolled in {time.monotonic() - begin:.1f} s")
        running.wait_acked("during", scenario.ACKED_LEAST, scenario.ACKED_SECONDS)
    pause = max(running.phases.longest_pause.values())
    assert pause <= PAUSE_MAX_SECONDS, f"a shard took no record for {pause:.1f} s"
    installation.delete_stream("rolling")


def drain_and_uncordon(installation: Installation) -> None:
    installation.make_stream("drained", shardCount=SHARDS)
    node = installation.pods("shard")[0]["spec"]["nodeName"]
    kubectl = installation.target.kubectl
    with installation.loaded("drained") as running:
        running.phases.enter("during")
        begin = time.monotonic()
        try:
            kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data",
                    "--pod-selector=app.kubernetes.io/name=millstream",
                    f"--timeout={DRAIN_SECONDS}s", seconds=DRAIN_SECONDS + 10)
            say(f"drained {node} in {time.monotonic() - begin:.1f} s")
            installation.wait("datastream", "drained", "ShardsUnavailable", "True", SEEN_SECONDS)
        finally:
            kubectl("uncordon", node)
        begin = time.monotonic()
        wait_all_shards(running, AFTER_UNCORDON_SECONDS)
        say(f"every shard took a record {time.monotonic() - begin:.1f} s after uncordon")
        installation.wait("datastream", "drained", "Ready", "True")
    installation.delete_stream("drained")


def node_is_cut_off(installation: Installation) -> None:
    """A node's cable is pulled for some seconds: what is on it goes on, alone."""
    installation.make_stream("cut-off", shardCount=SHARDS)
    node = second_node(installation)
    with installation.loaded("cut-off") as running:
        running.phases.enter("during")
        installation.target.cut(node)
        try:
            time.sleep(CUT_SECONDS)
        finally:
            installation.target.mend(node)
        wait_all_shards(running, NODE_BACK_SECONDS)
        installation.wait("datastream", "cut-off", "Ready", "True")
        running.wait_acked("during", scenario.ACKED_LEAST, scenario.ACKED_SECONDS)
    installation.delete_stream("cut-off")


def node_loses_power(installation: Installation) -> None:
    """Everything on a node ends at once; it boots again after the control plane has missed it."""
    installation.make_stream("power", shardCount=SHARDS)
    node = second_node(installation)
    with installation.loaded("power") as running:
        running.phases.enter("during")
        installation.target.power_off(node)
        try:
            installation.target.kubectl("wait", "--for=condition=Ready=Unknown", f"node/{node}",
                                        f"--timeout={SEEN_SECONDS}s", seconds=SEEN_SECONDS + 10)
            installation.wait("datastream", "power", "ShardsUnavailable", "True", SEEN_SECONDS)
        finally:
            installation.target.power_on(node)
        begin = time.monotonic()
        wait_all_shards(running, NODE_BACK_SECONDS)
        say(f"every shard took a record {time.monotonic() - begin:.1f} s after power on")
        installation.wait("datastream", "power", "Ready", "True")
    installation.delete_stream("power")


def second_node(installation: Installation) -> str:
    """A node with a shard pod through which our own clients do not come in."""
    first = installation.target.nodes()[0]
    others = [pod["spec"]["nodeName"] for pod in installation.pods("shard")
              if pod["spec"]["nodeName"] != first]
    assert others, "every shard pod is on one node"
    return others[0]


def wait_all_shards(running: load.Load, seconds: float) -> None:
    """Waits until every shard has taken a record from now on."""
    since = time.monotonic()
    away = set(range(len(running.shards)))

    def all_back():
        away.difference_update(s for s in list(away) if running.phases.last.get(s, 0) > since)
        return not away

    assert until(all_back, seconds), f"no record for shards {sorted(away)} in {seconds} s"


def pause_leaves_alone(installation: Installation) -> None:
    installation.make_stream("paused", shardCount=1, retentionPeriodHours=24)
    installation.annotate("paused", "millstream.dev/pause=true")
    with installation.loaded("paused") as running:
        running.phases.enter("during")
        changed = installation.stream("paused", {"millstream.dev/pause": "true"}, shardCount=1,
                                      retentionPeriodHours=48, deletionPolicy="Delete")
        installation.apply(changed, "--force-conflicts")
        time.sleep(5)
        assert retention("paused", installation) == 24, "a paused stream was changed"
        running.wait_acked("during", scenario.ACKED_LEAST, scenario.ACKED_SECONDS)
        installation.annotate("paused", "millstream.dev/pause-")
        assert until(lambda: retention("paused", installation) == 48, SEEN_SECONDS, pause=0.5), (
            "what changed during the pause was not done after it")
    installation.delete_stream("paused")


def retention(stream: str, installation: Installation) -> int:
    kinesis = installation.client(retries=True)
    summary = kinesis.describe_stream_summary(StreamName=stream)
    return summary["StreamDescriptionSummary"]["RetentionPeriodHours"]


def retained_records_are_adopted(installation: Installation) -> None:
    """Delete with `Retain`, refuse to start empty in silence, adopt, and find every record."""
    installation.make_stream("kept", shardCount=2, deletionPolicy="Retain")
    running = installation.start_load("kept")
    running.wait_acked("before", scenario.ACKED_LEAST, scenario.ACKED_SECONDS)
    running.stop()
    identity = installation.status("kept")["streamId"]
    installation.delete_stream("kept")
    again = installation.stream("kept", shardCount=2, deletionPolicy="Delete")
    installation.apply(again)
    installation.wait("datastream", "kept", "Stalled", "True")
    stalled = installation.condition("kept", "Stalled")
    assert stalled["reason"] == "OrphanExists" and identity in stalled["message"], stalled
    again["spec"]["adoptStreamId"] = identity
    installation.apply(again)
    installation.wait("datastream", "kept", "Ready", "True")
    say(f"over deletion and adoption, {scenario.counts(running.verdict())}")
    installation.delete_stream("kept")


def deleted_records_stay_away(installation: Installation) -> None:
    """Delete with `Delete`: a stream of the same name begins empty."""
    installation.make_stream("gone", shardCount=1)
    kinesis = installation.client(retries=True)
    kinesis.put_record(StreamName="gone", Data=b"old", PartitionKey="k")
    installation.delete_stream("gone")
    installation.make_stream("gone", shardCount=1)
    shard = kinesis.list_shards(StreamName="gone")["Shards"][0]["ShardId"]
    iterator = kinesis.get_shard_iterator(StreamName="gone", ShardId=shard,
                                          ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    records = kinesis.get_records(ShardIterator=iterator)["Records"]
    assert not records, "records of the deleted stream are back"
    installation.delete_stream("gone")


def key_rotation(installation: Installation) -> None:
    """A second key works, then the first is deleted and stops working; nothing is restarted."""
    installation.make_stream("keys", shardCount=1)
    uids = {pod["metadata"]["uid"] for pod in installation.pods("gateway")}
    second = installation.make_key("second")
    begin = time.monotonic()
    assert until(lambda: may(installation, second), KEY_SECONDS, pause=0.3), "the new key is refused"
    say(f"a new key was taken after {time.monotonic() - begin:.1f} s")
    assert may(installation, installation.key), "the old key stopped working before it was deleted"
    installation.target.kubectl("delete", "secret", "second", "-n", STREAMS)
    begin = time.monotonic()
    assert until(lambda: not may(installation, second), KEY_SECONDS, pause=0.3), (
        "a deleted key still works")
    say(f"a deleted key was refused after {time.monotonic() - begin:.1f} s")
    assert {pod["metadata"]["uid"] for pod in installation.pods("gateway")} == uids
    installation.delete_stream("keys")


def may(installation: Installation, who: tuple) -> bool:
    """Whether every gateway takes the key, as far as some calls on new connections tell."""
    for _ in range(6):
        try:
            installation.client(retries=False, key=who).put_record(
                StreamName="keys", Data=b"x", PartitionKey="k")
        except load.WRONG as error:
            said = load.why(error)
            assert said in ("UnrecognizedClientException", "InvalidSignatureException"), said
            return False
    return True


def sdk_streams_are_objects(installation: Installation) -> None:
    """CreateStream makes a DataStream, DeleteStream removes it."""
    kinesis = installation.client(retries=True)
    kinesis.create_stream(StreamName="Made_By_SDK", ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(
        StreamName="Made_By_SDK", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    found = installation.target.get(
        "datastreams", "-n", STREAMS, "--show-managed-fields")["items"]
    mine = [o for o in found if o["spec"].get("streamName") == "Made_By_SDK"]
    assert len(mine) == 1, f"{len(mine)} objects for one CreateStream"
    managers = {entry["manager"] for entry in mine[0]["metadata"]["managedFields"]}
    assert "millstream-api" in managers, managers
    kinesis.delete_stream(StreamName="Made_By_SDK")
    name = mine[0]["metadata"]["name"]
    installation.target.kubectl("wait", "--for=delete", f"datastream/{name}", "-n", STREAMS,
                                "--timeout=90s", seconds=100)


def bad_manifest(installation: Installation) -> None:
    """The answer names the field and the fix, and nothing is made."""
    for spec, words in (
        ({"shardCount": 0}, "shardCount"),
        ({"retentionPeriodHours": 23}, "retentionPeriodHours"),
        ({"streamMode": "ON_DEMAND", "shardCount": 2}, "remove shardCount"),
        ({"shardcount": 2}, "shardcount"),
    ):
        try:
            installation.apply(installation.stream("bad", **spec), "--validate=strict")
        except Failed as refusal:
            assert words in str(refusal), f"{spec}: the answer does not say {words!r}: {refusal}"
        else:
            raise AssertionError(f"{spec} was taken")


SHORT = (
    apply_to_first_record, bad_manifest, sdk_streams_are_objects, shard_pod_kill, operator_kill,
    gateway_kill, key_rotation,
)
ALL = (
    *SHORT, deleted_records_stay_away, retained_records_are_adopted, pause_leaves_alone,
    rolling_upgrade, drain_and_uncordon, node_is_cut_off, node_loses_power,
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
