"""`make cluster-demo`: from nothing to the AWS CLI on a stream that `kubectl apply` made.

Brings up the cluster, puts the images on it, installs the charts, applies e2e/examples/, writes and
reads through the client Service with the AWS CLI, and leaves everything running to play with.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import load
import scenario
from binaries import bring
from machine import Failed
from scenario import SERVICE_PORT, SYSTEM, Installation
from targets import Local, Unsupported, target

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"
NAMESPACE = "default"
RECORDS = 20
CLI_SECONDS = 60


def shown(line: str) -> None:
    print(f"$ {line}", flush=True)


def apply_examples(installation: Installation) -> list:
    """Applies every manifest of e2e/examples; the names of the streams."""
    kubectl = installation.target.kubectl
    files = [*sorted(EXAMPLES.glob("*.yaml")),
             *(path for path in sorted((EXAMPLES / "kubernetes").glob("*.yaml"))
               if not path.name.startswith("values"))]
    for path in files:
        shown(f"kubectl apply -f {path.relative_to(HERE.parent.parent)}")
        print(kubectl("apply", "-n", NAMESPACE, f"--filename={path}"), end="")
    items = installation.target.get("datastreams", "-n", NAMESPACE)["items"]
    names = [item["metadata"]["name"] for item in items]
    begin = time.monotonic()
    for name in names:
        installation.wait("datastream", name, "Ready", "True")
    print(f"Ready after {time.monotonic() - begin:.1f} s")
    return names


def key_of(installation: Installation) -> tuple:
    secret = installation.target.get("secret", "example-key", "-n", NAMESPACE)["data"]
    return tuple(base64.b64decode(secret[field]).decode() for field in ("id", "secret"))


class Cli:
    """The AWS CLI on the client Service."""

    def __init__(self, endpoint: str, key: tuple):
        self.program = str(pathlib.Path(sys.executable).parent / "aws")
        self.environment = {
            **os.environ, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": load.REGION,
            "AWS_DEFAULT_REGION": load.REGION, "AWS_ACCESS_KEY_ID": key[0],
            "AWS_SECRET_ACCESS_KEY": key[1], "AWS_PAGER": "", "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __call__(self, *words, quiet=False) -> dict:
        if not quiet:
            shown(f"aws kinesis {' '.join(words)}")
        done = subprocess.run(
            [self.program, "kinesis", *words, "--output", "json"], env=self.environment,
            capture_output=True, text=True, timeout=CLI_SECONDS,
        )
        if done.returncode != 0:
            raise Failed(f"aws kinesis {' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else {}


def use(cli: Cli, name: str) -> None:
    """Puts records and reads them back through the shards."""
    text = [f"flight {number}" for number in range(RECORDS)]
    # Version 1 of the CLI takes data as it is, and shows it in base64.
    records = [{"Data": line, "PartitionKey": line} for line in text]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(records, file)
        file.flush()
        shown(f"aws kinesis put-records --stream-name {name} --records file://flights.json")
        answer = cli("put-records", "--stream-name", name, "--records", f"file://{file.name}",
                     quiet=True)
    print(f"{RECORDS - answer['FailedRecordCount']} records are durable")
    seen = []
    for shard in cli("list-shards", "--stream-name", name)["Shards"]:
        iterator = cli("get-shard-iterator", "--stream-name", name, "--shard-id", shard["ShardId"],
                       "--shard-iterator-type", "TRIM_HORIZON", quiet=True)["ShardIterator"]
        page = cli("get-records", "--shard-iterator", iterator, quiet=True)
        seen += [base64.b64decode(r["Data"]).decode() for r in page["Records"]]
    if sorted(set(text) - set(seen)):
        raise Failed(f"records are missing: {sorted(set(text) - set(seen))}")
    print(f"{len(seen)} records read back")


def describe(installation: Installation) -> None:
    for words in (("get", "pods", "-n", SYSTEM), ("get", "pods", "-n", NAMESPACE),
                  ("get", "datastreams", "-n", NAMESPACE)):
        shown(f"kubectl {' '.join(words)}")
        print(installation.target.kubectl(*words), end="")


def main() -> int:
    try:
        cluster = target()
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            installation = Installation(cluster, pathlib.Path(folder), streams=NAMESPACE)
            shown("helm install millstream-crds; helm install millstream")
            installation.install()
            print(f"installed in {time.monotonic() - begin:.1f} s")
            names = apply_examples(installation)
            with installation.reachable():
                use(Cli(installation.endpoint, key_of(installation)), names[0])
            describe(installation)
    except (Failed, AssertionError, Unsupported, bring.Missing) as error:
        print(f"cluster-demo: {error}", file=sys.stderr)
        return 1
    print(f"\nThe cluster runs on: {SYSTEM} has the operator and the gateways (port {SERVICE_PORT} of "
          f"the Service {scenario.SERVICE}).")
    if isinstance(cluster, Local):
        print('Use it with: eval "$(python3 e2e/cluster/cluster.py env)"; end it with: '
              "make cluster-down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
