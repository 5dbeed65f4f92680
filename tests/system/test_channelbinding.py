"""Channel bindings: by our own reading of certificates and secrets, and by two libraries'."""
from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from courierpy.admin import mkcert
from courierpy.system import tls
from courierpy.system.channelbinding import END_POINT, EXPORTER, end_point, known
from courierpy.system.conn import Conn
from courierpy.system.settings import Settings

EC, RSA, ED = ["ec"], ["rsa"], ["ed"]          # the key, and options of signing
PSS = ["rsa", "-sigopt", "rsa_padding_mode:pss"]
KEYS = {"ec": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
        "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "ed": ["-algorithm", "ED25519"]}
CASES = {
    "ec sha256": [*EC, "-sha256"], "ec sha384": [*EC, "-sha384"], "ec sha512": [*EC, "-sha512"],
    "ec sha1": [*EC, "-sha1"], "ec sha224": [*EC, "-sha224"],
    "rsa sha1": [*RSA, "-sha1"], "rsa md5": [*RSA, "-md5"], "rsa sha256": [*RSA, "-sha256"],
    "rsa sha384": [*RSA, "-sha384"], "rsa sha512": [*RSA, "-sha512"], "pss sha1": [*PSS, "-sha1"],
    "pss sha256": [*PSS, "-sha256"], "pss sha384": [*PSS, "-sha384"], "pss sha512": [*PSS, "-sha512"],
}


def openssl(*words: str) -> str:
    return subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60).stdout.decode()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key of each kind."""
    folder = tmp_path_factory.mktemp("keys")
    for name, words in KEYS.items():
        (folder / name).write_text(openssl("genpkey", *words))
    return folder


def made(keys: Path, key: str, *options: str) -> str:
    return openssl("req", "-x509", "-days", "9", "-subj", "/CN=localhost", "-key", str(keys / key), *options)


@pytest.mark.parametrize("case", CASES)
def test_the_hash_is_that_of_the_signature(keys: Path, case: str) -> None:
    """RFC 5929 4.1, and SHA-256 for those of MD5 and SHA-1."""
    try:
        pem = made(keys, *CASES[case])
    except subprocess.CalledProcessError:
        pytest.skip("this openssl does not sign so")
    certificate = x509.load_pem_x509_certificate(pem.encode())
    used = certificate.signature_hash_algorithm
    assert used is not None
    own = Hash(SHA256() if used.name in ("md5", "sha1") else used)
    own.update(certificate.public_bytes(Encoding.DER))
    assert end_point(pem) == own.finalize()


def test_a_signature_without_a_hash_has_no_binding(keys: Path) -> None:
    assert end_point(made(keys, *ED)) == b""


@pytest.mark.parametrize("pem", [
    "", "text", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----",
    *(f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----"
      for text in ("", "MA==", "MAA=", "MIL/", "MAMwATAA", "////", "MBAwADAMBgoqhkiG9w0BAQsF"))])
def test_what_is_no_certificate_has_no_binding(pem: str) -> None:
    assert end_point(pem) == b""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    mkcert.make(str(path), "localhost")
    mkcert.make(f"{path}.mail.example.org", "mail.example.org")
    return path


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    with ours, theirs:
        yield ours, theirs


def shaken(pair: tuple[socket.socket, socket.socket], certificate: Path, version: int, name: str,
           ciphers: str = "", **more: str) -> tuple[dict[str, str], SSL.Connection]:
    """The variables of the server's side, and the client's side of a connection that asked for ``name``."""
    settings = Settings({"TLS_CERTFILE": str(certificate), "IMAP_CAPABILITY": "+AUTH=SCRAM-SHA-256", **more})
    found: dict[str, str] = {}
    conn = Conn(pair[0].fileno(), pair[0].fileno())
    shake = threading.Thread(target=lambda: found.update(
        tls.handshake(conn, tls.Certificates(settings), "", 60)))
    shake.start()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    if ciphers:
        context.set_tls13_ciphersuites(ciphers.encode())
    client = SSL.Connection(context, pair[1])
    client.set_tlsext_host_name(name.encode())
    client.set_connect_state()
    client.do_handshake()
    shake.join(60)
    return found, client


@pytest.mark.parametrize("ciphers", ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"])
@pytest.mark.parametrize("name", ["localhost", "mail.example.org"])
def test_both_sides_know_the_same(pair: tuple[socket.socket, socket.socket], certificate: Path, name: str,
                                  ciphers: str) -> None:
    """Also where the name that the client asks for changes the certificate."""
    found, client = shaken(pair, certificate, SSL.TLS1_3_VERSION, name, ciphers)
    bindings = known(found)
    assert client.get_cipher_name() == ciphers
    assert bindings[EXPORTER] == client.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
    presented = client.get_peer_certificate(as_cryptography=True)
    assert presented is not None
    assert bindings[END_POINT] == presented.fingerprint(SHA256())
    assert presented.subject.rfc4514_string() == f"CN={name}"


def test_no_exporter_before_tls_1_3(pair: tuple[socket.socket, socket.socket], certificate: Path) -> None:
    """RFC 9266 4.2: only with the extended master secret, which nobody tells us of."""
    found, _ = shaken(pair, certificate, SSL.TLS1_2_VERSION, "localhost")
    assert known(found).keys() == {END_POINT}


def test_nothing_is_known_where_nobody_asks(pair: tuple[socket.socket, socket.socket],
                                            certificate: Path) -> None:
    found, _ = shaken(pair, certificate, SSL.TLS1_3_VERSION, "localhost", IMAP_CAPABILITY="all AUTH=PLAIN")
    assert known(found) == {}


def test_no_secret_stays_in_the_context(pair: tuple[socket.socket, socket.socket], certificate: Path) -> None:
    settings = Settings({"TLS_CERTFILE": str(certificate), "IMAP_CAPABILITY": "+AUTH"})
    offered = tls.Certificates(settings)
    conn = Conn(pair[0].fileno(), pair[0].fileno())
    pair[1].sendall(b"no TLS at all\r\n" * 10)
    with pytest.raises(tls.TlsError):
        tls.handshake(conn, offered, "", 60)
    assert len(offered.end_points) == 2
    assert {context.keylog_filename for context in offered.end_points} == {None}
