"""The custom resource definitions against a real API server.

`make apiserver`, or `"$(python3 e2e/bring.py python)" e2e/apiserver/run.py`. Where the API server is
not built it says so and counts one skipped check: `python3 e2e/cluster/binaries.py kube` builds it.
"""

import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
import objects  # noqa: E402
import server as apiserver  # noqa: E402
import table  # noqa: E402
from tally import Tally, equal, holds  # noqa: E402

ROOT = HERE.parent.parent
DEFINITIONS = ROOT / "crds" / "generated"
ESTABLISHED_DEADLINE_SECONDS = 30


def main() -> int:
    tally = Tally("apiserver")
    missing = apiserver.missing()
    if missing:
        tally.skip("the definitions against a real API server", missing)
        return tally.finish()
    with apiserver.ApiServer() as server:
        with tally.check("the definitions are applied, and once more without a change"):
            install(server)
        for row in table.rows():
            with tally.check(f"table: {row['case']}"):
                table.check(server, row)
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
        time.sleep(apiserver.POLL_SECONDS)
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/datastreams.millstream.dev"
    conditions = server.call("GET", path)[1]["status"]["conditions"]
    state = {each["type"]: each["status"] for each in conditions}
    equal(state, {"NamesAccepted": "True", "Established": "True"})


if __name__ == "__main__":
    sys.exit(main())
