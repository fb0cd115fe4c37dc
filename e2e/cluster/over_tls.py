"""Scenario of TLS: the same clients through the Service's TLS port, and a new certificate meanwhile."""

import base64
import pathlib
import socket
import ssl
import time

import load
from machine import command, until
from scenario import SERVICE, SYSTEM, Installation, say

SHARDS = 4
DAYS = 7
STEADY = "tls-steady"
SECRET = "millstream-e2e-tls"
RENEWED_SECONDS = 180
# New connections in a row that must show the new certificate: more than gateways, many times over.
SHOWN_IN_A_ROW = 20
FRESH_CLIENTS = 20
NAMES = ("localhost", f"{SERVICE}.{SYSTEM}", f"{SERVICE}.{SYSTEM}.svc")
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """An authority that an administrator made with openssl, and certificates of it."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.certificate, self.key = folder / "authority.crt", folder / "authority.key"
        command("openssl", "req", "-x509", *CURVE, "-days", DAYS, "-subj", "/CN=e2e authority",
                "-keyout", self.key, "-out", self.certificate,
                "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def sign(self, name: str) -> tuple:
        """A new key and its certificate for the Service and this machine: (certificate, key)."""
        paths = {kind: self.folder / f"{name}.{kind}" for kind in ("crt", "key", "csr", "ext")}
        names = [*(f"DNS:{host}" for host in NAMES), "IP:127.0.0.1"]
        paths["ext"].write_text(f"subjectAltName={','.join(names)}\nextendedKeyUsage=serverAuth\n")
        command("openssl", "req", *CURVE, "-subj", f"/CN={name}", "-keyout", paths["key"],
                "-out", paths["csr"])
        command("openssl", "x509", "-req", "-in", paths["csr"], "-days", DAYS, "-extfile",
                paths["ext"], "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                "-out", paths["crt"])
        return paths["crt"].read_bytes(), paths["key"].read_bytes()


def tls_and_a_new_certificate(installation: Installation) -> None:
    """Signed requests over TLS with an authority of our own; its certificate is renewed under load and
    no client that uses the SDK's retries notices."""
    authority = Authority(installation.folder)
    give(installation, authority.sign("first"))
    try:
        installation.upgrade("gateway.tls.enabled=true", f"gateway.tls.secretName={SECRET}")
        installation.make_stream(STEADY, shardCount=SHARDS)
        with installation.reachable(ca=authority.certificate):
            strangers_are_refused(installation)
            renew_under_load(installation, authority)
        installation.delete_stream(STEADY)
    finally:
        installation.upgrade()
        installation.target.kubectl("delete", "secret", SECRET, "-n", SYSTEM)


def give(installation: Installation, pair: tuple) -> None:
    """Writes the Secret that the gateways read, as cert-manager would."""
    certificate, key = (base64.b64encode(part).decode() for part in pair)
    installation.apply({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET, "namespace": SYSTEM},
        "data": {"tls.crt": certificate, "tls.key": key},
    })


def strangers_are_refused(installation: Installation) -> None:
    """Who does not know the authority does not connect; who signs wrongly is told so."""
    say_of = {}
    for who, kinesis in (
        ("without the authority", load.client(installation.endpoint, installation.key, attempts=1)),
        ("with a wrong secret", installation.client(False, key=(installation.key[0], "x" * 40))),
    ):
        try:
            load.shards(kinesis, STEADY)
        except load.WRONG as error:
            say_of[who] = load.why(error)
    assert say_of == {"without the authority": "SSLError",
                      "with a wrong secret": "InvalidSignatureException"}, say_of


def renew_under_load(installation: Installation, authority: Authority) -> None:
    with installation.under_load("tls", shardCount=SHARDS), installation.steady(STEADY):
        before = {pod["metadata"]["uid"]: restarts(pod) for pod in installation.pods("gateway")}
        renewed = authority.sign("second")
        begin = time.monotonic()
        give(installation, renewed)
        wanted = ssl.PEM_cert_to_DER_cert(renewed[0].decode())
        in_a_row = 0

        def is_shown():
            nonlocal in_a_row
            in_a_row = in_a_row + 1 if shown(installation) == wanted else 0
            return in_a_row >= SHOWN_IN_A_ROW

        assert until(is_shown, RENEWED_SECONDS), "the gateways still show the old certificate"
        say(f"every gateway shows the new certificate {time.monotonic() - begin:.1f} s after the Secret")
        for number in range(FRESH_CLIENTS):
            installation.client(retries=True).put_record(
                StreamName=STEADY, Data=load.payload(-1, load.random.Random(number)),
                PartitionKey=str(number))
        after = {pod["metadata"]["uid"]: restarts(pod) for pod in installation.pods("gateway")}
        # The gateways without TLS may still be on their way out.
        assert after and after.items() <= before.items(), f"gateways were restarted: {before}, {after}"


def restarts(pod: dict) -> int:
    return sum(status["restartCount"] for status in pod["status"]["containerStatuses"])


def shown(installation: Installation) -> bytes:
    """The certificate that a new connection is shown."""
    host, _, port = installation.endpoint.removeprefix("https://").rpartition(":")
    context = ssl.create_default_context(cafile=installation.ca)
    with (socket.create_connection((host, int(port)), timeout=10) as raw,
          context.wrap_socket(raw, server_hostname=host) as wrapped):
        return wrapped.getpeercert(binary_form=True)
