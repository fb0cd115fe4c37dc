"""Measures other servers of the same kind beside ours, in one run, all on loopback.

Each round every server gets its turn: it is started afresh, loaded by `millstream bench --against`
(the same client, the same requests), and ended by its process id. Redis speaks another protocol, so
its own load generator is used: unpipelined XADD of 1 KiB, 64 connections.

What is measured is brought into the cache once and is never part of the repository. A server that
cannot be brought is named with the reason, and the exit code is 1.

Figures of a machine that does other work as well say nothing: before each round its processors are
watched, and if they are busy the run ends with code 3 and keeps nothing (`--busy` measures anyway;
how busy they were stands in the result).
"""

import argparse
import csv
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import bring
import server

FERROKINESIS = "0.7.0"
NPM_PACKAGES = ["kinesalite@3.3.3", "kinesis-local@0.6.2"]
DEBIAN_PACKAGES = [
    "redis-server",
    "redis-tools",
    "libjemalloc2",
    "liblzf1",
    "liblua5.1-0",
    "lua-cjson",
    "lua-bitop",
    "libatomic1",
]
BUILD_SECONDS = 1800
START_SECONDS = 60
STOP_SECONDS = 20
BENCH_SECONDS = 600
RECORD_BYTES = 1024
# How long the processors are watched before a round, and how busy they may be.
WATCH_SECONDS = 3
BUSY_SHARE_MAX = 0.1
BUSY_EXIT_CODE = 3
SINGLE, BATCH = "64-in-flight", "16x100-records"
OURS = "millstream"
# (name in the result, scenario, peer, times that ours is to be as fast)
FLOORS = [
    ("batch_vs_ferrokinesis", BATCH, "ferrokinesis, in memory", 3),
    ("batch_vs_ferrokinesis_durable", BATCH, "ferrokinesis, durable", 100),
    ("batch_vs_kinesalite", BATCH, "kinesalite", 10),
    ("batch_vs_kinesis_mock", BATCH, "kinesis-local", 10),
    ("batch_vs_redis", "redis", "redis, fsync always", 3),
    ("put_vs_ferrokinesis", SINGLE, "ferrokinesis, in memory", 1),
    ("put_vs_redis", "redis", "redis, fsync always", 0.5),
]


class Busy(Exception):
    """The machine does other work; the message says how much and what to do."""


def busy_share(before: str, after: str) -> float:
    """Which part of their time the processors worked between two readings of /proc/stat."""
    first, second = ([int(field) for field in text.split("\n", 1)[0].split()[1:9]] for text in (before, after))
    spent = [later - earlier for earlier, later in zip(first, second, strict=True)]
    idle = spent[3] + spent[4]  # and waiting for a disk
    return 1 - idle / max(sum(spent), 1)


def watch(allowed: bool) -> float:
    """How busy the machine is while we do nothing; too busy is an error unless it is allowed."""
    stat = pathlib.Path("/proc/stat")
    before = stat.read_text()
    time.sleep(WATCH_SECONDS)
    share = busy_share(before, stat.read_text())
    if share > BUSY_SHARE_MAX:
        text = f"the machine is busy: its processors worked {share:.0%} of {WATCH_SECONDS} s without us"
        load = " ".join(f"{value:.1f}" for value in os.getloadavg())
        if not allowed:
            most = f"at most {BUSY_SHARE_MAX:.0%} is taken; end the other work, or say --busy"
            raise Busy(f"{text} (load {load}); {most}")
        print(f"{text} (load {load}): the figures will be noise", file=sys.stderr, flush=True)
    return share


class Peer:
    """A server: how to start it, and where it listens."""

    def __init__(self, name, command, port, environment=None, cwd=None):
        self.name, self.command, self.port = name, command, port
        self.environment, self.cwd = environment or {}, cwd
        self.process = None

    def start(self, folder: pathlib.Path) -> int:
        """Starts it with `folder` for its data, waits until it listens, returns its process id."""
        command = [str(part).replace("{data}", str(folder)) for part in self.command]
        with open(folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.cwd or folder,
                env={**os.environ, **self.environment},
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    time.sleep(0.5)
                    return self.process.pid
            time.sleep(0.1)
        self.stop()
        tail = (folder / "log").read_text(errors="replace").splitlines()[-3:]
        raise bring.Missing(f"{self.name} did not start: {' / '.join(tail)}")

    def stop(self) -> None:
        """Ends it, by its id."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.process = None

    def measure(self, binary, pid, seconds, folder) -> list:
        """One round: the runs as `millstream bench` reports them."""
        command = [str(binary), "bench", "--json", "--rounds", "1", "--seconds", str(seconds)]
        target = ["--against", f"http://127.0.0.1:{self.port}", "--server-pid", str(pid)]
        done = subprocess.run(
            [*command, *target, "--dir", str(folder)],
            check=True,
            stdout=subprocess.PIPE,
            timeout=BENCH_SECONDS,
        )
        report = json.loads(done.stdout)
        reads = report["ratios"]["getrecords_mb_s"]
        return report["machine"], [*report["runs"], {"name": "getrecords", "mb_per_s": reads}]


class Redis(Peer):
    """Redis, loaded by its own load generator."""

    def __init__(self, tools: dict, port: int):
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        listen = ["--bind", "127.0.0.1", "--port", str(port), "--dir", "{data}"]
        command = [tools["redis-server"], *listen, *durable]
        super().__init__("redis, fsync always", command, port, tools["environment"])
        self.load = tools["redis-benchmark"]

    def measure(self, binary, pid, seconds, folder) -> list:
        rate = self._run(5000)["rps"]
        requests = max(5000, int(rate * seconds))
        before, begun = _cpu_seconds(pid), time.monotonic()
        found = self._run(requests)
        cpu = _cpu_seconds(pid) - before
        run = {
            "name": "redis",
            "in_flight": 64,
            "batch": 1,
            "records_per_s": found["rps"],
            "mb_per_s": found["rps"] * RECORD_BYTES / 1e6,
            "ack_us": {"p50": found["p50_latency_ms"] * 1e3, "p99": found["p99_latency_ms"] * 1e3},
            "server_cpu_s_per_gb": cpu / (requests * RECORD_BYTES) * 1e9,
            "seconds": time.monotonic() - begun,
        }
        return None, [run]

    def _run(self, requests: int) -> dict:
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-c", "64", "-P", "1", "--csv"]
        put = ["XADD", "stream:__rand_int__", "*", "data", "x" * RECORD_BYTES]
        done = subprocess.run(
            [str(self.load), *where, "-n", str(requests), "-r", "64", *put],
            check=True,
            capture_output=True,
            text=True,
            timeout=BENCH_SECONDS,
            env={**os.environ, **self.environment},
        )
        names, values = list(csv.reader(done.stdout.strip().splitlines()))[-2:]
        pairs = zip(names[1:], values[-len(names) + 1 :], strict=True)
        return {name: float(value) for name, value in pairs}


def _cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ferrokinesis() -> pathlib.Path:
    """The crate's program, built once."""
    folder = bring.cache() / f"peers-ferrokinesis-{FERROKINESIS}"

    def fill():
        install = ["cargo", "install", "--quiet", "--locked", "--version", FERROKINESIS]
        target = ["--root", str(folder), "--target-dir", str(folder / "target")]
        command = [*install, *target, "ferrokinesis"]
        subprocess.run(command, check=True, stdout=sys.stderr, timeout=BUILD_SECONDS)
        shutil.rmtree(folder / "target")

    bring.once(folder, fill)
    return folder / "bin" / "ferrokinesis"


def npm_peers() -> tuple:
    """Node.js, and the folder with the npm packages."""
    node, npm = bring.node()
    folder = bring.cache() / f"peers-npm-{bring.digest(' '.join(NPM_PACKAGES).encode())}"

    def fill():
        install = [*npm, "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        bring.run([*install, "--loglevel=error", *NPM_PACKAGES], cwd=folder)

    bring.once(folder, fill)
    return node, folder / "node_modules"


def redis_tools() -> dict:
    """Redis of the machine, or Debian's packages unpacked into the cache."""
    names = ("redis-server", "redis-benchmark")
    found = {name: shutil.which(name) for name in names}
    if all(found.values()):
        return {**found, "environment": {}}
    if not shutil.which("apt-get"):
        raise bring.Missing("Redis: install redis-server and redis-benchmark")
    folder = bring.cache() / "peers-redis"

    def fill():
        bring.run(["apt-get", "download", "--quiet=2", *DEBIAN_PACKAGES], cwd=folder)
        for package in sorted(folder.glob("*.deb")):
            bring.run(["dpkg-deb", "--extract", str(package), str(folder)])

    bring.once(folder, fill)
    libraries = [str(path) for path in folder.glob("usr/lib/*-linux-*")]
    environment = {"LD_LIBRARY_PATH": os.pathsep.join(libraries)}
    return {**{name: folder / "usr/bin" / name for name in names}, "environment": environment}


def peers(binary) -> tuple:
    """The servers, and the reasons why others are missing."""
    port = _port()
    found = [Peer(OURS, [binary, "server", "--data-dir", "{data}/d", *_listen(port)], port)]
    missing = []

    def add(make):
        try:
            found.extend(make())
        except (bring.Missing, subprocess.SubprocessError, OSError) as error:
            missing.append(f"{make.__name__}: {error}")

    def ferro():
        program, limit = ferrokinesis(), ["--shard-limit", "100"]
        quick = ["--create-stream-ms", "0", "--delete-stream-ms", "0"]
        memory, durable = _port(), _port()
        quiet = ["--log-level", "error", "--access-log", "false"]
        base = [program, "serve", *limit, *quick, *quiet, "--port"]
        return [
            Peer("ferrokinesis, in memory", [*base, str(memory)], memory),
            Peer(
                "ferrokinesis, durable",
                [*base, str(durable), "--state-dir", "{data}/d"],
                durable,
            ),
        ]

    def npm():
        node, modules = npm_peers()
        lite, mock, tls = _port(), _port(), _port()
        quick = ["--createStreamMs", "0", "--deleteStreamMs", "0", "--shardLimit", "100"]
        environment = {
            "SHARD_LIMIT": "100",
            "CREATE_STREAM_DURATION": "0ms",
            "DELETE_STREAM_DURATION": "0ms",
            "KINESIS_MOCK_TLS_PORT": str(tls),
            "KINESIS_MOCK_PLAIN_PORT": str(mock),
            "LOG_LEVEL": "ERROR",
        }
        # starts only from its own folder
        folder = modules / "kinesis-local"
        return [
            Peer(
                "kinesalite",
                [*node, modules / "kinesalite/cli.js", "--port", str(lite), *quick],
                lite,
            ),
            Peer("kinesis-local", [*node, "main.js"], mock, environment, folder),
        ]

    def redis():
        return [Redis(redis_tools(), _port())]

    for make in (ferro, npm, redis):
        add(make)
    return found, missing


def _listen(port: int) -> list:
    return ["--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{_port()}"]


def run(binary, rounds, seconds, folder, busy_allowed) -> dict:
    """All rounds; `samples[peer][run]` is a list with one entry for each round."""
    found, missing = peers(binary)
    samples, machine, busy = {}, None, []
    for number in range(rounds):
        busy.append(round(watch(busy_allowed), 3))
        for peer in list(found):
            data = folder / f"{number}-{found.index(peer)}"
            data.mkdir()
            print(f"round {number + 1}: {peer.name}", file=sys.stderr, flush=True)
            try:
                pid = peer.start(data)
                seen, runs = peer.measure(binary, pid, seconds, data)
                machine = machine or seen
                for one in runs:
                    samples.setdefault(peer.name, {}).setdefault(one["name"], []).append(one)
            except (bring.Missing, subprocess.SubprocessError, OSError, ValueError) as error:
                missing.append(f"{peer.name}: {error}")
                found.remove(peer)
            finally:
                peer.stop()
                shutil.rmtree(data, ignore_errors=True)
    found = {"machine": machine, "rounds": rounds, "busy_before_round": busy}
    return {**found, "samples": samples, "missing": missing}


def summary(measured: dict) -> dict:
    """Medians and spreads, and how often as fast ours is."""
    rows = []
    for peer, runs in measured["samples"].items():
        for name, rounds in runs.items():
            row = {"peer": peer, "name": name}
            for key in ("records_per_s", "mb_per_s", "server_cpu_s_per_gb"):
                values = [one[key] for one in rounds if one.get(key) is not None]
                if values:
                    row[key] = statistics.median(values)
                    row[f"{key}_spread"] = [min(values), max(values)]
            for key in ("p50", "p99"):
                values = [one["ack_us"][key] for one in rounds if "ack_us" in one]
                if values:
                    row.setdefault("ack_us", {})[key] = statistics.median(values)
            rows.append(row)
    rates = {(row["peer"], row["name"]): row.get("records_per_s") for row in rows}
    ratios = {}
    for key, scenario, peer, floor in FLOORS:
        ours = rates.get((OURS, SINGLE if key.startswith("put") else BATCH))
        theirs = rates.get((peer, scenario))
        value = ours / theirs if ours and theirs else None
        ratios[key] = {"value": value, "floor": floor}
    kept = {key: measured[key] for key in ("machine", "rounds", "busy_before_round", "missing")}
    return {**kept, "runs": rows, "ratios": ratios}


def table(result: dict) -> str:
    """The same for a person."""
    lines = [
        f"{'server':<26}{'run':<18}{'records/s':>12}{'MB/s':>9}{'p50 us':>11}{'p99 us':>11}"
        f"{'CPU-s/GB':>10}"
    ]
    for row in result["runs"]:
        acks = row.get("ack_us", {})
        cells = [row.get("records_per_s"), row.get("mb_per_s"), acks.get("p50"), acks.get("p99")]
        cells.append(row.get("server_cpu_s_per_gb"))
        shown = [
            f"{_figure(cell):>{width}}" for cell, width in zip(cells, (12, 9, 11, 11, 10), strict=True)
        ]
        lines.append(f"{row['peer']:<26}{row['name']:<18}{''.join(shown)}")
    lines.append("")
    for name, ratio in result["ratios"].items():
        value, floor = ratio["value"], ratio["floor"]
        verdict = "not run" if value is None else "reached" if value >= floor else "MISSED"
        lines.append(f"{name:<32}{_figure(value):>9} x   floor {floor:>5} x   {verdict}")
    lines.extend(f"missing: {reason}" for reason in result["missing"])
    return "\n".join(lines) + "\n"


def _figure(value) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=pathlib.Path, default=server.built("release"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--dir", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--out", type=pathlib.Path, help="write the JSON here, the table beside it")
    parser.add_argument("--busy", action="store_true", help="measure although the machine is busy")
    options = parser.parse_args()
    binary = options.binary.resolve()
    with tempfile.TemporaryDirectory(prefix="millstream-peers-", dir=options.dir) as folder:
        where = pathlib.Path(folder).resolve()
        try:
            measured = run(binary, options.rounds, options.seconds, where, options.busy)
        except Busy as busy:
            print(busy, file=sys.stderr)
            return BUSY_EXIT_CODE
    result = summary(measured)
    shown = table(result)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
        options.out.with_suffix(".txt").write_text(shown)
    print(shown, end="")
    return 1 if result["missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
