"""Scenarios of loss: a shard pod without its volume, and a pod that stops answering in a request."""

import collections
import time

import load
import scenario
from machine import until
from scenario import STREAMS, Installation, is_ready, say

SHARDS = 4
LOST_SECONDS = 120
# Each call waits for the shards that do not answer, so few come through; the probes give a pod 30 s.
FROZEN_SECONDS = 20
ACKED_IN_PART_LEAST = 10
CLEAN_SECONDS = 60
HOMES_TRIED_MAX = 4
# What has nothing on the lost volume does not notice: this is the noise of a busy machine.
UNTOUCHED_SECONDS = 3
# A call waits for the slowest shard: longer than the servers wait for one another.
PATIENCE_SECONDS = 40


def records_lost(installation: Installation) -> None:
    """A shard pod comes up on a new volume. What was at home there, and what had shards there, is
    Stalled and never made again in silence, the rest goes on; the runbook, followed to the letter,
    brings the streams back empty, and leaves nothing of the old ones on any pod."""
    held_before = {pod["metadata"]["name"]: installation.shards_held(pod)
                   for pod in installation.pods("shard")}
    kinesis = installation.client(retries=True)
    installation.make_stream("lost", shardCount=SHARDS, deletionPolicy="Retain")
    victim = installation.home("lost")
    away_from = {installation.shard_pod(victim)["metadata"]["name"]}
    half = a_stream_away_from(installation, away_from, shardCount=SHARDS)
    safe = a_stream_away_from(installation, away_from, shardCount=1)
    for name in ("lost", half):
        put_known(kinesis, name, b"before the loss")
    before = {name: installation.status(name)["streamId"] for name in ("lost", half)}
    with installation.loaded(safe) as running:
        begin = time.monotonic()
        lose_volume(installation, installation.shard_pod(victim))
        say(f"a new volume after {time.monotonic() - begin:.1f} s")
        for name in ("lost", half):
            installation.wait("datastream", name, "Stalled", "True", LOST_SECONDS)
            stalled = installation.condition(name, "Stalled")
            assert stalled["reason"] == "RecordsLost", stalled
            assert installation.condition(name, "Ready")["status"] == "False"
            say(f"{name} is Stalled/RecordsLost after {time.monotonic() - begin:.1f} s: "
                f"{stalled['message']}")
        clients_are_told(installation, half)
    pause = max(running.phases.longest_pause.values())
    assert pause <= UNTOUCHED_SECONDS, f"a stream without records there paused for {pause:.1f} s"
    follow_the_runbook(installation, before)
    with installation.loaded("lost"):
        # It takes records as any other.
        pass
    installation.delete_all_streams()
    nothing_is_left(installation, {name: 0 if name.endswith(f"-{victim}") else held
                                   for name, held in held_before.items()})


def a_stream_away_from(installation: Installation, pods: set, **spec) -> str:
    """A new stream that is at home on none of the pods of these names."""
    for attempt in range(HOMES_TRIED_MAX):
        name = f"away-{spec['shardCount']}-{attempt}"
        installation.make_stream(name, **spec)
        home = installation.shard_pod(installation.home(name))
        if home["metadata"]["name"] not in pods:
            return name
    raise AssertionError(f"{HOMES_TRIED_MAX} streams are all at home on {sorted(pods)}")


def clients_are_told(installation: Installation, half: str) -> None:
    """No call on what is lost is answered as if it had never been there; other shards serve on."""
    kinesis = installation.client(retries=False)
    said = refusal(kinesis, StreamName="lost", PartitionKey="k")
    assert said, "a lost stream takes records"
    # The shards of a stream go round the pods, from its home on.
    shards = [str(key) for _, key in load.shards(kinesis, half)]
    at_home, elsewhere = (refusal(kinesis, StreamName=half, PartitionKey="k", ExplicitHashKey=key)
                          for key in shards[:2])
    say(f"puts into what is lost: {said}, {elsewhere}; into a shard beside it: {at_home or 'durable'}")
    assert elsewhere == "InternalFailure" and not at_home


def lose_volume(installation: Installation, pod: dict) -> None:
    """Takes a pod and its volume away; waits for the pod that comes back on another one."""
    kubectl = installation.target.kubectl
    name = pod["metadata"]["name"]
    claim = next(v["persistentVolumeClaim"]["claimName"] for v in pod["spec"]["volumes"]
                 if "persistentVolumeClaim" in v)
    volume = installation.target.get("pvc", claim, "-n", STREAMS)["spec"]["volumeName"]
    kubectl("delete", "pvc", claim, "-n", STREAMS, "--wait=false")
    installation.kill_pod(pod)
    kubectl("delete", "pv", volume, "--ignore-not-found", "--wait=false")

    def is_back():
        pods = [p for p in installation.pods("shard") if p["metadata"]["name"] == name]
        claims = installation.target.get("pvc", "-n", STREAMS)["items"]
        new = [c for c in claims if c["metadata"]["name"] == claim
               and c["spec"].get("volumeName") not in (None, volume)]
        return new and pods and pods[0]["metadata"]["uid"] != pod["metadata"]["uid"] and is_ready(pods[0])

    assert until(is_back, LOST_SECONDS, pause=0.5), f"{name} did not come back on a new volume"


def refusal(kinesis, **where) -> str:
    """Why a record is not taken; empty if it is."""
    try:
        kinesis.put_record(Data=b"after the loss", **where)
    except load.WRONG as error:
        return load.why(error)
    return ""


def put_known(kinesis, stream: str, data: bytes) -> None:
    """Puts a record into a stream that has just been made."""
    load.shards(kinesis, stream)
    kinesis.put_record(StreamName=stream, Data=data, PartitionKey="k")


def follow_the_runbook(installation: Installation, lost: dict) -> None:
    """docs/runbooks/RecordsLost.md: the records are gone for good. `lost` has the ids by name."""
    kinesis = installation.client(retries=True)
    policy = ("--type=merge", "--patch", '{"spec":{"deletionPolicy":"Delete"}}')
    for name, identity in lost.items():
        installation.target.kubectl("patch", "datastream", name, "-n", STREAMS, *policy)
        installation.delete_stream(name)
        seconds = installation.make_stream(name, shardCount=SHARDS)
        assert installation.status(name)["streamId"] != identity, "the id of the lost stream is back"
        seen = sum(len(page) for page in pages(kinesis, name))
        assert seen == 0, f"the new stream begins with {seen} records"
        say(f"{name} deleted and applied again: Ready after {seconds:.1f} s, another id, empty")


def pages(kinesis, stream: str):
    """Every page of records of every shard, to its end."""
    end = time.monotonic() + load.FINAL_READ_SECONDS
    for shard, _ in load.shards(kinesis, stream):
        iterator = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        while time.monotonic() < end:
            page = kinesis.get_records(ShardIterator=iterator)
            yield page["Records"]
            if not page["Records"] and page["MillisBehindLatest"] == 0:
                break
            iterator = page["NextShardIterator"]


def nothing_is_left(installation: Installation, wanted: dict) -> None:
    """Every pod has as many shards as before all of it; one with a new volume has none."""
    held = {}

    def is_clean():
        held.update((pod["metadata"]["name"], installation.shards_held(pod))
                    for pod in installation.pods("shard"))
        return held == wanted

    assert until(is_clean, CLEAN_SECONDS, pause=1), f"shards on the pods: {held}, not {wanted}"
    say(f"shards left on the pods: {held}, as before")


def put_records_fails_in_part(installation: Installation) -> None:
    """One of the pods stops answering: PutRecords names the entries that failed, the others are
    durable, and sending only the failed ones again ends clean."""
    installation.make_stream("partial", shardCount=SHARDS)
    kinesis = installation.client(retries=False, patience=PATIENCE_SECONDS)
    keys = [str(key) for _, key in load.shards(kinesis, "partial")]
    victim = installation.pods("shard")[-1]
    with installation.under_load("partial-load", shardCount=SHARDS) as running:
        with installation.frozen(victim):
            batch = Batch(keys)
            batch.put(kinesis)
            say(f"{victim['metadata']['name']} stands still: {batch.said()}")
            assert batch.failed and batch.acked, "the call did not fail in part"
            running.wait_acked("during", ACKED_IN_PART_LEAST, FROZEN_SECONDS)
            say(f"meanwhile without retries: {running.phases.line()}")
        rounds = 0
        end = time.monotonic() + CLEAN_SECONDS
        while batch.failed:
            assert time.monotonic() < end, f"entries fail in the end: {batch.said()}"
            rounds += 1
            batch.put(kinesis)
            time.sleep(0.2)
        say(f"clean after {rounds} calls with only the entries that had failed")
    batch.verdict(kinesis)
    installation.delete_stream("partial")


class Batch:
    """Entries for every shard, sent until each is acknowledged once."""

    EACH = 5

    def __init__(self, keys: list):
        self.keys = keys
        self.failed = [(f"{shard}-{number}", key) for number in range(self.EACH)
                       for shard, key in enumerate(keys)]
        self.acked, self.retried, self.codes = {}, set(), collections.Counter()

    def put(self, kinesis) -> None:
        """Sends what is not acknowledged yet in one call."""
        sent, self.failed = self.failed, []
        records = [{"Data": text.encode(), "PartitionKey": text, "ExplicitHashKey": key}
                   for text, key in sent]
        answer = kinesis.put_records(StreamName="partial", Records=records)
        self.codes.clear()
        for entry, result in zip(sent, answer["Records"], strict=True):
            if "SequenceNumber" in result:
                assert "ErrorCode" not in result, result
                self.acked[entry[0]] = result["SequenceNumber"]
            else:
                assert result["ErrorCode"] and result["ErrorMessage"], result
                self.codes[result["ErrorCode"]] += 1
                self.retried.add(entry[0])
                self.failed.append(entry)
        assert answer["FailedRecordCount"] == len(self.failed), answer

    def said(self) -> str:
        return f"FailedRecordCount {len(self.failed)}, {dict(self.codes)}, {len(self.acked)} durable"

    def verdict(self, kinesis) -> None:
        """What was acknowledged is there at its number, and only what was sent again may be twice."""
        seen = collections.defaultdict(list)
        for page in pages(kinesis, "partial"):
            for record in page:
                seen[record["Data"].decode()].append(record["SequenceNumber"])
        assert len(self.acked) == self.EACH * len(self.keys)
        for text, number in self.acked.items():
            assert number in seen[text], f"{text} is not at {number}: {seen[text]}"
            assert len(seen[text]) == 1 or text in self.retried, f"{text} is doubled: {seen[text]}"
        twice = sum(len(numbers) > 1 for numbers in seen.values())
        say(f"all {len(self.acked)} entries are there; {twice} of those sent again are there twice")
