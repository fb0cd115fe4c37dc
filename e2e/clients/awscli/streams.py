"""The AWS CLI (v1) against a server: the ten operations, JSON in and out, errors by name and exit code.

Every call is a process of its own with its own deadline. Retries are off.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import tap

CALL_SECONDS = 60
SERVICE_ERROR = 254
AWS = [sys.executable, "-m", "awscli", "--output", "json", "kinesis"]
ENVIRONMENT = {**os.environ, "AWS_MAX_ATTEMPTS": "1", "AWS_RETRY_MODE": "standard"}

report = tap.Report()
name = f"awscli-{time.time_ns()}"


def run(*args):
    """One command; the finished process."""
    return subprocess.run(
        [*AWS, *args], env=ENVIRONMENT, capture_output=True, text=True, timeout=CALL_SECONDS
    )


def aws(*args):
    """One command that succeeds; its JSON, or nothing."""
    done = run(*args)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def refused(error, *args):
    """One command that the service refuses with `error`."""
    done = run(*args)
    assert done.returncode in (SERVICE_ERROR, 255), (done.returncode, done.stdout)
    assert f"({error})" in done.stderr, done.stderr


def iterator(shard, kind, *where):
    """A shard iterator."""
    target = ["--stream-name", name, "--shard-id", shard, "--shard-iterator-type", kind]
    return aws("get-shard-iterator", *target, *where)["ShardIterator"]


def read(position, limit=1000):
    """One GetRecords."""
    return aws("get-records", "--shard-iterator", position, "--limit", str(limit))


def text(record):
    """A record's data."""
    return base64.b64decode(record["Data"]).decode()


with report.check("create-stream and wait stream-exists"):
    aws("create-stream", "--stream-name", name, "--shard-count", "2")
    aws("wait", "stream-exists", "--stream-name", name)

with report.check("describe-stream and describe-stream-summary agree"):
    stream = aws("describe-stream", "--stream-name", name)["StreamDescription"]
    summary = aws("describe-stream-summary", "--stream-arn", stream["StreamARN"])
    summary = summary["StreamDescriptionSummary"]
    assert stream["StreamStatus"] == summary["StreamStatus"] == "ACTIVE", (stream, summary)
    assert len(stream["Shards"]) == summary["OpenShardCount"] == 2, (stream, summary)
    first = stream["Shards"][0]["ShardId"]
    inside = stream["Shards"][0]["HashKeyRange"]["EndingHashKey"]

with report.check("list-streams pages by itself"):
    aws("create-stream", "--stream-name", f"{name}-b", "--shard-count", "1")
    names = aws("list-streams", "--page-size", "1")["StreamNames"]
    assert {name, f"{name}-b"} <= set(names), names

with report.check("list-shards pages by token"):
    page = aws("list-shards", "--stream-name", name, "--no-paginate", "--max-results", "1")
    rest = aws("list-shards", "--no-paginate", "--next-token", page["NextToken"])
    ids = [shard["ShardId"] for shard in page["Shards"] + rest["Shards"]]
    assert ids == [shard["ShardId"] for shard in stream["Shards"]], ids

with report.check("put-record, in order"):
    target = ["--stream-name", name, "--partition-key", "k", "--explicit-hash-key", inside]
    numbers = []
    for word in ("one", "two", "three"):
        order = ["--sequence-number-for-ordering", numbers[-1]] if numbers else []
        put = aws("put-record", *target, "--data", word, *order)
        assert put["ShardId"] == first, put
        numbers.append(put["SequenceNumber"])
    assert [int(n) for n in numbers] == sorted({int(n) for n in numbers}), numbers

with report.check("put-records from a file"):
    entries = [
        {
            "Data": f"file {index}",
            "PartitionKey": f"k{index}",
            "ExplicitHashKey": inside,
        }
        for index in range(100)
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(entries, file)
        file.flush()
        answer = aws("put-records", "--stream-name", name, "--records", f"file://{file.name}")
    assert answer["FailedRecordCount"] == 0 and len(answer["Records"]) == 100, answer

with report.check("get-records, page by page, down to MillisBehindLatest 0"):
    time.sleep(1.1)
    position = iterator(first, "TRIM_HORIZON")
    page = read(position, 60)
    assert len(page["Records"]) == 60 and page["MillisBehindLatest"] >= 1000, page
    records = page["Records"]
    page = read(page["NextShardIterator"], 60)
    records += page["Records"]
    assert page["MillisBehindLatest"] == 0, page["MillisBehindLatest"]
    words = ["one", "two", "three"] + [f"file {index}" for index in range(100)]
    assert [text(record) for record in records] == words, len(records)

with report.check("the five iterator types"):
    number = ["--starting-sequence-number", numbers[1]]
    assert text(read(iterator(first, "TRIM_HORIZON"), 1)["Records"][0]) == "one"
    assert text(read(iterator(first, "AT_SEQUENCE_NUMBER", *number), 1)["Records"][0]) == "two"
    assert text(read(iterator(first, "AFTER_SEQUENCE_NUMBER", *number), 1)["Records"][0]) == "three"
    assert read(iterator(first, "LATEST"))["Records"] == []
    arrival = str(records[0]["ApproximateArrivalTimestamp"])
    at_time = iterator(first, "AT_TIMESTAMP", "--timestamp", arrival)
    assert text(read(at_time, 1)["Records"][0]) == "one"

with report.check("errors carry their names"):
    refused("ResourceInUseException", "create-stream", "--stream-name", name, "--shard-count", "1")
    refused("ResourceNotFoundException", "describe-stream", "--stream-name", f"{name}-gone")
    refused("InvalidArgumentException", "get-records", "--shard-iterator", "A" * 64)
    limit = ["--shard-iterator", position, "--limit", "10001"]
    refused("ValidationException", "get-records", *limit)
    huge = ["--stream-name", f"{name}-huge", "--shard-count", "100000000000"]
    refused("LimitExceededException", "create-stream", *huge)

with report.check("delete-stream and wait stream-not-exists"):
    aws("delete-stream", "--stream-name", f"{name}-b")
    aws("delete-stream", "--stream-name", name)
    aws("wait", "stream-not-exists", "--stream-name", name)

sys.exit(report.finish())
