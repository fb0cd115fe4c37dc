"""Runs each client's checks against a built server, and ends with one line of counts.

Every client gets a server of its own over an empty data directory, an environment that holds only
what that server printed, and a deadline; then another server that verifies signatures, over TLS
where the client has it, with a key from its file. `python3 e2e/clients/run.py [--profile dev]
[NAME ...]` with names from boto3, accounts, aggregated, awscli, javascript, java, java-async,
rust; without names, all of them.
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
VERSIONS = ("1.1", "2")

KEYS = {
    "AKIAOURS": ("our/secret+1=", "000000000000"),
    "AKIATHEIRS": ("their/secret+2=", "111122223333"),
}


class Client:
    """A command line, what it adds to the environment, the one HTTP version it must have used, and
    the variable in which it learns whom to trust (none: it has no TLS)."""

    def __init__(
        self,
        command,
        version="1.1",
        trust="AWS_CA_BUNDLE",
        modes=("loopback", "verified"),
        **environment,
    ):
        self.command, self.version, self.trust, self.modes = command, version, trust, modes
        self.environment = environment


class Mode:
    """How a server knows its callers, and what its clients need for that."""

    def __init__(self, name, verified):
        self.name, self.verified = name, verified

    def flags(self, client: Client, folder: pathlib.Path) -> list:
        """The server's flags."""
        if not self.verified:
            return []
        entries = [
            f"- {{id: {key}, secret: {secret}, account: '{account}'}}\n"
            for key, (secret, account) in KEYS.items()
        ]
        file = folder / "keys.yaml"
        file.write_text("accessKeys:\n" + "".join(entries))
        tls = ["--tls", "self-signed", "--tls-listen", "127.0.0.1:0"] if client.trust else []
        return ["--auth", "verify", "--credentials", str(file), *tls]

    def environment(self, client: Client, exported: dict) -> dict:
        """What a client gets beside the exports."""
        if not self.verified:
            return {}
        key, (secret, _) = next(iter(KEYS.items()))
        found = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        if client.trust:
            assert exported["AWS_ENDPOINT_URL"].startswith("https://"), exported
            found[client.trust] = exported["AWS_CA_BUNDLE"]
        return found


MODES = (Mode("loopback", False), Mode("verified", True))


def boto3():
    return Client([str(bring.python()), str(HERE / "boto3" / "streams.py")])


def accounts():
    keys = [value for key, (secret, account) in KEYS.items() for value in (key, secret, account)]
    command = [str(bring.python()), str(HERE / "boto3" / "accounts.py"), *keys]
    return Client(command, modes=("verified",))


def aggregated():
    command = [str(bring.python()), str(HERE / "boto3" / "aggregated.py")]
    return Client(command, modes=("loopback",))


def awscli():
    return Client([str(bring.python()), str(HERE / "awscli" / "streams.py")])


def javascript():
    command, modules = bring.node_modules()
    script = str(HERE / "javascript" / "streams.mjs")
    environment = {"NODE_MODULES_AT": str(modules), "NODE_NO_WARNINGS": "1"}
    return Client([*command, script], version="2", trust="NODE_EXTRA_CA_CERTS", **environment)


def java():
    return Client([*bring.java(), "blocking"])


def java_async():
    return Client([*bring.java(), "async"], version="2")


def rust():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or bring.cache() / "target")
    target = target.with_name(target.name + "-client-rust")
    manifest = str(HERE / "rust" / "Cargo.toml")
    build = ["cargo", "build", "--quiet", "--locked", "--manifest-path", manifest]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    subprocess.run(build, check=True, timeout=BUILD_SECONDS, env=environment)
    return Client([str(target / "debug" / "millstream-client-rust")], trust=None)


CLIENTS = {
    "boto3": boto3,
    "accounts": accounts,
    "aggregated": aggregated,
    "awscli": awscli,
    "javascript": javascript,
    "java": java,
    "java-async": java_async,
    "rust": rust,
}


def run(name: str, binary: pathlib.Path, folder: pathlib.Path) -> tuple:
    """One client, in each mode: (passed, failed, skipped)."""
    try:
        client = CLIENTS[name]()
    except bring.Missing as missing:
        print(f"{name}: skipped: {missing}", flush=True)
        return 0, 0, 1
    totals = (0, 0)
    for mode in MODES:
        if mode.name in client.modes:
            at = folder / f"{name}-{mode.name}"
            counted = run_in(mode, f"{name}, {mode.name}", client, binary, at)
            totals = [sum(pair) for pair in zip(totals, counted)]
    return *totals, 0


def run_in(mode: Mode, name: str, client: Client, binary, folder: pathlib.Path) -> tuple:
    """One client against a server of its own: (passed, failed)."""
    begin = time.monotonic()
    folder.mkdir()
    instance = server.Server(binary, folder / "data", *mode.flags(client, folder))
    instance.start()
    try:
        passed, failed = checks(mode, client, instance)
        for version in VERSIONS:
            count, wanted = instance.requests(version), version == client.version
            if not failed and bool(count) != wanted:
                print(f"  not ok: {count} requests came over HTTP/{version}", flush=True)
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
    return passed, failed


def checks(mode: Mode, client: Client, instance: server.Server) -> tuple:
    """Runs the script to its end or its deadline, and counts what it reports."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    exported = instance.environment
    environment = {**keep, **exported, **client.environment}
    environment.update(mode.environment(client, exported))
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
