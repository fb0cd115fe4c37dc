"""The custom resource definitions against a real API server.

`make apiserver`, or `"$(python3 e2e/bring.py python)" e2e/apiserver/run.py`. Where the API server is
not built it says so and counts one skipped check: `python3 e2e/cluster/binaries.py kube` builds it.
"""

import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
import api_server  # noqa: E402
import objects  # noqa: E402
import table  # noqa: E402
from tally import Tally, equal, holds  # noqa: E402

ROOT = HERE.parent.parent
DEFINITIONS = ROOT / "crds" / "generated"
ESTABLISHED_DEADLINE_SECONDS = 30


def main() -> int:
    tally = Tally("apiserver")
    missing = api_server.missing()
    if missing:
        tally.skip("the definitions against a real API server", missing)
        return tally.finish()
    with api_server.ApiServer() as server:
        with tally.check("the definitions are applied, and once more without a change"):
            install(server)
            table.make_namespaces(server)
        for row in table.rows():
            with tally.check(f"table: {row['case']}"):
                table.check(server, row)
        with tally.check("a row with the wrong verdict is found out"):
            planted(server)
        objects.all_checks(tally, server)
    return tally.finish()


def install(server):
    """Applies the definitions as a person would, and waits until they are served."""
    for _ in range(2):
        code, out, err = server.kubectl(
            "apply", "--server-side", "--validate=strict", "-f", str(DEFINITIONS)
        )
        equal(code, 0, err + out)
    deadline = time.monotonic() + ESTABLISHED_DEADLINE_SECONDS
    while server.call("GET", table.GROUP_PATH + "/datastreams")[0] != 200:
        holds(time.monotonic() < deadline, "the definition is not served")
        time.sleep(api_server.POLL_SECONDS)
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/datastreams.millstream.dev"
    conditions = server.call("GET", path)[1]["status"]["conditions"]
    state = {each["type"]: each["status"] for each in conditions}
    equal(state, {"NamesAccepted": "True", "Established": "True"})


def planted(server):
    """Turns the verdict of three rows round: each must fail."""
    rows = table.rows()
    good = next(row for row in rows if "field" not in row and "old" not in row)
    bad = next(row for row in rows if row.get("field") == "spec.shardCount")
    for row in (
        {**good, "field": "spec.pool"},
        {key: value for key, value in bad.items() if key != "field"},
        {**bad, "field": "spec.pool"},
    ):
        try:
            table.check(server, row)
        except AssertionError:
            continue
        raise AssertionError(f"nothing was found wrong with {row}")


if __name__ == "__main__":
    sys.exit(main())
