"""boto3 against a server: the ten operations, iterators, paging, and errors as its exceptions.

Reads the server from the environment (AWS_ENDPOINT_URL and friends). Retries are off, so every
answer that is checked is the first one.
"""

import hashlib
import pathlib
import sys
import time

import boto3
import botocore.config

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import tap

SHARDS = 3
HASH_KEYS = 2**128
BATCH = 500
LAG_SECONDS = 1.2

kinesis = boto3.client(
    "kinesis",
    config=botocore.config.Config(
        retries={"total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=30,
        parameter_validation=False,
    ),
)
errors = kinesis.exceptions
report = tap.Report()
name = f"boto3-{time.time_ns()}"


def refused(kind, text, call, **arguments):
    """Asserts that a call fails with one modelled exception, and what it says."""
    try:
        call(**arguments)
    except kind as error:
        message = error.response["Error"]["Message"]
        assert text in message, message
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400, error.response
        assert error.response["ResponseMetadata"]["RequestId"], error.response
        return
    raise AssertionError(f"{call.__name__} was accepted")


def until(status):
    """Waits until the stream has `status`; returns its description."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = kinesis.describe_stream(StreamName=name)["StreamDescription"]
        if found["StreamStatus"] == status:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{name} is {found['StreamStatus']}, not {status}")


def iterator(shard, kind, **where):
    """A shard iterator."""
    answer = kinesis.get_shard_iterator(
        StreamName=name, ShardId=shard, ShardIteratorType=kind, **where
    )
    return answer["ShardIterator"]


def read(position, limit=10_000):
    """One GetRecords."""
    return kinesis.get_records(ShardIterator=position, Limit=limit)


def read_all(position, limit):
    """GetRecords until the tip; the pages."""
    pages = []
    while True:
        pages.append(read(position, limit))
        position = pages[-1]["NextShardIterator"]
        if pages[-1]["MillisBehindLatest"] == 0 and not pages[-1]["Records"]:
            return pages
        assert len(pages) < 10_000, "the tip is never reached"


with report.check("CreateStream makes the stream, and it becomes ACTIVE"):
    kinesis.create_stream(StreamName=name, ShardCount=SHARDS)
    description = until("ACTIVE")
    arn = description["StreamARN"]
    assert arn.endswith(f":stream/{name}"), arn
    assert description["RetentionPeriodHours"] == 24, description

with report.check("DescribeStream lists shards that cover every hash key once"):
    shards = description["Shards"]
    assert len(shards) == SHARDS, shards
    begin = 0
    for shard in sorted(shards, key=lambda s: int(s["HashKeyRange"]["StartingHashKey"])):
        assert int(shard["HashKeyRange"]["StartingHashKey"]) == begin, shards
        begin = int(shard["HashKeyRange"]["EndingHashKey"]) + 1
    assert begin == HASH_KEYS, shards

with report.check("DescribeStream pages its shards"):
    ids, after = [], {}
    for _ in shards:
        page = kinesis.describe_stream(StreamARN=arn, Limit=1, **after)["StreamDescription"]
        ids += [shard["ShardId"] for shard in page["Shards"]]
        if not page["HasMoreShards"]:
            break
        after = {"ExclusiveStartShardId": ids[-1]}
    assert ids == [shard["ShardId"] for shard in shards], ids

with report.check("DescribeStreamSummary counts the open shards, by name, ARN or both"):
    for target in ({"StreamName": name}, {"StreamARN": arn}, {"StreamName": name, "StreamARN": arn}):
        summary = kinesis.describe_stream_summary(**target)["StreamDescriptionSummary"]
        assert summary["OpenShardCount"] == SHARDS, summary
        assert summary["StreamName"] == name, summary

with report.check("ListStreams pages through every stream"):
    others = [f"{name}-{letter}" for letter in "abc"]
    for other in others:
        kinesis.create_stream(StreamName=other, ShardCount=1)
    seen, more = [], {}
    while len(seen) < 1000:
        page = kinesis.list_streams(Limit=2, **more)
        assert len(page["StreamNames"]) <= 2, page
        seen += page["StreamNames"]
        if not page["HasMoreStreams"]:
            break
        more = {"NextToken": page["NextToken"]}
    assert seen == sorted(seen) and {name, *others} <= set(seen), seen
    after = kinesis.list_streams(ExclusiveStartStreamName=others[1])["StreamNames"]
    assert others[2] in after and others[1] not in after, after

with report.check("ListShards pages by token"):
    page = kinesis.list_shards(StreamName=name, MaxResults=2)
    ids = [shard["ShardId"] for shard in page["Shards"]]
    assert len(ids) == 2, page
    page = kinesis.list_shards(NextToken=page["NextToken"])
    ids += [shard["ShardId"] for shard in page["Shards"]]
    assert "NextToken" not in page, page
    assert ids == [shard["ShardId"] for shard in shards], ids

first = shards[0]["ShardId"]
first_hash = shards[0]["HashKeyRange"]["StartingHashKey"]

with report.check("PutRecord routes by the MD5 of the key"):
    for key in ("N14228", "unknown", "é", "x" * 256):
        digest = int.from_bytes(hashlib.md5(key.encode()).digest(), "big")
        inside = [
            shard["ShardId"]
            for shard in shards
            if int(shard["HashKeyRange"]["StartingHashKey"])
            <= digest
            <= int(shard["HashKeyRange"]["EndingHashKey"])
        ]
        put = kinesis.put_record(StreamName=name, Data=b"by key", PartitionKey=key)
        assert [put["ShardId"]] == inside, (key, put)

with report.check("PutRecord routes by ExplicitHashKey"):
    for shard in shards:
        hash_key = shard["HashKeyRange"]["EndingHashKey"]
        put = kinesis.put_record(
            StreamARN=arn, Data=b"by hash", PartitionKey="k", ExplicitHashKey=hash_key
        )
        assert put["ShardId"] == shard["ShardId"], put

with report.check("sequence numbers rise, and follow SequenceNumberForOrdering"):
    last = None
    for index in range(10):
        order = {} if last is None else {"SequenceNumberForOrdering": last}
        put = kinesis.put_record(
            StreamName=name, Data=b"%d" % index, PartitionKey="k", ExplicitHashKey=first_hash, **order
        )
        assert last is None or int(put["SequenceNumber"]) > int(last), (last, put)
        last = put["SequenceNumber"]

with report.check("data comes back byte for byte: empty, all bytes, 1 MiB less the key"):
    tail = iterator(first, "LATEST")
    blobs = [b"", bytes(range(256)) * 4, b"\x00" * (1024 * 1024 - 1)]
    for blob in blobs:
        kinesis.put_record(
            StreamName=name, Data=blob, PartitionKey="k", ExplicitHashKey=first_hash
        )
    back = [record for page in read_all(tail, 10_000) for record in page["Records"]]
    assert [record["Data"] for record in back] == blobs, [len(record["Data"]) for record in back]
    assert all(record["PartitionKey"] == "k" for record in back), back[0]

with report.check("PutRecords answers entry by entry, in order"):
    tail = iterator(first, "LATEST")
    entries = [
        {"Data": b"%d" % index, "PartitionKey": f"k{index}", "ExplicitHashKey": first_hash}
        for index in range(BATCH)
    ]
    batch_at = time.monotonic()
    answer = kinesis.put_records(StreamName=name, Records=entries)
    assert answer["FailedRecordCount"] == 0, answer["FailedRecordCount"]
    assert all("ErrorCode" not in entry for entry in answer["Records"]), answer["Records"][0]
    numbers = [entry["SequenceNumber"] for entry in answer["Records"]]
    assert len(numbers) == BATCH, len(numbers)
    assert [int(n) for n in numbers] == sorted({int(n) for n in numbers}), numbers[:3]

with report.check("GetRecords pages by Limit, in order, down to MillisBehindLatest 0"):
    pages = read_all(tail, 64)
    assert all(len(page["Records"]) <= 64 for page in pages), [len(p["Records"]) for p in pages]
    records = [record for page in pages for record in page["Records"]]
    assert [record["SequenceNumber"] for record in records] == numbers, len(records)
    assert [record["Data"] for record in records] == [b"%d" % i for i in range(BATCH)]

with report.check("MillisBehindLatest is the age of what is still unread"):
    time.sleep(max(0.0, batch_at + LAG_SECONDS - time.monotonic()))
    behind = read(tail, 1)
    assert behind["MillisBehindLatest"] >= 1000, behind["MillisBehindLatest"]

with report.check("AT_SEQUENCE_NUMBER begins at the record"):
    at = iterator(first, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[7])
    assert read(at, 1)["Records"][0]["SequenceNumber"] == numbers[7]

with report.check("AFTER_SEQUENCE_NUMBER begins behind the record"):
    after = iterator(first, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[7])
    assert read(after, 1)["Records"][0]["SequenceNumber"] == numbers[8]

with report.check("TRIM_HORIZON begins at the oldest record"):
    oldest = read(iterator(first, "TRIM_HORIZON"), 1)["Records"][0]
    assert int(oldest["SequenceNumber"]) < int(numbers[0]), oldest

with report.check("LATEST sees only what is put later"):
    tip = iterator(first, "LATEST")
    page = read(tip)
    assert page["Records"] == [] and page["MillisBehindLatest"] == 0, page
    put = kinesis.put_record(
        StreamName=name, Data=b"late", PartitionKey="k", ExplicitHashKey=first_hash
    )
    page = read(page["NextShardIterator"])
    assert [r["SequenceNumber"] for r in page["Records"]] == [put["SequenceNumber"]], page

with report.check("AT_TIMESTAMP begins at the first record of that time or later"):
    arrival = records[0]["ApproximateArrivalTimestamp"]
    found = read(iterator(first, "AT_TIMESTAMP", Timestamp=arrival), 1)["Records"][0]
    assert found["ApproximateArrivalTimestamp"] >= arrival, found
    assert int(found["SequenceNumber"]) <= int(numbers[0]), found
    future = iterator(first, "AT_TIMESTAMP", Timestamp=time.time() - 0.001)
    assert all(r["Data"] != b"0" for r in read(future)["Records"])

with report.check("a stream that is not there is ResourceNotFoundException"):
    missing = {"StreamName": f"{name}-missing"}
    for call in (kinesis.describe_stream, kinesis.describe_stream_summary, kinesis.list_shards):
        refused(errors.ResourceNotFoundException, "not found", call, **missing)
    refused(errors.ResourceNotFoundException, "not found", kinesis.delete_stream, **missing)
    refused(
        errors.ResourceNotFoundException,
        "not found",
        kinesis.put_record,
        Data=b"x",
        PartitionKey="k",
        **missing,
    )

with report.check("a stream that is there already is ResourceInUseException"):
    refused(
        errors.ResourceInUseException,
        name,
        kinesis.create_stream,
        StreamName=name,
        ShardCount=1,
    )

with report.check("more shards than the account may have is LimitExceededException"):
    refused(
        errors.LimitExceededException,
        "",
        kinesis.create_stream,
        StreamName=f"{name}-huge",
        ShardCount=100_000_000_000,
    )

with report.check("a broken constraint is ValidationException, in AWS's words"):
    refused(
        errors.ValidationException,
        "Member must have value less than or equal to 10000",
        kinesis.get_records,
        ShardIterator=tip,
        Limit=10_001,
    )
    refused(
        errors.ValidationException,
        "Member must have length greater than or equal to 1",
        kinesis.put_record,
        StreamName=name,
        Data=b"x",
        PartitionKey="",
    )

with report.check("an iterator of no one's making is InvalidArgumentException"):
    refused(errors.InvalidArgumentException, "", kinesis.get_records, ShardIterator="A" * 64)

with report.check("a sequence number of no one's making is InvalidArgumentException"):
    refused(
        errors.InvalidArgumentException,
        "",
        kinesis.get_shard_iterator,
        StreamName=name,
        ShardId=first,
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        StartingSequenceNumber="123",
    )

with report.check("DeleteStream removes the stream"):
    for stream in (name, *others):
        kinesis.delete_stream(StreamName=stream)
    deadline = time.monotonic() + 20
    while name in kinesis.list_streams()["StreamNames"]:
        assert time.monotonic() < deadline, "the stream is still listed"
        time.sleep(0.05)
    refused(
        errors.ResourceNotFoundException, "not found", kinesis.describe_stream, StreamName=name
    )

sys.exit(report.finish())
