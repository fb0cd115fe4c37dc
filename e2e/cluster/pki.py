"""The cluster's certificates and kubeconfigs, made once by openssl in its folder.

Two authorities, as Kubernetes wants them: one for everybody, one for the API server when it speaks
for others to aggregated APIs. Everything is thrown away with the cluster.
"""

import base64
import json
import pathlib

from layout import API_SERVICE_IP, CONTROL_PLANE_IP, API_PORT, DOMAIN
from machine import command

DAYS = 365
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
FRONT_PROXY = "front-proxy-client"
# Who has a client certificate that the common authority signs.
CLIENTS = {
    "apiserver-client": "/CN=kube-apiserver",
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
}


class Pki:
    """The folder of certificates."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def path(self, name: str) -> pathlib.Path:
        return self.folder / name

    def make(self, nodes: list) -> None:
        """Makes everything unless it is complete."""
        done = self.path("complete")
        if done.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self._authority("ca")
        self._authority("front-proxy-ca")
        kubernetes = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        names = [*kubernetes, f"kubernetes.default.svc.{DOMAIN}", "localhost"]
        addresses = ["127.0.0.1", CONTROL_PLANE_IP, API_SERVICE_IP]
        self._leaf("apiserver", "ca", "/CN=kube-apiserver", names, addresses)
        for name, subject in CLIENTS.items():
            self._leaf(name, "ca", subject)
        self._leaf("front-proxy", "front-proxy-ca", f"/CN={FRONT_PROXY}")
        for node in nodes:
            subject = f"/O=system:nodes/CN=system:node:{node.name}"
            self._leaf(node.name, "ca", subject, [node.name], [node.address])
        command("openssl", "genrsa", "-out", self.path("sa.key"), "2048")
        command("openssl", "rsa", "-in", self.path("sa.key"), "-pubout", "-out", self.path("sa.pub"))
        for name in ("controller-manager", "scheduler", "proxy", *(n.name for n in nodes)):
            self.write_kubeconfig(self.path(f"{name}.conf"), name)
        done.touch()

    def _authority(self, name: str) -> None:
        command(
            "openssl", "req", "-x509", *CURVE, "-days", DAYS, "-subj", f"/CN={name}",
            "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.crt"),
            "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )

    def _leaf(self, name: str, authority: str, subject: str, names=(), addresses=()) -> None:
        request, extensions = self.path(f"{name}.csr"), self.path(f"{name}.ext")
        lines = ["extendedKeyUsage=clientAuth,serverAuth"]
        alternatives = [*(f"DNS:{n}" for n in names), *(f"IP:{a}" for a in addresses)]
        if alternatives:
            lines.append(f"subjectAltName={','.join(alternatives)}")
        extensions.write_text("\n".join(lines) + "\n")
        command(
            "openssl", "req", *CURVE, "-subj", subject,
            "-keyout", self.path(f"{name}.key"), "-out", request,
        )
        command(
            "openssl", "x509", "-req", "-in", request, "-days", DAYS, "-extfile", extensions,
            "-CA", self.path(f"{authority}.crt"), "-CAkey", self.path(f"{authority}.key"),
            "-CAcreateserial", "-out", self.path(f"{name}.crt"),
        )
        request.unlink()
        extensions.unlink()

    def write_kubeconfig(self, path: pathlib.Path, client: str, server: str = "") -> None:
        """A kubeconfig for a client of `make`; JSON, which every YAML reader takes."""
        server = server or f"https://{CONTROL_PLANE_IP}:{API_PORT}"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "cluster",
            "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": client}}],
            "clusters": [{"name": "cluster", "cluster": {
                "server": server, "certificate-authority-data": self._base64("ca.crt"),
            }}],
            "users": [{"name": client, "user": {
                "client-certificate-data": self._base64(f"{client}.crt"),
                "client-key-data": self._base64(f"{client}.key"),
            }}],
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(content, indent=1) + "\n")

    def _base64(self, name: str) -> str:
        return base64.b64encode(self.path(name).read_bytes()).decode()
