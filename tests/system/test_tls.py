"""Who a client's certificate says it is."""
from __future__ import annotations

from pathlib import Path

import pytest

from courierpy.admin import mkcert
from courierpy.system import tls
from courierpy.system.settings import Settings


def names(*fields: tuple[str, str]) -> dict[str, str]:
    return tls.subject({"subject": tuple((field,) for field in fields)})


def test_the_subject() -> None:
    assert names(("commonName", "joe"), ("emailAddress", "joe@example.com")) == {
        "TLS_SUBJECT_COMMONNAME": "joe", "TLS_SUBJECT_CN": "joe",
        "TLS_SUBJECT_EMAILADDRESS": "joe@example.com"}
    assert tls.subject({}) == {}


def test_a_field_that_is_there_twice_is_nobody() -> None:
    found = names(("commonName", "joe"), ("organizationName", "x"), ("commonName", "amy"))
    assert found == {"TLS_SUBJECT_ORGANIZATIONNAME": "x", "TLS_SUBJECT_O": "x"}
    assert tls.subject({"subject": ((("commonName", "joe"), ("commonName", "joe")),)}) == {}
    assert Settings({**found, "TLS_EXTERNAL": "CN"}).external_identity() == ""


def test_a_value_that_no_variable_can_hold_is_nobody() -> None:
    assert names(("commonName", "joe\0amy")) == {}


@pytest.mark.parametrize(("values", "why"), [
    ({"TLS_VERIFYPEER": "REQUIREPEER"}, "TLS_TRUSTCERTS"),
    ({"TLS_VERIFYPEER": "R", "TLS_TRUSTCERTS": ""}, "TLS_TRUSTCERTS"),
    ({"TLS_VERIFYPEER": "yes"}, "NONE, PEER and REQUIREPEER"),
    ({"TLS_VERIFYPEER": "R", "TLS_TRUSTCERTS": "/none/ca.pem"}, "^TLS_TRUSTCERTS=/none/ca.pem: No such file"),
    ({"TLS_VERIFYPEER": "P", "TLS_TRUSTCERTS": "/dev/null"}, "^TLS_TRUSTCERTS=/dev/null: "),
    ({"TLS_PRIVATE_KEYFILE": "/none/key.pem"}, "^/none/key.pem: No such file"),
    ({"TLS_CIPHER_LIST": "NONSENSE"}, "^TLS_CIPHER_LIST=NONSENSE: ")])
def test_who_wants_certificates_of_nobody_is_told_at_the_start(tmp_path: Path, values: dict[str, str],
                                                               why: str) -> None:
    """Nobody would be asked for one, and everybody served."""
    own = tmp_path / "own.pem"
    mkcert.make(str(own), "localhost")
    with pytest.raises(tls.TlsError, match=why):
        tls.Certificates(Settings({"TLS_CERTFILE": str(own), **values}))
    tls.Certificates(Settings({"TLS_CERTFILE": str(own), "TLS_VERIFYPEER": "REQUIREPEER",
                               "TLS_TRUSTCERTS": str(own)}))


@pytest.mark.parametrize(("values", "lowest"), [
    ({}, "TLSv1_2"), ({"TLS_PROTOCOL": "TLSv1.3"}, "TLSv1_3"),
    ({"TLS_STARTTLS_PROTOCOL": "TLSv1.3"}, "TLSv1_3"),
    ({"TLS_STARTTLS_PROTOCOL": "TLSv1.3", "IMAP_TLS": "1"}, "TLSv1_2"),
    ({"TLS_STARTTLS_PROTOCOL": "TLSv1.3", "POP3_TLS": "1"}, "TLSv1_2"),
    ({"TLS_STARTTLS_PROTOCOL": "TLSv1.2", "TLS_PROTOCOL": "TLSv1.3"}, "TLSv1_2"),
    ({"TLS_STARTTLS_PROTOCOL": "TLSv1.2", "TLS_PROTOCOL": "TLSv1.3", "IMAP_TLS": "1"}, "TLSv1_3")])
def test_the_lowest_protocol(values: dict[str, str], lowest: str, tmp_path: Path) -> None:
    mkcert.make(str(tmp_path / "cert.pem"), "localhost")
    context = tls._context(Settings(values), str(tmp_path / "cert.pem"), "")
    assert context.minimum_version.name == lowest
