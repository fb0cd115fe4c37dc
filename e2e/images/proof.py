"""Proves the data-plane image on a cluster: the all-in-one server in a restricted pod, used by boto3.

Records go in through `kubectl port-forward`, the pod is ended without grace and made again on its
volume, and every record is there, in order. Ends with `image: N passed, M failed, 0 skipped`.
Needs a cluster (E2E_CLUSTER) that has the image: make cluster-up cluster-load.
"""

import contextlib
import pathlib
import re
import sys
import tempfile
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ConnectionClosedError, EndpointConnectionError

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "cluster")]
import binaries  # noqa: E402
from machine import Failed  # noqa: E402
from targets import Unsupported, running, target, wait_for_line  # noqa: E402

NAMESPACE = "image-proof"
STREAM = "proof"
RECORDS = 1000
BATCH = 500
READY_SECONDS = 90
ACTIVE_SECONDS = 30
API_PORT = 4567
WAYS_MAX = 3


def manifest(cluster) -> str:
    """The pod with the image as this cluster knows it."""
    image = f"{cluster.image_prefix}/millstream:{cluster.image_tag}"
    return re.sub(r"image: \S+", f"image: {image}", (HERE / "pod.yaml").read_text())


def start(cluster) -> None:
    inside = f"--namespace={NAMESPACE}"
    cluster.kubectl("apply", inside, "--filename=-", text=manifest(cluster))
    wait = ("wait", inside, "--for=condition=Ready", "pod/all-in-one")
    cluster.kubectl(*wait, f"--timeout={READY_SECONDS}s", seconds=READY_SECONDS + 10)


@contextlib.contextmanager
def client(cluster):
    """A boto3 client whose way leads into the pod's loopback."""
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        words = [str(binaries.clients() / "kubectl"), f"--kubeconfig={cluster.kubeconfig}",
                 f"--namespace={NAMESPACE}", "port-forward", "pod/all-in-one", f":{API_PORT}"]
        with running(words, log) as process:
            pattern = r"Forwarding from (127\.0\.0\.1:\d+)"
            address = wait_for_line(process, pathlib.Path(log.name), pattern)
            yield boto3.client(
                "kinesis", endpoint_url=f"http://{address}", region_name="us-east-1",
                aws_access_key_id="loopback", aws_secret_access_key="loopback",
                config=Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 3}),
            )


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
    shard = kinesis.list_shards(StreamName=STREAM)["Shards"][0]["ShardId"]
    iterator = kinesis.get_shard_iterator(
        StreamName=STREAM, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    seen = []
    while True:
        page = kinesis.get_records(ShardIterator=iterator, Limit=BATCH)
        seen += [int(record["Data"]) for record in page["Records"]]
        if not page["Records"] and page["MillisBehindLatest"] == 0:
            return seen
        iterator = page["NextShardIterator"]


def records_survive_the_pod(cluster) -> None:
    start(cluster)
    with client(cluster) as kinesis:
        put(kinesis)
    kill = ("delete", f"--namespace={NAMESPACE}", "pod/all-in-one", "--grace-period=0", "--force")
    cluster.kubectl(*kill)
    start(cluster)
    seen = read_by_a_new_way(cluster)
    assert seen == list(range(RECORDS)), f"{len(seen)} records, not {RECORDS} in order"


def read_by_a_new_way(cluster) -> list:
    """What is there. `kubectl port-forward` ends with the first connection that the pod's network
    refuses, which may be that of the pod before it under the same name: then by another one."""
    for _ in range(WAYS_MAX - 1):
        with contextlib.suppress(EndpointConnectionError, ConnectionClosedError):
            with client(cluster) as kinesis:
                return read(kinesis)
        time.sleep(1)
    with client(cluster) as kinesis:
        return read(kinesis)


def runs_as_restricted(cluster) -> None:
    """The namespace enforces the strictest standard, so the pod could not be there otherwise."""
    pod = cluster.get("pod", "all-in-one", f"--namespace={NAMESPACE}")
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
        for check in (records_survive_the_pod, runs_as_restricted):
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
