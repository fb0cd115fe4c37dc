"""Reads every shard from its oldest record to the tip, through crashes."""

import json
import threading
import time

import botocore.exceptions

LIMIT = 2_000
IDLE_SECONDS = 0.02
RETRY_SECONDS = 0.05
GIVE_UP_SECONDS = 120


class Reader:
    """One thread per shard; `found` holds (row, sequence number, data is intact) in read order."""

    def __init__(self, kinesis, stream, rows, up):
        self.kinesis, self.stream, self.rows, self.up = kinesis, stream, rows, up
        self.all_loaded = threading.Event()
        self.found = {}
        self.interrupted = 0
        self.failure = None

    def count(self) -> int:
        """Records read so far."""
        return sum(len(records) for records in self.found.values())

    def start(self) -> list:
        """Starts a thread for each shard; returns them."""
        shards = self.kinesis.list_shards(StreamName=self.stream)["Shards"]
        self.found = {shard["ShardId"]: [] for shard in shards}
        threads = [
            threading.Thread(target=self._work, args=(shard,), daemon=True) for shard in self.found
        ]
        for thread in threads:
            thread.start()
        return threads

    def _work(self, shard):
        try:
            self._read(shard)
        except Exception as error:  # told by the main thread
            self.failure = error

    def _read(self, shard):
        found, position = self.found[shard], None
        last_answer = time.monotonic()
        while True:
            if time.monotonic() > last_answer + GIVE_UP_SECONDS:
                raise TimeoutError(f"{shard} could not be read for {GIVE_UP_SECONDS} s")
            self.up.wait(timeout=1)
            # Asked before the read: what was loaded by then is in this page or in a later one.
            all_loaded = self.all_loaded.is_set()
            try:
                position = position or self._position(shard, found)
                page = self.kinesis.get_records(ShardIterator=position, Limit=LIMIT)
            except (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError):
                self.interrupted += 1
                position = None
                time.sleep(RETRY_SECONDS)
                continue
            except botocore.exceptions.ClientError as error:
                if "ProvisionedThroughputExceeded" not in error.response["Error"]["Code"]:
                    raise
                time.sleep(RETRY_SECONDS)
                continue
            last_answer = time.monotonic()
            for record in page["Records"]:
                number = json.loads(record["Data"])["row"]
                whole = self.rows[number] == (record["PartitionKey"], record["Data"])
                found.append((number, record["SequenceNumber"], whole))
            position = page["NextShardIterator"]
            if not page["Records"]:
                if all_loaded and page["MillisBehindLatest"] == 0:
                    return
                time.sleep(IDLE_SECONDS)

    def _position(self, shard, found) -> str:
        """An iterator behind the last record that was read."""
        where = {"ShardIteratorType": "TRIM_HORIZON"}
        if found:
            where = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": found[-1][1],
            }
        answer = self.kinesis.get_shard_iterator(StreamName=self.stream, ShardId=shard, **where)
        return answer["ShardIterator"]
