"""Proves the data-plane image on a cluster: the all-in-one server in a restricted pod, used by boto3.

Records go in through `kubectl port-forward`, the pod is ended without grace and made again on its
volume, also under a reader, and every record is there, in order. Ends with `image: N passed, M failed,
0 skipped`. Needs a cluster (E2E_CLUSTER) that has the image: make cluster-up cluster-load.
"""

import contextlib
import pathlib
import re
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ConnectionClosedError, EndpointConnectionError

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "cluster")]
from machine import Failed, until  # noqa: E402
from targets import Unsupported, target  # noqa: E402

NAMESPACE = "image-proof"
POD = "all-in-one"
STREAM = "proof"
RECORDS = 1000
BATCH = 500
READY_SECONDS = 90
ACTIVE_SECONDS = 30
API_PORT = 4567
SERVES = "AWS_ENDPOINT_URL"
WAYS_SECONDS = 30
# How a way ends under a client, or does not begin.
WAY_ENDED = (EndpointConnectionError, ConnectionClosedError, Failed)


def manifest(cluster) -> str:
    """The pod with the image as this cluster knows it."""
    image = f"{cluster.image_prefix}/millstream:{cluster.image_tag}"
    return re.sub(r"image: \S+", f"image: {image}", (HERE / "pod.yaml").read_text())


def start(cluster) -> None:
    inside = f"--namespace={NAMESPACE}"
    cluster.kubectl("apply", inside, "--filename=-", text=manifest(cluster))
    wait = ("wait", inside, "--for=condition=Ready", f"pod/{POD}")
    cluster.kubectl(*wait, f"--timeout={READY_SECONDS}s", seconds=READY_SECONDS + 10)

    # No probe of the kubelet reaches the pod's loopback: the server says itself when it takes connections.
    def serves():
        return SERVES in cluster.kubectl("logs", inside, f"pod/{POD}", check=False)

    assert until(serves, READY_SECONDS, pause=0.2), "the server did not say where it serves"


@contextlib.contextmanager
def client(cluster):
    """A boto3 client whose way leads into the pod's loopback."""
    with cluster.port_forward(NAMESPACE, f"pod/{POD}", API_PORT) as address:
        yield boto3.client(
            "kinesis", endpoint_url=f"http://{address}", region_name="us-east-1",
            aws_access_key_id="loopback", aws_secret_access_key="loopback",
            config=Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 3}),
        )


def by_some_way(cluster, work):
    """What `work(kinesis)` gives. `kubectl port-forward` ends with the first connection that is refused
    or lost: then `work` begins again by another way, for a bounded time."""
    end = time.monotonic() + WAYS_SECONDS
    while True:
        try:
            with client(cluster) as kinesis:
                return work(kinesis)
        except WAY_ENDED as error:
            if time.monotonic() > end:
                raise
            print(f"        {error}: by another way", flush=True)
        time.sleep(1)


def put(kinesis) -> None:
    kinesis.create_stream(StreamName=STREAM, ShardCount=1)
    end = time.monotonic() + ACTIVE_SECONDS
    while status(kinesis) != "ACTIVE":
        assert time.monotonic() < end, "the stream did not become ACTIVE"
        time.sleep(0.1)
    for first in range(0, RECORDS, BATCH):
        records = [{"Data": str(number).encode(), "PartitionKey": "k"}
                   for number in range(first, first + BATCH)]
        answer = kinesis.put_records(StreamName=STREAM, Records=records)
        assert answer["FailedRecordCount"] == 0, answer


def status(kinesis) -> str:
    summary = kinesis.describe_stream_summary(StreamName=STREAM)
    return summary["StreamDescriptionSummary"]["StreamStatus"]


def read(kinesis) -> list:
    return [number for page in pages(kinesis) for number in page]


def pages(kinesis):
    """The numbers of the records, a list for each page."""
    shard = kinesis.list_shards(StreamName=STREAM)["Shards"][0]["ShardId"]
    iterator = kinesis.get_shard_iterator(
        StreamName=STREAM, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    while True:
        page = kinesis.get_records(ShardIterator=iterator, Limit=BATCH)
        yield [int(record["Data"]) for record in page["Records"]]
        if not page["Records"] and page["MillisBehindLatest"] == 0:
            return
        iterator = page["NextShardIterator"]


def records_survive_the_pod(cluster) -> None:
    start(cluster)
    with client(cluster) as kinesis:
        put(kinesis)
    replace(cluster)
    hold_all(by_some_way(cluster, read))


def replace(cluster) -> None:
    """Ends the pod without grace and makes it again on its volume."""
    kill = ("delete", f"--namespace={NAMESPACE}", f"pod/{POD}", "--grace-period=0", "--force")
    cluster.kubectl(*kill)
    start(cluster)


def hold_all(seen: list) -> None:
    assert seen == list(range(RECORDS)), f"{len(seen)} records, not {RECORDS} in order"


def a_reader_survives_its_way(cluster) -> None:
    """The pod is replaced between two pages: that way ends, and another one reads everything."""
    firsts = []

    def read_across(kinesis):
        seen = []
        for page in pages(kinesis):
            seen += page
            if not firsts:
                firsts.append(len(page))
                replace(cluster)
        return seen

    hold_all(by_some_way(cluster, read_across))
    assert firsts == [BATCH], f"the pod was not replaced in the middle: after {firsts} records"


def runs_as_restricted(cluster) -> None:
    """The namespace enforces the strictest standard, so the pod could not be there otherwise."""
    pod = cluster.get("pod", POD, f"--namespace={NAMESPACE}")
    state = pod["status"]["containerStatuses"][0]
    assert state["ready"], state
    refused = cluster.kubectl(
        "run", "root", f"--namespace={NAMESPACE}", "--image=e2e.local/busybox:1", check=False
    )
    assert "created" not in refused, "a pod without restrictions was let in"


def main() -> int:
    try:
        cluster = target()
    except Unsupported as reason:
        print(f"skipped: the image on a cluster: {reason}")
        print("image: 0 passed, 0 failed, 1 skipped")
        return 0
    cluster.kubectl("create", "namespace", NAMESPACE, check=False)
    cluster.kubectl("label", "namespace", NAMESPACE, "--overwrite",
                    "pod-security.kubernetes.io/enforce=restricted")
    passed = failed = 0
    try:
        for check in (records_survive_the_pod, a_reader_survives_its_way, runs_as_restricted):
            begin = time.monotonic()
            name = check.__name__.replace("_", " ")
            try:
                check(cluster)
            except (AssertionError, Failed, BotoCoreError) as error:
                failed += 1
                print(f"FAILED  {name}: {error}")
            else:
                passed += 1
                print(f"ok      {name}: {time.monotonic() - begin:.1f} s")
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, check=False, seconds=120)
    print(f"image: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
