"""`make cluster-upgrade FROM=REF`: records of an older version, upgraded to this one under load.

Installs the charts and images of the commit REF on the cluster, writes, and runs `helm upgrade` to the
images that the cluster has been loaded with, as the guide says, while clients write and read. Nothing
acknowledged may be lost, and a client with the SDK's retries may not see one failed call.
"""

import argparse
import sys
import time

import scenario
from binaries import bring
from machine import Failed
from older import Older, older
from scenario import ROOT, Installation, say
from scenarios import ROLL_SECONDS
from targets import Local, Unsupported, target

SHARDS = 4
COMPONENTS = ("operator", "gateway", "shard")


def upgrade_from_older(installation: Installation) -> None:
    installation.make_stream("upgraded-steady", shardCount=SHARDS)
    with (installation.under_load("upgraded", shardCount=SHARDS),
          installation.steady("upgraded-steady")):
        before = {pod["metadata"]["uid"] for pod in installation.pods("shard")}
        begin = time.monotonic()
        installation.source, installation.tag = ROOT, installation.target.image_tag
        installation.upgrade_definitions()
        installation.upgrade()
        say(f"helm upgrade was done after {time.monotonic() - begin:.1f} s")
        installation.wait_pods_ready("shard", before, ROLL_SECONDS)
        say(f"every shard pod was of this version after {time.monotonic() - begin:.1f} s")
        for component in COMPONENTS:
            tags = {image_tag(pod) for pod in installation.pods(component)
                    if "deletionTimestamp" not in pod["metadata"]}
            assert tags == {installation.tag}, f"{component} pods of {tags}"
        installation.wait("datastream", "upgraded", "Ready", "True")
    installation.delete_stream("upgraded-steady")


def image_tag(pod: dict) -> str:
    return pod["spec"]["containers"][0]["image"].rpartition(":")[2]


def install_older(installation: Installation, version: Older) -> None:
    """Takes away what is there, with its records, so that the older version begins with its own."""
    installation.target.load(version.archives)
    installation.uninstall()
    installation.source, installation.tag = version.source, version.tag
    say(f"from {version.tag}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ref", help="the commit to upgrade from")
    options = parser.parse_args()
    try:
        cluster = target()
        if not isinstance(cluster, Local):
            raise Unsupported("only the cluster of `make cluster-up` is given images of older versions")
        version = older(options.ref)
        return scenario.run(cluster, [upgrade_from_older], lambda i: install_older(i, version))
    except Unsupported as reason:
        print(f"skipped: the upgrade: {reason}")
        print("scenarios: 0 passed, 0 failed, 1 skipped")
        return 0
    except (Failed, bring.Missing) as error:
        print(f"upgrade: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
