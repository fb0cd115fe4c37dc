"""boto3 with the keys of two accounts against a server that verifies signatures.

Arguments: id, secret and account of each key. The server comes from the environment. Retries are
off, so every answer that is checked is the first one.
"""

import datetime
import os
import pathlib
import sys
import time
from unittest import mock

import boto3
import botocore.auth
import botocore.config
import botocore.exceptions

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import tap

OURS, THEIRS = sys.argv[1:4], sys.argv[4:7]
REGION = os.environ["AWS_REGION"]
report = tap.Report()


def client(key, secret, region=REGION, token=None):
    """A client with one key."""
    return boto3.client(
        "kinesis",
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=botocore.config.Config(
            retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30
        ),
    )


def refused(code, text, kinesis):
    """Asserts that ListStreams fails with one code, and what it says."""
    try:
        kinesis.list_streams()
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]
        assert found["Code"] == code and text in found["Message"], found
        return
    raise AssertionError(f"{code} was expected")


def until_active(kinesis, name):
    """Waits until the stream is ACTIVE; returns its ARN."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        if found["StreamStatus"] == "ACTIVE":
            return found["StreamARN"]
        time.sleep(0.05)
    raise AssertionError(f"{name} is {found['StreamStatus']}")


us, them = client(*OURS[:2]), client(*THEIRS[:2])

with report.check("each account makes a stream of the same name, and one of its own"):
    arns = {}
    for kinesis, (_, _, account), own in ((us, OURS, "ours"), (them, THEIRS, "theirs")):
        for name in ("shared", own):
            kinesis.create_stream(StreamName=name, ShardCount=1)
            arns[account, name] = until_active(kinesis, name)
            assert f":{account}:stream/{name}" in arns[account, name], arns

with report.check("each lists its own"):
    assert us.list_streams()["StreamNames"] == ["ours", "shared"], us.list_streams()
    assert them.list_streams()["StreamNames"] == ["shared", "theirs"], them.list_streams()

with report.check("a stream of the other account is not found, by name or ARN"):
    for kinesis, (_, _, account), name in ((us, THEIRS, "theirs"), (them, OURS, "ours")):
        for target in ({"StreamName": name}, {"StreamARN": arns[account, name]}):
            for call in (kinesis.describe_stream, kinesis.list_shards, kinesis.delete_stream):
                try:
                    call(**target)
                except kinesis.exceptions.ResourceNotFoundException:
                    continue
                raise AssertionError(f"{call.__name__} of {target} was answered")

with report.check("records of one name stay in their account, and so do iterators"):
    for kinesis, word in ((us, b"ours"), (them, b"theirs")):
        kinesis.put_record(StreamName="shared", PartitionKey="k", Data=word)
    for kinesis, other, word in ((us, them, b"ours"), (them, us, b"theirs")):
        where = {"ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
        iterator = kinesis.get_shard_iterator(StreamName="shared", **where)["ShardIterator"]
        records = kinesis.get_records(ShardIterator=iterator)["Records"]
        assert [record["Data"] for record in records] == [word], records
        try:
            other.get_records(ShardIterator=iterator)
        except other.exceptions.InvalidArgumentException:
            continue
        raise AssertionError("the other account read with it")

with report.check("wrong keys, regions, tokens and clocks have AWS's errors"):
    key, secret, _ = OURS
    invalid, unknown = "InvalidSignatureException", "UnrecognizedClientException"
    refused(unknown, "security token included", client("AKIANOBODY", secret))
    refused(invalid, "we calculated does not match", client(key, THEIRS[1]))
    refused(invalid, "valid region, not 'eu-west-3'", client(key, secret, "eu-west-3"))
    refused(unknown, "security token included", client(key, secret, token="tok"))
    for minutes, text in ((-6, "Signature expired"), (6, "Signature not yet current")):
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        with mock.patch("botocore.auth.get_current_datetime", lambda **_: now.replace(tzinfo=None)):
            refused(invalid, text, client(key, secret))

sys.exit(report.finish())
