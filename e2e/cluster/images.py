"""Container images without a daemon and without a registry.

buildah builds from files that are there already, into an archive in the cache; `ctr` imports the
archive into each node. The images of the cluster's own parts are made from the built binaries.
"""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import tempfile

import binaries
from binaries import bring
from machine import Failed, command
from nodes import PAUSE_IMAGE, Nodes

BUILD_SECONDS = 300
REGISTRY = "e2e.local"

PAUSE_SOURCE = """
/* Holds the namespaces of a pod and collects its orphans until it is told to end. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int number) { (void)number; _exit(0); }
static void collect(int number) { (void)number; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) {
  signal(SIGTERM, end);
  signal(SIGINT, end);
  signal(SIGCHLD, collect);
  for (;;) pause();
}
"""


def system_images() -> list:
    """The archives of the cluster's own parts, built once per set of binaries."""
    built = binaries.kube()
    key = bring.digest((built.name + PAUSE_SOURCE + str(SYSTEM)).encode())
    folder = bring.cache() / f"cluster-images-{key}"

    def fill():
        for name, (tag, lines) in SYSTEM.items():
            with tempfile.TemporaryDirectory(dir=folder) as context:
                context = pathlib.Path(context)
                _gather(name, built, context)
                (context / "Containerfile").write_text("\n".join(["FROM scratch", *lines]) + "\n")
                build(context, context / "Containerfile", tag, folder / f"{name}.tar")

    bring.once(folder, fill)
    return sorted(folder.glob("*.tar"))


# Name of the image, its tag, and its Containerfile after `FROM scratch`.
SYSTEM = {
    "pause": (PAUSE_IMAGE, ["COPY pause /pause", 'ENTRYPOINT ["/pause"]']),
    "coredns": (f"{REGISTRY}/coredns:1", ["COPY coredns /coredns", 'ENTRYPOINT ["/coredns"]']),
    "metrics-server": (f"{REGISTRY}/metrics-server:1", [
        "COPY metrics-server /metrics-server", 'ENTRYPOINT ["/metrics-server"]',
    ]),
    "local-path-provisioner": (f"{REGISTRY}/local-path-provisioner:1", [
        "COPY local-path-provisioner /local-path-provisioner",
        'ENTRYPOINT ["/local-path-provisioner"]',
    ]),
    # A shell and the small tools: what the provisioner's helper and a test's own pods need.
    "busybox": (f"{REGISTRY}/busybox:1", [
        "COPY bin /bin", "ENV PATH=/bin", 'CMD ["/bin/sh"]',
    ]),
}


def _gather(name: str, built: pathlib.Path, context: pathlib.Path) -> None:
    if name == "pause":
        (context / "pause.c").write_text(PAUSE_SOURCE)
        command("cc", "-static", "-Os", "-s", "-o", context / "pause", context / "pause.c")
    elif name == "busybox":
        (context / "bin").mkdir()
        shutil.copy("/bin/busybox", context / "bin" / "busybox")
        for tool in command("/bin/busybox", "--list").split():
            if tool != "busybox":
                (context / "bin" / tool).symlink_to("busybox")
    else:
        os.link(built / name, context / name)


def build(context: pathlib.Path, containerfile: pathlib.Path, tag: str, archive, target="") -> None:
    """Builds one image into an OCI archive."""
    storage = bring.cache() / "buildah"
    storage.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=storage) as scratch:
        buildah = ["buildah", "--root", f"{scratch}/root", "--runroot", f"{scratch}/run",
                   "--storage-driver", "vfs"]
        stage = ["--target", target] if target else []
        _buildah([*buildah, "bud", "--isolation", "chroot", "--timestamp", "0", *stage, "-t", tag,
                  "-f", str(containerfile), str(context)], scratch)
        new = pathlib.Path(f"{archive}.new")
        new.unlink(missing_ok=True)
        _buildah([*buildah, "push", tag, f"oci-archive:{new}:{tag}"], scratch)
        new.rename(archive)


def _buildah(words: list, scratch: str) -> None:
    # Its temporary files belong with ours, not in /var/tmp.
    environment = {**os.environ, "TMPDIR": scratch}
    try:
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"buildah: {error}") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise Failed(f"{' '.join(words)}: {' / '.join(lines[-3:])}")


def load(where_nodes: Nodes, nodes: list, archives: list) -> None:
    """Imports archives into every node, the nodes side by side."""
    with concurrent.futures.ThreadPoolExecutor(len(nodes)) as pool:
        def one(node):
            for archive in archives:
                where_nodes.ctr(node, "images", "import", archive)

        list(pool.map(one, nodes))
