"""Runs the built `millstream` for a script: start, wait until ready, kill, start again, read metrics.

Only what every script needs. A server listens on loopback, on ports that were free a moment ago and
stay the same over restarts, and never outlives its script.
"""

import atexit
import os
import pathlib
import queue
import re
import shlex
import signal
import socket
import subprocess
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
READY_SECONDS = 60
STOP_SECONDS = 40
LAST_EXPORT = "AWS_DEFAULT_REGION"


class NotReady(Exception):
    """The server ended, or said nothing in time; the message holds the end of its log."""


def built(profile: str) -> pathlib.Path:
    """Where cargo leaves the program."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    target = os.environ.get("CARGO_TARGET_DIR") or pathlib.Path(cache) / "millstream" / "target"
    folder = "debug" if profile == "dev" else profile
    return pathlib.Path(target) / folder / "millstream"


class Server:
    """One server process at a time, over one data directory."""

    def __init__(self, binary, data_dir, *args, log=None):
        self.binary = pathlib.Path(binary)
        self.data_dir = pathlib.Path(data_dir)
        self.log = pathlib.Path(log or self.data_dir.with_name(self.data_dir.name + ".log"))
        self.args = list(args)
        self.environment = {}
        self.process = None
        self._listen = f"127.0.0.1:{_free_port()}"
        self._admin = f"127.0.0.1:{_free_port()}"
        atexit.register(self.kill)

    @property
    def endpoint(self) -> str:
        """The URL that clients use."""
        return self.environment["AWS_ENDPOINT_URL"]

    def command(self) -> list:
        """The command line of the server."""
        ours = ["--data-dir", str(self.data_dir), "--listen", self._listen]
        return [str(self.binary), "server", *ours, "--admin-listen", self._admin, *self.args]

    def start(self, ready_seconds: float = READY_SECONDS) -> float:
        """Starts the server and returns the seconds until it was ready."""
        assert self.process is None, "one server at a time"
        begin = time.monotonic()
        lines = queue.Queue()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the script, which then ends the server
            )
        reader = threading.Thread(target=_forward, args=(self.process.stdout, lines), daemon=True)
        reader.start()
        found = {}
        while LAST_EXPORT not in found:
            left = begin + ready_seconds - time.monotonic()
            try:
                line = lines.get(timeout=max(left, 0.001))
            except queue.Empty:
                line = None
            if line is None:
                self.kill()
                raise NotReady(f"the server did not get ready; its log ends:\n{self.log_tail()}")
            export = re.match(r"export (\w+)=(.*)$", line.strip())
            if export:
                found[export.group(1)] = shlex.split(export.group(2) or "''")[0]
        self.environment = found
        return time.monotonic() - begin

    def freeze(self) -> None:
        """SIGSTOP: it takes and answers nothing more; only `kill` ends it then."""
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """SIGKILL, as a crash would; nothing is flushed."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def stop(self) -> int:
        """SIGTERM; returns the exit code (0: drained)."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            code = -1
        self.kill()
        return code

    def leave(self) -> int:
        """Gives the process up: it goes on after this script. Returns its id."""
        pid, self.process = self.process.pid, None
        return pid

    def metrics(self) -> str:
        """All metrics, as the admin port shows them."""
        with urllib.request.urlopen(f"http://{self._admin}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def requests(self, version: str) -> int:
        """Requests that were answered over one HTTP version (`1.1` or `2`)."""
        label = f'version="{version}"'
        lines = self.metrics().splitlines()
        ours = [line for line in lines if line.startswith("millstream_http_requests_total{")]
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in ours if label in line)

    def log_tail(self) -> str:
        """The last lines of the log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        except OSError as error:
            return f"(no log: {error})"


def _forward(stream, lines) -> None:
    """Moves the server's stdout into a queue, and goes on reading so that it never blocks."""
    try:
        for raw in stream:
            lines.put(raw.decode(errors="replace"))
    except ValueError:
        pass  # closed under us by kill()
    lines.put(None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
