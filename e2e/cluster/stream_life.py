"""Scenarios of a stream's life: refused, made and removed by an SDK, paused, kept or thrown away."""

import time

import losses
import scenario
from machine import Failed, until
from scenario import STREAMS, Installation, say

SEEN_SECONDS = 60
PAUSED_SECONDS = 5
SDK_STREAM = "Made_By_SDK"


def bad_manifest(installation: Installation) -> None:
    """The answer names the field and the fix; nothing is made, and a stream that is there goes on as it
    was."""
    with installation.under_load("written", shardCount=1):
        before = installation.target.get("datastream", "written", "-n", STREAMS)["spec"]
        for name in ("bad", "written"):
            for spec, words in (
                ({"shardCount": 0}, "shardCount"),
                ({"retentionPeriodHours": 23}, "retentionPeriodHours"),
                ({"streamMode": "ON_DEMAND", "shardCount": 2}, "remove shardCount"),
                ({"shardcount": 2}, "shardcount"),
            ):
                said = refusal(installation, name, spec)
                assert words in said, f"{name} {spec}: the answer does not say {words!r}: {said}"
        after = {item["metadata"]["name"]: item["spec"]
                 for item in installation.target.get("datastreams", "-n", STREAMS)["items"]}
        assert "bad" not in after and after["written"] == before, f"changed by what was refused: {after}"


def refusal(installation: Installation, name: str, spec: dict) -> str:
    """Why a manifest is not taken."""
    try:
        installation.apply(installation.stream(name, **spec), "--validate=strict", "--force-conflicts")
    except Failed as answer:
        return str(answer)
    raise AssertionError(f"{name}: {spec} was taken")


def sdk_streams_are_objects(installation: Installation) -> None:
    """CreateStream makes a DataStream, DeleteStream removes it; the streams beside it do not notice."""
    kinesis = installation.client(retries=True)
    with installation.under_load("beside-sdk", shardCount=1):
        kinesis.create_stream(StreamName=SDK_STREAM, ShardCount=2)
        kinesis.get_waiter("stream_exists").wait(
            StreamName=SDK_STREAM, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        found = installation.target.get(
            "datastreams", "-n", STREAMS, "--show-managed-fields")["items"]
        mine = [o for o in found if o["spec"].get("streamName") == SDK_STREAM]
        assert len(mine) == 1, f"{len(mine)} objects for one CreateStream"
        managers = {entry["manager"] for entry in mine[0]["metadata"]["managedFields"]}
        assert "millstream-api" in managers, managers
        losses.put_known(kinesis, SDK_STREAM, b"made by an SDK")
        kinesis.delete_stream(StreamName=SDK_STREAM)
        name = mine[0]["metadata"]["name"]
        installation.target.kubectl("wait", "--for=delete", f"datastream/{name}", "-n", STREAMS,
                                    "--timeout=90s", seconds=100)


def deleted_records_stay_away(installation: Installation) -> None:
    """Delete with `Delete`: a stream of the same name begins empty, and the one beside it has all."""
    kinesis = installation.client(retries=True)
    with installation.under_load("beside-gone", shardCount=1):
        installation.make_stream("gone", shardCount=1)
        losses.put_known(kinesis, "gone", b"old")
        installation.delete_stream("gone")
        installation.make_stream("gone", shardCount=1)
        seen = sum(len(page) for page in losses.pages(kinesis, "gone"))
        assert seen == 0, f"{seen} records of the deleted stream are back"
    installation.delete_stream("gone")


def retained_records_are_adopted(installation: Installation) -> None:
    """Delete with `Retain`, refuse to start empty in silence, adopt, and find every record."""
    with installation.under_load("kept", shardCount=2, deletionPolicy="Retain") as running:
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
        running.wait_all_shards(SEEN_SECONDS)
    say("deleted, refused to begin anew, and adopted, while clients went on")


def pause_leaves_alone(installation: Installation) -> None:
    installation.make_stream("paused", shardCount=1, retentionPeriodHours=24)
    installation.annotate("paused", "millstream.dev/pause=true")
    with installation.loaded("paused") as running:
        changed = installation.stream("paused", {"millstream.dev/pause": "true"}, shardCount=1,
                                      retentionPeriodHours=48, deletionPolicy="Delete")
        installation.apply(changed, "--force-conflicts")
        time.sleep(PAUSED_SECONDS)
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
