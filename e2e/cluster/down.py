"""Takes the local cluster away, however much of it is left, and then looks whether anything stayed.

It asks no part to help: every process of the cluster is in one of its cgroups and is killed there,
with the last process of a node its mounts are gone, then namespaces and cgroups are removed.
"""

import os
import pathlib
import shutil

from layout import Layout
from machine import (
    NAMESPACES, cgroup_members, cgroups, command, command_line, kill_all, mounts,
    network_namespaces, remove_cgroups, until, write_setting,
)

KILL_SECONDS = 20
CGROUP_SECONDS = 10
UNMOUNT_ROUNDS = 5


def down(where: Layout) -> list:
    """Removes everything; returns what is left, which should be nothing."""
    whole = f"{where.name}-*"
    networks = _network_ids(where)

    def none_left():
        members = cgroup_members(whole)
        kill_all(members)
        return not members

    until(none_left, KILL_SECONDS, pause=0.2)
    _restore_settings(where)
    # Nothing is mounted here but what an older or broken `up` left in the machine's own namespace.
    for _ in range(UNMOUNT_ROUNDS):
        for point in mounts(where.folder):
            command("umount", "--lazy", point, check=False)
    for name in network_namespaces(where.name):
        command("ip", "netns", "del", name, check=False)
    if (where.folder / "namespaces-mounted").exists() and not any(NAMESPACES.iterdir()):
        command("umount", NAMESPACES, check=False)

    def cgroups_gone():
        remove_cgroups(whole)
        return not cgroups(whole)

    until(cgroups_gone, CGROUP_SECONDS, pause=0.2)
    if not mounts(where.folder):
        _remove_files(where)
    return left(where, networks)


def _network_ids(where: Layout) -> dict:
    """The namespaces' names by what /proc calls them, taken before they lose their names."""
    found = {}
    for name in network_namespaces(where.name):
        try:
            found[f"net:[{(NAMESPACES / name).stat().st_ino}]"] = name
        except OSError:
            continue
    return found


def _restore_settings(where: Layout) -> None:
    try:
        lines = (where.folder / "machine-settings").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition(" ")
        if value:
            write_setting(name, value)


def _remove_files(where: Layout) -> None:
    if where.logs.is_dir():
        shutil.rmtree(where.kept_logs, ignore_errors=True)
        where.logs.rename(where.kept_logs)
    shutil.rmtree(where.folder, ignore_errors=True)


def left(where: Layout, networks=None) -> list:
    """One line for each thing of the cluster that is still there."""
    networks = networks if networks is not None else _network_ids(where)
    found = [f"process {pid} in a cgroup of the cluster: {command_line(pid)[:120]}"
             for pid in sorted(cgroup_members(f"{where.name}-*"))]
    found += _processes_elsewhere(where, networks)
    found += [f"mount {point}" for point in mounts(where.folder)]
    found += [f"network namespace {name}" for name in network_namespaces(where.name)]
    found += [f"cgroup {path}" for path in cgroups(f"{where.name}-*")]
    if where.folder.is_dir():
        found.append(f"folder {where.folder}")
    return found


def _processes_elsewhere(where: Layout, networks: dict) -> list:
    """Processes that no cgroup led to: by their command line, their network or their mounts."""
    folder = f"{where.folder}/"
    found = []
    ours = {os.getpid(), os.getppid()}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if pid in ours:
            continue
        try:
            network = os.readlink(entry / "ns" / "net")
        except OSError:
            continue
        words = command_line(pid)
        if network in networks:
            found.append(f"process {pid} in the network of {networks[network]}: {words[:120]}")
        elif folder in words:
            found.append(f"process {pid} of the cluster's folder: {words[:120]}")
        elif mounts(where.folder, f"{entry}/mounts"):
            found.append(f"process {pid} holds mounts of the cluster: {words[:120]}")
    return found
