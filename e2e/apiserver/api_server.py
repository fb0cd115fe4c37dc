"""A real API server for tests: etcd and kube-apiserver on loopback, in a folder of their own.

No controllers, no nodes: what is tested here is what the API server itself decides (schemas, CEL,
field ownership, RBAC, admission). The programs come from `e2e/cluster/binaries.py`. Everything that
is started is ended by its process, and nothing is waited for without a deadline.
"""

import ctypes
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "cluster"))
import binaries  # noqa: E402

START_DEADLINE_SECONDS = 180
STOP_DEADLINE_SECONDS = 20
CALL_DEADLINE_SECONDS = 60
POLL_SECONDS = 0.2
LOG_LINES = 15
# The API server grants no shorter one.
TOKEN_SECONDS = 600
PROGRAMS = ("etcd", "kube-apiserver")

ADMIN = "admin"
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{url}", certificate-authority: "{ca}"}}}}]
users: [{{name: u, user: {{token: "{token}"}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u, namespace: default}}}}]
current-context: x
"""
# Who asked for what and whether it was allowed, a line of JSON for each request.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""


class Broken(Exception):
    """The API server did not come up; the message has the end of the log that matters."""


def missing() -> str:
    """Why there can be no API server here; empty if there can."""
    folder = binaries.kube_if_built()
    if folder is None or not all((folder / name).exists() for name in PROGRAMS):
        return "the API server is not built: python3 e2e/cluster/binaries.py kube"
    if not shutil.which("openssl"):
        return "openssl is not installed"
    return ""


class ApiServer:
    """`with ApiServer() as server:` gives a server with an empty store."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="millstream-apiserver-"))
        self.processes = []
        self.token = secrets.token_hex(16)
        self.url = ""
        self.kubeconfig = self.folder / "kubeconfig"
        self.context = None
        self.certificate = None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(STOP_DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_DEADLINE_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubectl(self, *arguments, stdin=None):
        """Runs kubectl as the administrator; returns (exit code, stdout, stderr)."""
        program = binaries.clients() / "kubectl"
        # A home of its own: kubectl caches what a server has by its address, and ports come again.
        environment = {
            "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder), "PATH": os.environ["PATH"],
        }
        done = subprocess.run(
            [program, *arguments], input=stdin, capture_output=True, text=True,
            timeout=CALL_DEADLINE_SECONDS, env=environment,
        )
        return done.returncode, done.stdout, done.stderr

    def call(self, method, path, body=None, content_type="application/json"):
        """One request as the administrator; returns (status code, decoded answer)."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with self._opener().open(request, timeout=CALL_DEADLINE_SECONDS) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                return error.code, json.loads(text)
            except ValueError:
                return error.code, {"message": text}

    def token_of(self, namespace, account):
        """A token of a service account, as a pod would carry it."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        body = {"spec": {"expirationSeconds": TOKEN_SECONDS}}
        code, answer = self.call("POST", path, body)
        if code != 201:
            raise Broken(f"no token for {namespace}/{account}: {answer.get('message')}")
        return answer["status"]["token"]

    def write_kubeconfig(self, path, token):
        """A kubeconfig for the holder of `token`."""
        text = KUBECONFIG.format(url=self.url, ca=self.certificate, token=token)
        path.write_text(text, encoding="utf-8")

    def requests_of(self, user):
        """What `user` asked: (verb, resource, namespace, name, status code) of each request."""
        with open(self.folder / "audit.log", encoding="utf-8") as log:
            for line in log:
                entry = json.loads(line)
                reference = entry.get("objectRef")
                if entry["user"].get("username") != user or not reference:
                    continue
                parts = (reference.get("resource", ""), reference.get("subresource", ""))
                yield (
                    entry["verb"], "/".join(filter(None, parts)), reference.get("namespace", ""),
                    reference.get("name", ""), entry.get("responseStatus", {}).get("code", 0),
                )

    def _opener(self):
        handler = urllib.request.HTTPSHandler(context=self.context)
        return urllib.request.build_opener(urllib.request.ProxyHandler({}), handler)

    def _start(self):
        etcd_port, peer_port, api_port = free_ports(3)
        etcd_url, peer_url = (f"http://127.0.0.1:{port}" for port in (etcd_port, peer_port))
        self._spawn("etcd", [
            f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync",
            f"--listen-client-urls={etcd_url}", f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls={peer_url}", f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
        ])
        key = self.folder / "service-account.key"
        subprocess.run(
            ["openssl", "genrsa", "-out", key, "2048"],
            check=True, capture_output=True, timeout=CALL_DEADLINE_SECONDS,
        )
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f"{self.token},{ADMIN},{ADMIN},system:masters\n")
        certificates = self.folder / "certificates"
        self.certificate = certificates / "apiserver.crt"
        policy = self.folder / "audit.yaml"
        policy.write_text(AUDIT_POLICY)
        self._spawn("kube-apiserver", [
            f"--etcd-servers={etcd_url}", "--bind-address=127.0.0.1", f"--secure-port={api_port}",
            "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
            f"--cert-dir={certificates}", f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged", "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            # Without a controller manager no namespace gets its default service account.
            "--disable-admission-plugins=ServiceAccount",
            f"--audit-policy-file={policy}", f"--audit-log-path={self.folder / 'audit.log'}",
        ])
        self.url = f"https://127.0.0.1:{api_port}"
        self._await_ready()
        self.write_kubeconfig(self.kubeconfig, self.token)

    def _await_ready(self):
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while True:
            self._check_alive()
            try:
                self.context = self.context or ssl.create_default_context(cafile=self.certificate)
                if self._ready() and self.call("GET", "/api/v1/namespaces/default")[0] == 200:
                    return
            except OSError:
                pass  # not listening yet, or no certificate yet
            if time.monotonic() > deadline:
                tail = self._tail("kube-apiserver")
                raise Broken(f"not ready after {START_DEADLINE_SECONDS} s:\n{tail}")
            time.sleep(POLL_SECONDS)

    def _ready(self):
        with self._opener().open(self.url + "/readyz", timeout=CALL_DEADLINE_SECONDS) as answer:
            return answer.status == 200

    def _check_alive(self):
        for process, name in zip(self.processes, PROGRAMS):
            if process.poll() is not None:
                raise Broken(f"{name} ended with {process.returncode}:\n{self._tail(name)}")

    def _spawn(self, name, flags):
        with open(self.folder / f"{name}.log", "w", encoding="utf-8") as log:
            program = binaries.kube_if_built() / name
            self.processes.append(subprocess.Popen(
                [program, *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder, preexec_fn=end_with_parent,
            ))

    def _tail(self, name):
        text = (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-LOG_LINES:])


def end_with_parent():
    """Run in a new process: the kernel kills it when this script is killed and cannot end it."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def free_ports(count):
    """Ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
