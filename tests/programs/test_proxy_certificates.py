"""Certificates of hosts that logins are sent on to: what is not trusted hears no password."""
from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from courierpy.admin import mkcert
from tests.programs.chain import chain
from tests.programs.test_proxy import WAYS, account, line_of, log_in

pytestmark = pytest.mark.server


def yesterday(path: Path) -> None:
    """A certificate of localhost that is good no more, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now - datetime.timedelta(9))
            .not_valid_after(now - datetime.timedelta(1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
            .sign(key, hashes.SHA256()))
    pem = serialization.Encoding.PEM
    path.touch(0o600)
    path.write_bytes(made.public_bytes(pem) + key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def refused(way: dict[str, str], has: Path, trusts: tuple[tuple[Path, str], ...]) -> None:
    """Fronts that trust these send no login to a host that shows that; why is in their logs."""
    with chain(TLS_CERTFILE=str(has), IMAP_STARTTLS="YES") as back:
        for trusted, why in trusts:
            with chain(IMAP_PROXY="1", PROXY_TLS="starttls", PROXY_TRUSTCERTS=str(trusted),
                       **way) as front:
                account(front, "moved", f"localhost:{back.port}")
                client, heard = log_in(front, rest=b"b NOOP\r\n")
                assert heard.startswith(b"a NO [UNAVAILABLE] "), heard
                assert line_of(client).startswith(b"b OK")
                client.close()
                assert why in front.wait_log("Login to localhost")
        assert "LOGIN" not in back.log.read_text()


@pytest.mark.parametrize("way", WAYS)
def test_a_certificate_that_is_not_trusted(way: str, tmp_path: Path) -> None:
    """By another authority, for another name, and one that was good until yesterday: no password goes out."""
    shown, other, old = (tmp_path / name for name in ("shown", "other", "old"))
    mkcert.make(str(shown), "mail9.example.org")
    mkcert.make(str(other), "localhost")
    yesterday(old)
    for has, trusts in ((shown, ((other, "self-signed certificate"), (shown, "localhost"))),
                        (old, ((old, "certificate has expired"),))):
        refused(WAYS[way], has, trusts)
