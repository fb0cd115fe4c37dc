"""What the cluster takes from the machine: processes, namespaces, cgroups, mounts, kernel settings.

Only the small steps and the questions `is it there?`. It knows nothing of Kubernetes. Every process
is started in the cluster's own cgroup, so that nothing that it starts in turn can get lost.
"""

import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import time

from layout import Refused

CGROUPS = pathlib.Path("/sys/fs/cgroup")
NAMESPACES = pathlib.Path("/run/netns")
# A cgroup v1 mount that lists the processes and limits nothing else that we need.
TRACKING_V1 = "pids"
COMMAND_SECONDS = 60
# What matters in a log: klog's E and F lines, logrus and zap levels, a Go panic, iproute and runc.
TELLING = re.compile(
    r"^[EF]\d{4} |level=(error|fatal)|\"level\":\"(error|fatal|panic)\"|^panic:|^fatal|Error:|rror: ",
    re.IGNORECASE,
)
LOG_TAIL_BYTES = 256 * 1024
LINE_LENGTH_MAX = 600


class Failed(Exception):
    """Something of the machine did not do what it was told; the message says what it said."""


def command(*words, check=True, text=None, seconds=COMMAND_SECONDS) -> str:
    """Runs a short program and returns what it prints."""
    words = [str(word) for word in words]
    try:
        done = subprocess.run(
            words, input=text, capture_output=True, text=True, timeout=seconds
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{' '.join(words)}: {error}") from error
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()[-LINE_LENGTH_MAX:]}")
    return done.stdout


# Processes.


@dataclasses.dataclass(frozen=True)
class Process:
    """A process that we started: a pid alone could be another's by now."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        return _start_time(self.pid) == self.started


def _start_time(pid: int) -> int:
    """When the kernel started the process, in ticks since boot; 0 if it is gone or a zombie."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] == "Z" else int(fields[19])


def command_line(pid: int) -> str:
    """What a process was started with; empty if it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (OSError, UnicodeDecodeError):
        return ""


def kill_all(pids: set) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


class Processes:
    """The cluster's named processes: their pids and logs lie in its folder."""

    def __init__(self, folder, logs, cgroup):
        self.folder = pathlib.Path(folder)
        self.logs = pathlib.Path(logs)
        self.cgroup = cgroup

    def start(self, name: str, words: list, environment=None) -> None:
        """Starts a process unless it lives already."""
        if self.find(name):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        joins = make_host_cgroup(self.cgroup)

        def enter():
            for path in joins:
                with open(path, "w", encoding="ascii") as procs:
                    procs.write("0")

        with open(self.log(name), "ab") as log:
            started = subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=enter,
                env=environment,
                cwd="/",
            )
        write_whole(self.folder / name, f"{started.pid} {_start_time(started.pid)}\n")

    def find(self, name: str):
        """The living process of that name, or None."""
        try:
            pid, started = (self.folder / name).read_text().split()
        except (OSError, ValueError):
            return None
        process = Process(int(pid), int(started))
        return process if process.alive else None

    def names(self) -> list:
        return sorted(path.name for path in self.folder.glob("*") if path.is_file())

    def dead(self) -> list:
        return [name for name in self.names() if not self.find(name)]

    def stop(self, name: str, seconds: float = 5) -> None:
        """Ends a process: asks first, then insists. The record stays, so that status shows it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            process = self.find(name)
            if not process:
                return
            os.kill(process.pid, number)
            until(lambda: not process.alive, seconds)

    def kill(self, name: str) -> None:
        """Ends a process as a crash would."""
        process = self.find(name)
        if process:
            os.kill(process.pid, signal.SIGKILL)
            until(lambda: not process.alive, 5)

    def log(self, name: str) -> pathlib.Path:
        return self.logs / f"{name}.log"

    def telling_line(self, name: str) -> str:
        """The line of a log that most likely says what went wrong, with the log's path."""
        path = self.log(name)
        try:
            with open(path, "rb") as log:
                log.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return f"no log at {path}"
        return f"{path}: {telling(lines) or 'empty'}"


def telling(lines: list) -> str:
    """The last line that reads like a failure, else the last line that is not empty."""
    found = [line for line in lines if TELLING.search(line)] or [l for l in lines if l.strip()]
    return found[-1][:LINE_LENGTH_MAX] if found else ""


def write_whole(path: pathlib.Path, text: str) -> None:
    scratch = path.with_name(path.name + ".new")
    scratch.write_text(text)
    scratch.rename(path)


def until(holds, seconds: float, pause: float = 0.05) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


# Control groups, version 1 (one tree per controller) and version 2 (one tree).


def cgroup_v2() -> bool:
    return (CGROUPS / "cgroup.controllers").exists()


def hierarchies() -> list:
    """Every cgroup tree of the machine."""
    if cgroup_v2():
        return [CGROUPS]
    return sorted(path for path in CGROUPS.iterdir() if (path / "cgroup.procs").exists())


def tracking() -> pathlib.Path:
    """The tree whose members are our list of processes."""
    if cgroup_v2():
        return CGROUPS
    if not (CGROUPS / TRACKING_V1 / "cgroup.procs").exists():
        raise Refused(f"no cgroup tree {CGROUPS / TRACKING_V1}: the cluster needs it")
    return CGROUPS / TRACKING_V1


def make_host_cgroup(name: str) -> list:
    """Makes the cgroup for our own processes; returns the files that a process joins by."""
    group = tracking() / name
    group.mkdir(exist_ok=True)
    return [group / "cgroup.procs"]


def make_pods_cgroup(name: str) -> None:
    """Makes the cgroup that a kubelet takes as its root."""
    if cgroup_v2():
        # Not tried: no machine with version 2 was at hand. A controller that the parent does not
        # hand down is missing in the kubelet's tree, and it says so itself.
        wanted = (CGROUPS / "cgroup.controllers").read_text().split()
        (CGROUPS / name).mkdir(exist_ok=True)
        for parent in (CGROUPS, CGROUPS / name):
            for controller in wanted:
                _write_if_allowed(parent / "cgroup.subtree_control", f"+{controller}")
        return
    for tree in hierarchies():
        group = tree / name
        group.mkdir(exist_ok=True)
        # A new cpuset is empty, and nothing can run in an empty cpuset.
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (group / setting).exists() and not (group / setting).read_text().strip():
                (group / setting).write_text((tree / setting).read_text())


def _write_if_allowed(path: pathlib.Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError:
        pass


def cgroups(pattern: str) -> list:
    """The cgroups whose top one has such a name (`NAME-*` is a whole cluster), deepest first."""
    found = []
    for tree in hierarchies():
        for top in tree.glob(pattern):
            found += [pathlib.Path(path) for path, _, _ in os.walk(top)]
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def cgroup_members(pattern: str, below: str = "") -> set:
    """The pids in such cgroups, or only in those below them that lie in one called `below`."""
    members = set()
    for group in cgroups(pattern):
        if below and below not in group.parts:
            continue
        try:
            members.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
        except OSError:
            continue
    return members


def remove_cgroups(pattern: str) -> None:
    for group in cgroups(pattern):
        try:
            group.rmdir()
        except OSError:
            continue  # the check at the end of `down` tells


# Network namespaces and mounts.


def network_namespaces(prefix: str) -> list:
    if not NAMESPACES.is_dir():
        return []
    return sorted(path.name for path in NAMESPACES.glob(f"{prefix}-*"))


def mounts(folder: pathlib.Path, table: str = "/proc/self/mounts") -> list:
    """The mount points on, below, or made from something below a folder; last mounted first."""
    try:
        lines = pathlib.Path(table).read_text().splitlines()
    except OSError:
        return []
    whose = re.compile(re.escape(str(folder)) + r"(?![\w.-])")
    found = [line.split()[1] for line in lines if whose.search(line)]
    return [point.encode().decode("unicode_escape") for point in reversed(found)]


def is_mount(point: pathlib.Path) -> bool:
    return any(line.split()[1] == str(point)
               for line in pathlib.Path("/proc/self/mounts").read_text().splitlines())


# Kernel settings that are the whole machine's.


def read_setting(name: str) -> str:
    try:
        return pathlib.Path("/proc/sys", *name.split(".")).read_text().strip()
    except OSError:
        return ""


def write_setting(name: str, value: str) -> None:
    _write_if_allowed(pathlib.Path("/proc/sys", *name.split(".")), value)
