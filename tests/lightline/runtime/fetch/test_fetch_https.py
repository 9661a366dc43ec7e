"""https is not left for http, and a certificate that nobody vouches for is refused."""

import datetime
import ipaddress
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support import ROOT

DIGEST = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"  # of b"content"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A key and a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/down"):
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/file?key=s3cret")
        elif self.path == "/along":
            self.send_response(302)
            self.send_header("Location", "/file")
        else:
            self.send_response(200)
            self.send_header("Content-Length", "7")
        self.end_headers()
        if self.path == "/file":
            self.wfile.write(b"content")

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that does not trust the certificate hangs up, as it should."""


@pytest.fixture(scope="module")
def url(certificate) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def fetched(url: str, trusted: Path | None) -> subprocess.CompletedProcess[str]:
    """Fetch in a process of its own: which certificates count is decided when the library loads."""
    code = (
        "from lightline.runtime.fetch.fetch import fetch; from tests.support.source_settings import RULES; "
        f"fetch([{url!r}], 'sha256', {DIGEST!r}, RULES, (0,))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **({"SSL_CERT_FILE": str(trusted)} if trusted else {})}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", ["/file", "/along"])
def test_https_is_fetched_also_through_redirects(url, certificate, path):
    process = fetched(url + path, certificate)
    assert process.returncode == 0, process.stderr


def test_a_redirect_to_http_is_refused_and_its_keys_are_not_shown(url, certificate):
    process = fetched(f"{url}/down?key=t0p", certificate)
    assert "leads from https to http://127.0.0.1:1/file." in process.stderr
    assert "s3cret" not in process.stderr
    assert "t0p" not in process.stdout
    assert not list(Path(".lightline/downloads").iterdir())


def test_an_unknown_certificate_is_refused(url):
    process = fetched(f"{url}/file", None)
    assert "has no certificate that this machine trusts" in process.stderr
    assert "Trying again" not in process.stderr
