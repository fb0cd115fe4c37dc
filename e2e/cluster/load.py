"""Real clients that write and read while a scenario breaks things, and what they saw.

`Load` writes with retries off and logs a history, which the checker of the simulation judges (`history`
in e2e/src): nothing acknowledged may be lost, doubled or out of order. `Steady` is ordinary SDK
clients with their default retries: none of their calls may fail in the end. Both count by phase. Everything
is bounded: rates, sizes, time-outs, and the wait for the end.
"""

import collections
import itertools
import json
import os
import pathlib
import random
import subprocess
import threading
import time
import zlib

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from machine import Failed, until

REGION = "us-east-1"
WRITERS = 4
STEADY_CLIENTS = 6
# Instead of a number of attempts: what an ordinary client does, three of them within 0.2 s.
SDK_DEFAULT = 0
BATCH_MAX = 5
PAUSE_SECONDS = 0.02
PAYLOAD_MAX_BYTES = 1024
READ_LIMIT = 1000
READ_PAUSE_SECONDS = 0.2
AFTER_FAILURE_SECONDS = 0.05
KNOWN_SECONDS = 20
FINAL_READ_SECONDS = 120
JUDGE_SECONDS = 120
WRONG = (BotoCoreError, ClientError)
# What happens to a stream happens during the second; each must have acknowledged records.
PHASES = ("before", "during", "after")


def client(endpoint: str, key: tuple, attempts: int, ca=None, patience=15):
    """A Kinesis client of boto3; `key` is (access key id, secret), `ca` whom it trusts over TLS. Each
    call is tried so many times, or as the SDK does by default."""
    settings = {"retries": {"total_max_attempts": attempts}} if attempts else {}
    return boto3.client(
        "kinesis", endpoint_url=endpoint, region_name=REGION,
        aws_access_key_id=key[0], aws_secret_access_key=key[1],
        verify=str(ca) if ca else None,
        config=Config(connect_timeout=3, read_timeout=patience, max_pool_connections=16, **settings),
    )


def payload(number: int, dice: random.Random) -> bytes:
    """Bytes that say which record they are and whether they are whole."""
    body = f"{number} ".encode() + dice.randbytes(dice.randrange(PAYLOAD_MAX_BYTES))
    return f"{zlib.crc32(body):08x} ".encode() + body


def number_of(data: bytes):
    """The number of a payload; None if it is damaged."""
    try:
        sum_text, body = data[:8], data[9:]
        return int(body.split(b" ", 1)[0]) if int(sum_text, 16) == zlib.crc32(body) else None
    except ValueError:
        return None


def why(error: Exception) -> str:
    """One word for a failed call."""
    if isinstance(error, ClientError):
        return error.response.get("Error", {}).get("Code", "?")
    return type(error).__name__


def shards(kinesis, stream: str) -> list:
    """(shard id, a hash key of it) of a stream, by index."""
    begin = time.monotonic()
    while True:
        try:
            listed = kinesis.list_shards(StreamName=stream)["Shards"]
            break
        except WRONG as error:
            # Gateways learn of a stream a little after its object is Ready.
            waited = time.monotonic() - begin
            if waited > KNOWN_SECONDS or why(error) != "ResourceNotFoundException":
                raise
            time.sleep(0.1)
    middle = [(s["ShardId"], (int(s["HashKeyRange"]["StartingHashKey"])
                              + int(s["HashKeyRange"]["EndingHashKey"])) // 2) for s in listed]
    return sorted(middle)


class Phases:
    """Counts by phase, and how long each shard went without an acknowledgement."""

    def __init__(self):
        self.lock = threading.Lock()
        self.name = PHASES[0]
        self.acked = collections.Counter()
        self.failed = collections.defaultdict(collections.Counter)
        self.last = {}
        self.longest_pause = collections.defaultdict(float)

    def enter(self, name: str) -> None:
        with self.lock:
            self.name = name

    def count_acked(self, shard: int) -> None:
        now = time.monotonic()
        with self.lock:
            self.acked[self.name] += 1
            pause = now - self.last.get(shard, now)
            self.longest_pause[shard] = max(self.longest_pause[shard], pause)
            self.last[shard] = now

    def count_failed(self, word: str) -> None:
        with self.lock:
            self.failed[self.name][word] += 1

    def total(self, name: str) -> int:
        with self.lock:
            return self.acked[name]

    def line(self) -> str:
        """For people: acknowledged and failed by phase, and the longest pause of a shard."""
        with self.lock:
            phases = [f"{name} {count}" for name, count in self.acked.items()]
            failed = [f"{name} {dict(words)}" for name, words in self.failed.items()]
            pause = max(self.longest_pause.values(), default=0.0)
        said = f"acked: {', '.join(phases) or 'nothing'}; longest pause of a shard {pause:.1f} s"
        return said + (f"; not acked: {', '.join(failed)}" if failed else "")


class Load:
    """Writers and a reader on one stream; the client is one without retries."""

    def __init__(self, kinesis, stream: str, folder: pathlib.Path):
        self.kinesis, self.stream = kinesis, stream
        self.history = pathlib.Path(folder) / f"{stream}.history"
        self.log = open(self.history, "w", encoding="ascii")
        self.log_lock = threading.Lock()
        self.phases = Phases()
        self.stopping = threading.Event()
        self.next_number = 1
        self.wrong = None
        self.threads = []
        self.shards = shards(kinesis, stream)

    def start(self) -> "Load":
        parts = [(self._write, number) for number in range(WRITERS)] + [(self._follow, 0)]
        for part, number in parts:
            thread = threading.Thread(target=self._guarded, args=(part, number), daemon=True)
            self.threads.append(thread)
            thread.start()
        return self

    def _guarded(self, part, number: int) -> None:
        try:
            part(number)
        except Exception as error:  # a thread that ends quietly would look like a quiet server
            self.wrong = self.wrong or f"{part.__name__}: {type(error).__name__}: {error}"

    def note(self, **event) -> None:
        line = json.dumps(event, separators=(",", ":")) + "\n"
        with self.log_lock:
            self.log.write(line)

    def _begin(self, shard: int) -> int:
        with self.log_lock:
            number = self.next_number
            self.next_number += 1
            self.log.write(f'{{"begin":{{"id":{number},"shard":{shard}}}}}\n')
        return number

    def _write(self, writer: int) -> None:
        dice = random.Random(1000 + writer)
        while not self.stopping.is_set():
            shards = [dice.randrange(len(self.shards)) for _ in range(dice.randint(1, BATCH_MAX))]
            numbers = [self._begin(shard) for shard in shards]
            records = [{
                "Data": payload(number, dice),
                "PartitionKey": f"key-{number % 997}",
                "ExplicitHashKey": str(self.shards[shard][1]),
            } for number, shard in zip(numbers, shards)]
            try:
                answer = self.kinesis.put_records(StreamName=self.stream, Records=records)
            except WRONG as error:
                self.phases.count_failed(why(error))
                time.sleep(AFTER_FAILURE_SECONDS)
                continue
            for number, shard, entry in zip(numbers, shards, answer["Records"], strict=True):
                if "SequenceNumber" in entry:
                    self.note(acked={"id": number, "number": entry["SequenceNumber"]})
                    self.phases.count_acked(shard)
                else:
                    self.phases.count_failed(entry.get("ErrorCode", "?"))
            time.sleep(PAUSE_SECONDS)

    def _follow(self, _number: int) -> None:
        places = {}
        for shard in range(len(self.shards)):
            self.note(reader={"reader": shard, "shard": shard})
        while not self.stopping.is_set():
            for shard in range(len(self.shards)):
                try:
                    self._read(shard, shard, places)
                except WRONG as error:
                    self.phases.count_failed(f"read {why(error)}")
            self.stopping.wait(READ_PAUSE_SECONDS)

    def _read(self, reader: int, shard: int, places: dict) -> bool:
        """One read from where the reader is; true at the shard's end."""
        if reader in places:
            start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                     "StartingSequenceNumber": places[reader]}
        else:
            start = {"ShardIteratorType": "TRIM_HORIZON"}
        name = self.shards[shard][0]
        iterator = self.kinesis.get_shard_iterator(
            StreamName=self.stream, ShardId=name, **start)["ShardIterator"]
        self.note(reading={"reader": reader})
        page = self.kinesis.get_records(ShardIterator=iterator, Limit=READ_LIMIT)
        records = [[r["SequenceNumber"], number_of(r["Data"])] for r in page["Records"]]
        end = not records and page["MillisBehindLatest"] == 0
        self.note(saw={"reader": reader, "records": records, "end": end})
        if records:
            places[reader] = records[-1][0]
        return end

    def wait_acked(self, phase: str, least: int, seconds: float) -> float:
        """Waits until a phase has that many acknowledgements; the seconds that it took."""
        begin = time.monotonic()
        while self.phases.total(phase) < least:
            if self.wrong:
                raise AssertionError(self.wrong)
            if time.monotonic() - begin > seconds:
                raise AssertionError(f"{self.stream}: fewer than {least} records acknowledged "
                                     f"{phase} the fault in {seconds:.0f} s: {self.phases.line()}")
            time.sleep(0.05)
        return time.monotonic() - begin

    def wait_all_shards(self, seconds: float) -> None:
        """Waits until every shard has taken a record from now on."""
        since = time.monotonic()
        away = set(range(len(self.shards)))

        def all_back():
            away.difference_update(s for s in list(away) if self.phases.last.get(s, 0) > since)
            return not away

        assert until(all_back, seconds), f"no record for shards {sorted(away)} in {seconds} s"

    def stop(self) -> None:
        """Ends writers and reader."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(30)
        if any(thread.is_alive() for thread in self.threads):
            self.wrong = self.wrong or "a client did not end in 30 s"

    def verdict(self) -> dict:
        """Stops, reads every shard whole, and has the history judged."""
        self.stop()
        end = time.monotonic() + FINAL_READ_SECONDS
        places = {}
        for shard in range(len(self.shards)):
            reader = len(self.shards) + shard
            self.note(reader={"reader": reader, "shard": shard})
            at_end = False
            while not at_end:
                if time.monotonic() > end:
                    raise AssertionError(f"shard {shard} was not read in {FINAL_READ_SECONDS} s")
                try:
                    at_end = self._read(reader, shard, places)
                except WRONG:
                    time.sleep(READ_PAUSE_SECONDS)
        self.log.close()
        if self.wrong:
            raise AssertionError(self.wrong)
        return judge(self.history)


def judge(history: pathlib.Path) -> dict:
    """What the checker says of a history."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    built = os.environ.get("CARGO_TARGET_DIR") or pathlib.Path(cache) / "millstream" / "target"
    program = pathlib.Path(built) / "debug" / "history"
    if not program.exists():
        raise Failed(f"no program {program}: cargo build -p millstream-e2e --bin history")
    with open(history, "rb") as lines:
        done = subprocess.run([program], stdin=lines, capture_output=True, timeout=JUDGE_SECONDS)
    if not done.stdout.strip():
        raise AssertionError(f"{history}: {done.stderr.decode().strip()}")
    verdict = json.loads(done.stdout)
    if done.returncode != 0:
        raise AssertionError(f"{history}: {verdict}")
    return verdict


class Steady:
    """Ordinary clients with retries of the SDK, each with a connection of its own, so that every gateway
    has some of them: no call may fail in the end."""

    def __init__(self, clients: list, stream: str):
        self.clients, self.stream = clients, stream
        self.numbers = itertools.count(1)
        self.sent = []
        self.failed = collections.Counter()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(kinesis,), daemon=True)
                        for kinesis in clients]

    def start(self) -> "Steady":
        for thread in self.threads:
            thread.start()
        return self

    def _run(self, kinesis) -> None:
        while not self.stopping.is_set():
            number = next(self.numbers)
            data = payload(number, random.Random(number))
            try:
                kinesis.put_record(StreamName=self.stream, Data=data, PartitionKey=str(number))
            except WRONG as error:
                self.failed[why(error)] += 1
            else:
                self.sent.append(number)
            time.sleep(PAUSE_SECONDS * len(self.clients))

    def stop(self) -> None:
        """Ends after the calls that are under way."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)

    def verdict(self) -> int:
        """Checks what it did until it was stopped: no call failed, and every record is there. How
        many there were."""
        if self.failed:
            raise AssertionError(f"{self.stream}: calls failed after the SDK's retries: "
                                 f"{dict(self.failed)}, {len(self.sent)} did not")
        missing = set(self.sent) - self._read()
        if missing or not self.sent:
            raise AssertionError(f"{self.stream}: {len(missing)} of {len(self.sent)} are missing")
        return len(self.sent)

    def _read(self) -> set:
        seen = set()
        end = time.monotonic() + FINAL_READ_SECONDS
        kinesis = self.clients[0]
        for shard in kinesis.list_shards(StreamName=self.stream)["Shards"]:
            iterator = kinesis.get_shard_iterator(
                StreamName=self.stream, ShardId=shard["ShardId"],
                ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
            while time.monotonic() < end:
                page = kinesis.get_records(ShardIterator=iterator, Limit=READ_LIMIT)
                seen.update(number_of(record["Data"]) for record in page["Records"])
                if not page["Records"] and page["MillisBehindLatest"] == 0:
                    break
                iterator = page["NextShardIterator"]
        return seen
