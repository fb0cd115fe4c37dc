"""A real Kubernetes cluster on this machine: up, status, load, down. `make cluster-*` calls it.

    cluster.py up [--nodes N]      make it, or what of it is missing
    cluster.py status              how it is
    cluster.py load ARCHIVE...     images from OCI archives into every node
    cluster.py down                take it away and check that nothing is left
    cluster.py env                 what to `eval` so that kubectl and helm use it
    cluster.py node off|on|cut|mend|stop NAME   break a node, and make it whole again

Start reading at `up.py`. docs/guides/cluster.md says how to use it and what it is not.
"""

import argparse
import contextlib
import fcntl
import os
import pathlib
import sys
import time

import images
import layout as plan
from binaries import bring
from down import down, left
from layout import Refused
from machine import Failed
from status import status
from up import Cluster, up


def say(line: str) -> None:
    print(line, flush=True)


@contextlib.contextmanager
def locked(where: plan.Layout):
    """One `up` or `down` at a time."""
    if os.geteuid() != 0:
        raise Refused("a cluster needs root, for its namespaces and cgroups")
    where.lock.parent.mkdir(parents=True, exist_ok=True)
    with open(where.lock, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run_up(where: plan.Layout, options) -> int:
    begin = time.monotonic()
    with locked(where):
        cluster = up(where, options.nodes, say)
    say(f"cluster {where.name}: up in {time.monotonic() - begin:.1f} s")
    return 0 if status(cluster, say) else 1


def run_status(where: plan.Layout, _options) -> int:
    if not where.folder.is_dir():
        remains = left(where)
        say(f"cluster {where.name}: not there")
        for line in remains:
            say(f"  but left behind: {line}")
        return 1
    cluster = Cluster(where)
    say(f"cluster {where.name}, {len(cluster.node_list())} nodes, {where.folder}")
    return 0 if status(cluster, say) else 1


def run_load(where: plan.Layout, options) -> int:
    cluster = Cluster(where)
    nodes = cluster.node_list()
    for archive in options.archives:
        if not archive.is_file():
            raise Refused(f"image archive {archive}: no such file: make images")
        begin = time.monotonic()
        images.load(cluster.nodes, nodes, [archive.resolve()])
        say(f"{archive.name} on {len(nodes)} nodes: {time.monotonic() - begin:.1f} s")
    return 0


def run_down(where: plan.Layout, _options) -> int:
    begin = time.monotonic()
    with locked(where):
        remains = down(where)
    if remains:
        print(f"cluster {where.name}: not all gone:", *remains, sep="\n  ", file=sys.stderr)
        return 1
    say(f"cluster {where.name}: down in {time.monotonic() - begin:.1f} s, nothing left")
    return 0


def run_env(where: plan.Layout, _options) -> int:
    cluster = Cluster(where)
    cluster.node_list()
    say(f"export KUBECONFIG={where.kubeconfig}")
    say(f"export PATH={pathlib.Path(cluster.kubectl[0]).parent}:$PATH")
    return 0


def run_node(where: plan.Layout, options) -> int:
    cluster = Cluster(where)
    node = cluster.node(options.name)
    actions = {
        "off": cluster.nodes.power_off,
        "on": cluster.nodes.start,
        "stop": cluster.nodes.stop,
        "cut": cluster.nodes.cut,
        "mend": cluster.nodes.mend,
    }
    actions[options.action](node)
    return 0


def parse(arguments: list):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)

    def add(name, run, words):
        command = commands.add_parser(name, help=words)
        command.set_defaults(run=run)
        return command

    default = int(os.environ.get("NODES") or plan.NODES_DEFAULT)
    add("up", run_up, "make it").add_argument("--nodes", type=int, default=default)
    add("status", run_status, "how it is")
    load = add("load", run_load, "images into every node")
    load.add_argument("archives", nargs="+", type=pathlib.Path)
    add("down", run_down, "take it away")
    add("env", run_env, "for `eval`")
    node = add("node", run_node, "break a node")
    node.add_argument("action", choices=["off", "on", "stop", "cut", "mend"])
    node.add_argument("name")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(sys.argv[1:])
    try:
        return options.run(plan.layout(), options)
    except bring.Missing as missing:
        print(f"missing: {missing}", file=sys.stderr)
    except (Refused, Failed) as error:
        print(f"cluster: {error}", file=sys.stderr)
    except BrokenPipeError:
        # Whoever read us has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


if __name__ == "__main__":
    sys.exit(main())
