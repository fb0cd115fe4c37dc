"""Puts the rows, in order per key, through crashes.

Each worker owns the keys that hash to it and has one request in flight, so the rows of a key are
never in two requests at once. A request that got no answer is sent again as it was: its rows may
then be there twice, and the ledger remembers which.
"""

import collections
import contextlib
import threading
import time
import zlib

import botocore.exceptions

WORKERS = 4
RETRY_SECONDS = 0.05
GIVE_UP_SECONDS = 120


class Ledger:
    """What the loader knows; every field is guarded by `lock`."""

    def __init__(self):
        self.lock = threading.Lock()
        self.acked = collections.defaultdict(list)
        self.in_doubt = set()
        self.sent_again = set()
        self.begun = 0
        self.in_flight = 0
        self.unanswered = 0
        self.refused_entries = 0


class Loader:
    """Puts rows `begin..end` from several threads."""

    def __init__(self, kinesis, stream, rows, ledger, up):
        self.kinesis, self.stream, self.rows = kinesis, stream, rows
        self.ledger, self.up = ledger, up
        self.failure = None

    def start(self, begin: int, end: int, batch: int) -> list:
        """Starts the workers on a range of rows; returns their threads."""
        lanes = [[] for _ in range(WORKERS)]
        for number in range(begin, end):
            lanes[zlib.crc32(self.rows[number][0].encode()) % WORKERS].append(number)
        threads = [threading.Thread(target=self._work, args=(lane, batch)) for lane in lanes]
        for thread in threads:
            thread.daemon = True
            thread.start()
        return threads

    def _work(self, numbers, batch):
        try:
            for begin in range(0, len(numbers), batch):
                self._put(numbers[begin : begin + batch])
        except Exception as error:  # told by the main thread
            self.failure = error

    def _put(self, numbers):
        """Puts one batch until every row of it is acknowledged."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while numbers:
            if time.monotonic() > deadline:
                raise TimeoutError(f"row {numbers[0]} was not taken in {GIVE_UP_SECONDS} s")
            self.up.wait(timeout=1)
            try:
                answer = self._request(numbers)
            except botocore.exceptions.ConnectionError:
                time.sleep(RETRY_SECONDS)  # no connection: nothing was sent
            except botocore.exceptions.HTTPClientError:
                self._no_answer(numbers)
            except botocore.exceptions.ClientError as error:
                # A throttled request was not taken; after any other failure it may have been.
                if "ProvisionedThroughputExceeded" not in error.response["Error"]["Code"]:
                    self._no_answer(numbers)
                time.sleep(RETRY_SECONDS)
            else:
                numbers = self._settle(numbers, answer["Records"])

    def _request(self, numbers):
        records = [
            {"Data": self.rows[number][1], "PartitionKey": self.rows[number][0]}
            for number in numbers
        ]
        with self._counted():
            return self.kinesis.put_records(StreamName=self.stream, Records=records)

    @contextlib.contextmanager
    def _counted(self):
        with self.ledger.lock:
            self.ledger.begun += 1
            self.ledger.in_flight += 1
        try:
            yield
        finally:
            with self.ledger.lock:
                self.ledger.in_flight -= 1

    def _no_answer(self, numbers):
        with self.ledger.lock:
            self.ledger.unanswered += 1
            self.ledger.in_doubt.update(numbers)

    def _settle(self, numbers, entries) -> list:
        """Notes what was taken; returns what to send again: of each key, from its first failed
        entry on."""
        failed_keys, again = set(), []
        with self.ledger.lock:
            for number, entry in zip(numbers, entries):
                key = self.rows[number][0]
                if "ErrorCode" in entry:
                    failed_keys.add(key)
                    self.ledger.refused_entries += 1
                    if entry["ErrorCode"] != "ProvisionedThroughputExceededException":
                        self.ledger.in_doubt.add(number)
                else:
                    self.ledger.acked[number].append((entry["ShardId"], entry["SequenceNumber"]))
                    if key in failed_keys:
                        self.ledger.sent_again.add(number)
                if key in failed_keys:
                    again.append(number)
        if again:
            time.sleep(RETRY_SECONDS)
        return again
