"""Runs each client's checks against a built server, and ends with one line of counts.

Every client gets a server of its own over an empty data directory, an environment that holds only
what that server printed, and a deadline. `python3 e2e/clients/run.py [--profile dev] [NAME ...]`
with names from boto3, awscli, javascript, rust; without names, all of them.
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
import bring
import server

CLIENT_SECONDS = 180
BUILD_SECONDS = 1800


class Client:
    """A command line, what it adds to the environment, and the HTTP version it must have used."""

    def __init__(self, command, version="1.1", **environment):
        self.command, self.version, self.environment = command, version, environment


def boto3():
    return Client([str(bring.python()), str(HERE / "boto3" / "streams.py")])


def awscli():
    return Client([str(bring.python()), str(HERE / "awscli" / "streams.py")])


def javascript():
    command, modules = bring.node_modules()
    script = str(HERE / "javascript" / "streams.mjs")
    environment = {"NODE_MODULES_AT": str(modules), "NODE_NO_WARNINGS": "1"}
    return Client([*command, script], version="2", **environment)


def rust():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or bring.cache() / "target")
    target = target.with_name(target.name + "-client-rust")
    manifest = str(HERE / "rust" / "Cargo.toml")
    build = ["cargo", "build", "--quiet", "--locked", "--manifest-path", manifest]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    subprocess.run(build, check=True, timeout=BUILD_SECONDS, env=environment)
    return Client([str(target / "debug" / "millstream-client-rust")])


CLIENTS = {"boto3": boto3, "awscli": awscli, "javascript": javascript, "rust": rust}


def run(name: str, binary: pathlib.Path, folder: pathlib.Path) -> tuple:
    """One client: (passed, failed, skipped)."""
    try:
        client = CLIENTS[name]()
    except bring.Missing as missing:
        print(f"{name}: skipped: {missing}", flush=True)
        return 0, 0, 1
    begin = time.monotonic()
    instance = server.Server(binary, folder / name)
    instance.start()
    try:
        passed, failed = checks(client, instance)
        if not failed and not instance.requests(client.version):
            print(f"  not ok: no request came over HTTP/{client.version}", flush=True)
            failed += 1
        code = instance.stop()
        if code != 0:
            print(f"  not ok: the server ended with {code}:\n{instance.log_tail()}", flush=True)
            failed += 1
    finally:
        instance.kill()
    if failed:
        print(f"the server's log ends:\n{instance.log_tail()}", flush=True)
    seconds = time.monotonic() - begin
    print(f"{name}: {passed} passed, {failed} failed, {seconds:.1f} s", flush=True)
    return passed, failed, 0


def checks(client: Client, instance: server.Server) -> tuple:
    """Runs the script to its end or its deadline, and counts what it reports."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    environment = {**keep, **instance.environment, **client.environment}
    environment.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    process = subprocess.Popen(
        client.command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=CLIENT_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        print(f"  not ok: still running after {CLIENT_SECONDS} s", flush=True)
    lines = output.splitlines()
    passed = sum(line.startswith("ok ") for line in lines)
    failed = sum(line.startswith("not ok ") for line in lines)
    for line in lines:
        if line.startswith(("not ok ", "  # ", "Bail out!")):
            print(f"  {line}", flush=True)
    planned = f"1..{passed + failed}" in lines
    if not planned or (process.returncode == 0) != (failed == 0):
        print(f"  not ok: it ended early, with {process.returncode}", flush=True)
        failed += 1
    return passed, failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="dev", help="which build to run (dev, release)")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CLIENTS))
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(CLIENTS)
    if unknown:
        parser.error(f"no such client: {', '.join(sorted(unknown))}")
    binary = server.built(arguments.profile)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="millstream-clients-"))
    totals = [0, 0, 0]
    try:
        for name in arguments.names or CLIENTS:
            totals = [sum(pair) for pair in zip(totals, run(name, binary, folder))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"clients: {totals[0]} passed, {totals[1]} failed, {totals[2]} skipped")
    return 1 if totals[1] or not totals[0] else 0


if __name__ == "__main__":
    sys.exit(main())
