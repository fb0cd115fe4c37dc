"""`make demo`: a year of flights goes into a stream and comes out again, through two SIGKILLs.

Starts the built server with the manifest `e2e/examples/flights.yaml`, puts every row with boto3, reads
every row back, and kills the server twice while PutRecords are in flight: once while loading, once
while reading. At the end every row must be there, in order per key; it may be there twice only if
a request with it got no answer. Leaves a server to play with, unless CI is set or DEMO_KEEP=0.

ROWS=20000 makes it short. PROFILE names the build (release).
"""

import fcntl
import os
import pathlib
import random
import shutil
import signal
import sys
import threading
import time

import boto3
import botocore.config

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
import bring
import flights
import loader
import reader
import server
import verdict

STREAM = "flights"
MANIFEST = HERE.parent / "examples" / "flights.yaml"
BATCH = 500
BATCH_WHILE_READING = 100
REQUESTS_AT_LEAST = 400  # a short run puts smaller batches, so that each blow finds requests left
LOADED_BEFORE_READING = 0.75
FIRST_KILL_AT = 0.4
KILLS_TRIED = 5
STEADY_SECONDS = 0.1
SETTLE_SECONDS = 5
DEADLINE_SECONDS = 1200
STOP_SECONDS = 30
PROGRESS_SECONDS = 0.2 if sys.stdout.isatty() else 2.0


class Failed(Exception):
    """The demo did not show what it should; the message says what."""


class Demo:
    """One run: a server, a ledger, and the threads that put and read."""

    def __init__(self, rows, binary, folder):
        self.rows = rows
        self.server = server.Server(binary, folder / "data", "-f", str(MANIFEST))
        self.up = threading.Event()
        self.ledger = loader.Ledger()
        self.kills = []

    def start(self):
        """Starts the server and makes the client; retries off: the demo counts every attempt."""
        seconds = self.server.start()
        self.up.set()
        environment = self.server.environment
        config = botocore.config.Config(
            retries={"total_max_attempts": 1},
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=32,
        )
        kinesis = boto3.client(
            "kinesis",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            config=config,
        )
        self.loader = loader.Loader(kinesis, STREAM, self.rows, self.ledger, self.up)
        self.reader = reader.Reader(kinesis, STREAM, self.rows, self.up)
        say(f"server ready in {seconds:.2f} s at {self.server.endpoint}")

    def acked(self) -> int:
        """Rows acknowledged so far."""
        return len(self.ledger.acked)

    def watch(self, threads, what, count, until=lambda: False):
        """Shows progress until the threads end or `until` holds."""
        total, begin, first = len(self.rows), time.monotonic(), count()
        shown = begin
        while any(thread.is_alive() for thread in threads) and not until():
            self.raise_failures()
            now = time.monotonic()
            if now - shown >= PROGRESS_SECONDS:
                rate = (count() - first) / max(now - begin, 0.001)
                share = min(count() / total, 1.0)
                progress(f"{what} {share:4.0%}  {count():,} of {total:,}  {rate:,.0f}/s")
                shown = now
            time.sleep(0.005)
        progress_end()
        self.raise_failures()

    def raise_failures(self):
        """A failure in a thread is a failure of the demo."""
        for failure in (self.loader.failure, getattr(self.reader, "failure", None)):
            if failure is not None:
                raise Failed(f"{failure!r}; the server's log ends:\n{self.server.log_tail()}")

    def strike(self, while_what, threads):
        """SIGKILLs the server while PutRecords are in flight, and starts it again. A request must
        go unanswered, else the blow is repeated."""
        for _ in range(KILLS_TRIED):
            self.wait_for_request(while_what, threads)
            time.sleep(random.uniform(0.0, 0.004))
            before = self.ledger.unanswered
            self.server.freeze()
            in_flight = self.wait_until_stuck()
            self.up.clear()
            self.server.kill()
            say(f"SIGKILL {while_what}, with {in_flight} PutRecords in flight")
            deadline = time.monotonic() + SETTLE_SECONDS
            while self.ledger.unanswered == before and time.monotonic() < deadline:
                time.sleep(0.005)
            seconds = self.server.start()
            self.kills.append(seconds)
            self.up.set()
            say(f"started again, ready in {seconds:.2f} s")
            if self.ledger.unanswered > before:
                return
            say("every request had been answered: once more")
        raise Failed(f"no request went unanswered in {KILLS_TRIED} kills")

    def wait_for_request(self, while_what, threads):
        """Waits until a PutRecords is in flight."""
        while not self.ledger.in_flight:
            if not any(thread.is_alive() for thread in threads):
                raise Failed(f"nothing was in flight {while_what}")
            time.sleep(0.0005)

    def wait_until_stuck(self) -> int:
        """Waits until the stopped server holds every loader up: answers that were on their way have
        arrived, and the next requests are sent and stay without one. Returns how many they are."""
        steady = time.monotonic()
        deadline = steady + SETTLE_SECONDS
        seen = None
        while (now := time.monotonic()) < min(steady + STEADY_SECONDS, deadline):
            with self.ledger.lock:
                state = (self.ledger.begun, self.ledger.in_flight)
            if state != seen:
                seen, steady = state, now
            time.sleep(0.005)
        return seen[1]

    def run(self):
        """Load, kill, load, read and load, kill, read."""
        total = len(self.rows)
        middle = int(total * LOADED_BEFORE_READING)
        begin = time.monotonic()
        threads = self.loader.start(0, middle, batch(total, BATCH))
        self.watch(threads, "loading", self.acked, lambda: self.acked() > total * FIRST_KILL_AT)
        self.strike("while loading", threads)
        self.watch(threads, "loading", self.acked)
        self.load_rate = self.acked() / (time.monotonic() - begin)

        begin = time.monotonic()
        readers = self.reader.start()
        self.watch(readers, "reading", self.reader.count, lambda: self.reader.count() > 0)
        threads = self.loader.start(middle, total, batch(total, BATCH_WHILE_READING))
        self.strike("while reading", threads)
        self.watch(threads, "reading", self.reader.count)
        self.reader.all_loaded.set()
        self.watch(readers, "reading", self.reader.count)
        self.read_rate = self.reader.count() / (time.monotonic() - begin)

    def report(self):
        """Judges what was read and prints the result; a fault fails the demo."""
        faults, repeats = verdict.judge(self.rows, self.ledger, self.reader.found)
        say(f"rows      {len(self.rows):,} put and read, {len(self.reader.found)} shards")
        say(f"kills     {len(self.kills)}, ready again after {max(self.kills):.2f} s at most")
        say(
            f"repeats   {repeats:,}, from {self.ledger.unanswered} requests that got no answer"
            f" ({len(self.ledger.in_doubt):,} rows in doubt)"
        )
        say(f"refused   {self.ledger.refused_entries:,} entries, sent again")
        say(f"rates     {self.load_rate:,.0f} rows/s in, {self.read_rate:,.0f} rows/s out")
        if faults:
            raise Failed("\n".join(faults))
        say("every row is there, in order per key, at its sequence number")


def batch(total: int, most: int) -> int:
    """Rows in a request."""
    return max(1, min(most, total // REQUESTS_AT_LEAST))


def say(text):
    print(text, flush=True)


def progress(text):
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="", flush=True)
    else:
        print(text, flush=True)


def progress_end():
    if sys.stdout.isatty():
        print("\r\x1b[K", end="", flush=True)


def end_earlier_server(pid_file: pathlib.Path):
    """Ends the server that an earlier demo left, if it is still there."""
    try:
        pid = int(pid_file.read_text(encoding="utf-8"))
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return
    if b"millstream\0server" not in command:
        return
    say(f"ending the server that the last demo left (process {pid})")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while pathlib.Path(f"/proc/{pid}/cmdline").exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def only_one(folder: pathlib.Path):
    """Takes the folder for this process; the returned file has to stay open."""
    lock = open(folder / "lock", "w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failed(f"another demo runs in {folder}: wait for its end") from None
    return lock


def leave(demo, folder):
    """Leaves the server running and says how to play with it."""
    exports = folder / "env"
    lines = [f"export {name}={value}\n" for name, value in demo.server.environment.items()]
    exports.write_text("".join(lines), encoding="utf-8")
    pid = demo.server.leave()
    (folder / "server.pid").write_text(f"{pid}\n", encoding="utf-8")
    aws = bring.python().with_name("aws")
    say("\nA server with the flights is left for you (the next `make demo` ends it):")
    say(f"  . {exports}")
    say(f"  {aws} kinesis describe-stream-summary --stream-name {STREAM}")
    say(f"  kill {pid}    # ends it")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"not done after {DEADLINE_SECONDS} s"))
    signal.alarm(DEADLINE_SECONDS)
    folder = bring.cache() / "demo"
    count = min(int(os.environ.get("ROWS") or flights.ROWS), flights.ROWS)
    keep = not os.environ.get("CI") and os.environ.get("DEMO_KEEP", "1") != "0"
    folder.mkdir(parents=True, exist_ok=True)
    lock = only_one(folder)
    end_earlier_server(folder / "server.pid")
    shutil.rmtree(folder / "data", ignore_errors=True)
    rows = flights.load(flights.archive(bring.cache() / "flights"), count)
    if len(rows) != count:
        raise Failed(f"{len(rows):,} rows in the package, not {count:,}")
    say(f"{count:,} flights of 2013, {len({key for key, _ in rows}):,} keys")
    demo = Demo(rows, server.built(os.environ.get("PROFILE") or "release"), folder)
    demo.start()
    demo.run()
    demo.report()
    if keep:
        leave(demo, folder)
    elif demo.server.stop() != 0:
        raise Failed(f"the server did not drain:\n{demo.server.log_tail()}")
    lock.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, server.NotReady) as error:
        sys.exit(f"the demo failed: {error}")
