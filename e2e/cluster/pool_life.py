"""Scenarios of a pool's end: only when it is asked for, and never over records that somebody keeps."""

import time

import losses
import scenario
from machine import until
from scenario import STREAMS, Installation, say

POOL = "spare"
SET = f"millstream-shard-{POOL}"
ASK = "millstream.dev/delete-pool"
GONE_SECONDS = 120
# Longer than any pause between two looks of the operator at a pool.
STAYS_SECONDS = 12
CLASS = tuple(f"poolClasses.{POOL}.{setting}" for setting in (
    "pods.min=1", "pods.max=1", "shardsPerPod=100", "storage.size=1Gi", "storage.whenDeleted=Delete",
    "resources.requests.cpu=50m", "resources.requests.memory=128Mi", "resources.limits.memory=512Mi",
    "settings.memory-bytes=128MiB"))


def pool_is_deleted_by_word(installation: Installation) -> None:
    """A pool that is asked to go stays while streams or retained records are in it; what was retained
    is adopted with every record; emptied it goes with its volumes, or at once with its records when
    those are given up."""
    installation.upgrade(*CLASS)
    try:
        asked_and_in_use(installation)
        given_up_with_its_records(installation)
    finally:
        installation.upgrade()


def asked_and_in_use(installation: Installation) -> None:
    installation.make_stream("pooled", pool=POOL, shardCount=2, deletionPolicy="Retain")
    identity = installation.status("pooled")["streamId"]
    with installation.loaded("pooled") as running:
        ask(installation, "true")
        installation.wait_event("StatefulSet", SET, "PoolInUse", "1 DataStreams")
        running.wait_acked("during", scenario.ACKED_LEAST, scenario.ACKED_SECONDS)
        installation.delete_stream("pooled")
        # No Event is waited for: one with a reason that was told before keeps its old words.
        time.sleep(STAYS_SECONDS)
        assert is_there(installation), "the pool went with records that are retained"
        say("asked to go, it stays: for a stream, then for its retained records")
        again = installation.stream("pooled", pool=POOL, shardCount=2, deletionPolicy="Delete",
                                    adoptStreamId=identity)
        installation.apply(again)
        installation.wait("datastream", "pooled", "Ready", "True")
    installation.delete_stream("pooled")
    wait_gone(installation, "empty")


def given_up_with_its_records(installation: Installation) -> None:
    installation.make_stream("given-up", pool=POOL, shardCount=1, deletionPolicy="Retain")
    kinesis = installation.client(retries=True)
    losses.put_known(kinesis, "given-up", b"nobody wants it")
    installation.delete_stream("given-up")
    ask(installation, "with-retained-records")
    wait_gone(installation, "given up with its records")
    # Nothing of the name is left: it begins anew without a word about an orphan.
    installation.make_stream("given-up", pool=POOL, shardCount=1)
    seen = sum(len(page) for page in losses.pages(kinesis, "given-up"))
    assert seen == 0, f"{seen} records that were given up are back"
    installation.delete_stream("given-up")
    ask(installation, "true")
    wait_gone(installation, "empty again")


def ask(installation: Installation, value: str) -> None:
    installation.target.kubectl("annotate", "--overwrite", "statefulset", SET, "-n", STREAMS,
                                f"{ASK}={value}")


def is_there(installation: Installation) -> bool:
    sets = installation.target.get("statefulsets", "-n", STREAMS)["items"]
    mine = [s["metadata"] for s in sets if s["metadata"]["name"] == SET]
    return bool(mine) and "deletionTimestamp" not in mine[0]


def wait_gone(installation: Installation, how: str) -> None:
    """Waits until the pool is gone, with its pods and its volumes."""
    begin = time.monotonic()

    def is_gone():
        claims = installation.target.get("pvc", "-n", STREAMS)["items"]
        mine = [c for c in claims if c["metadata"]["name"].endswith(f"{SET}-0")]
        pods = [p for p in installation.pods("shard") if p["metadata"]["name"].startswith(SET)]
        return not (is_there(installation) or mine or pods)

    assert until(is_gone, GONE_SECONDS, pause=0.5), f"the pool stays: {how}"
    say(f"{how}: gone with its volume after {time.monotonic() - begin:.1f} s")
