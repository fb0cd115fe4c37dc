"""boto3 with records as the Kinesis Producer Library aggregates them, packed and unpacked by AWS's own
module: many user records in one of ours, which has to come back byte for byte.
"""

import base64
import hashlib
import pathlib
import sys
import time

import boto3
import botocore.config
from aws_kinesis_agg import MAGIC, aggregator, deaggregator

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import tap

USER_RECORDS = 1000

kinesis = boto3.client(
    "kinesis",
    config=botocore.config.Config(
        retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30
    ),
)
report = tap.Report()
name = f"aggregated-{time.time_ns()}"
users = [(f"key-{index % 50}", hashlib.sha512(b"%d" % index).digest()) for index in range(USER_RECORDS)]
packer = aggregator.RecordAggregator()
for key, data in users:
    assert packer.add_user_record(key, data, explicit_hash_key="7") is None, "more than one record"
_, hash_key, packed = packer.clear_and_get().get_contents()

with report.check("an aggregated record comes back byte for byte, by PutRecord and PutRecords"):
    kinesis.create_stream(StreamName=name, ShardCount=1)
    deadline = time.monotonic() + 20
    while kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        assert time.monotonic() < deadline, f"{name} is not active"
        time.sleep(0.05)
    assert packed[:4] == MAGIC == b"\xf3\x89\x9a\xc2", packed[:4]
    assert hashlib.md5(packed[4:-16]).digest() == packed[-16:], "the packer's own digest"
    record = {"Data": packed, "PartitionKey": "a", "ExplicitHashKey": hash_key}
    kinesis.put_record(StreamName=name, **record)
    answer = kinesis.put_records(StreamName=name, Records=[record, {"Data": b"plain", "PartitionKey": "b"}])
    assert answer["FailedRecordCount"] == 0, answer
    where = {"ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(StreamName=name, **where)["ShardIterator"]
    found = kinesis.get_records(ShardIterator=iterator)["Records"]
    assert [each["Data"] for each in found] == [packed, packed, b"plain"], len(found)

with report.check("and unpacks to its user records, in order"):
    unpacked = list(deaggregator.iter_deaggregate_records(found, data_format="Boto3"))
    read = [each["kinesis"] for each in unpacked[:-1]]
    assert [(each["partitionKey"], each["subSequenceNumber"]) for each in read] == [
        (key, index) for _ in range(2) for index, (key, _) in enumerate(users)
    ]
    assert [base64.b64decode(each["data"]) for each in read] == [data for _ in range(2) for _, data in users]
    assert len({each["sequenceNumber"] for each in read}) == 2, "one number for each put"
    kinesis.delete_stream(StreamName=name)

sys.exit(report.finish())
