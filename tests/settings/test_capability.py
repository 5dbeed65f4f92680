"""IMAP_CAPABILITY: what is told of what is implemented."""
from __future__ import annotations

import pytest

from courierpy.imap import capability
from courierpy.imap.capability import IMPLEMENTED, capabilities
from courierpy.imap.ext.index import WITHHELD
from courierpy.system import channelbinding
from courierpy.system.settings import Settings

ALL = [word for word in IMPLEMENTED if word != b"LITERAL-"]
CONFIGURED = [word for word in capability.MECHANISMS if word not in capability.BY_TOKEN]
# where the client may go back, and there are mailboxes elsewhere
ON = {"COURIERPY_RETURN": "3", "IMAP_REMOTE_MAILBOXES": "/list"}
PLAIN_LOGIN = [b"AUTH=PLAIN", b"AUTH=LOGIN"]


def told(value: str, stage: str = "session", tls: str | None = None) -> list[bytes]:
    values = {"IMAP_CAPABILITY": value, **ON}
    values |= ({} if tls is None else {"IMAP_CAPABILITY_TLS": tls})
    return capabilities(Settings(values), stage, tls is not None)


def without(*words: bytes) -> list[bytes]:
    return [word for word in ALL if word not in words]


@pytest.mark.parametrize("value", ["", " ", "all", "ALL", "All +IDLE", "idle all", "-nonsense +nonsense",
                                   "+ -", "-IMAP4rev1", "-LITERAL-"])
def test_all(value: str) -> None:
    assert told(value) == ALL


@pytest.mark.parametrize(("value", "gone"), [
    ("-IDLE", [b"IDLE"]), ("all -idle", [b"IDLE"]), ("-IDLE all -MOVE", [b"IDLE", b"MOVE"]),
    ("-THREAD", [b"THREAD=ORDEREDSUBJECT", b"THREAD=REFERENCES", b"THREAD=REFS"]),
    ("-THREAD=REFERENCES", [b"THREAD=REFERENCES"]),
    ("-SORT -IDLE +SORT", [b"IDLE"]), ("-LITERAL+ -LITERAL-", [b"LITERAL+"])])
def test_all_but_some(value: str, gone: list[bytes]) -> None:
    assert told(value) == without(*gone)


@pytest.mark.parametrize(("value", "acl", "words"), [
    ("IMAP4rev1 IDLE", "1", [b"ACL", b"ACL2=UNION", b"IDLE", b"RIGHTS=texk"]), ("IDLE", "0", [b"IDLE"]),
    ("IDLE", "", [b"IDLE"]), ("IDLE -ACL2 -RIGHTS", "1", [b"ACL", b"IDLE"]), ("all", "1", ALL[1:]),
    ("-ACL -ACL2", "1", [word for word in ALL[1:] if not word.startswith(b"ACL")])])
def test_lists_of_rights_are_told_besides_a_list(value: str, acl: str, words: list[bytes]) -> None:
    """As Courier does, in whose file IMAP_ACL is 1 and no list has ACL in it."""
    found = capabilities(Settings({"IMAP_CAPABILITY": value, "IMAP_ACL": acl, **ON}), "session", False)
    assert found[0] == b"IMAP4rev1"
    assert sorted(found[1:]) == sorted(words)


@pytest.mark.parametrize("value", ["-LITERAL+", "all +LITERAL-"])
def test_one_of_the_two_literals(value: str) -> None:
    assert told(value) == [b"LITERAL-" if word == b"LITERAL+" else word for word in ALL]


@pytest.mark.parametrize(("value", "is_told"), [
    ("", False), ("all", False), ("-IDLE", False), ("+UIDONLY", True), ("all +uidonly", True),
    ("IDLE UIDONLY", True), ("+UIDONLY -UIDONLY", False)])
def test_what_locks_clients_out_is_told_where_it_is_named(value: str, *, is_told: bool) -> None:
    assert {*WITHHELD} == {b"QUOTASET", b"UIDONLY"} and all(WITHHELD.values())
    assert (b"UIDONLY" in told(value)) is is_told


@pytest.mark.parametrize(("value", "words"), [
    ("IMAP4rev1", []), ("imap4rev1 idle", [b"IDLE"]), ("IDLE NONSENSE", [b"IDLE"]),
    ("IDLE MOVE -MOVE +SORT", [b"IDLE", b"SORT", b"SORT=DISPLAY"]), ("LITERAL-", [b"LITERAL-"]),
    ("LITERAL- LITERAL+", [b"LITERAL+"]),
    ("IDLE +THREAD", [b"IDLE", b"THREAD=ORDEREDSUBJECT", b"THREAD=REFERENCES", b"THREAD=REFS"])])
def test_a_list(value: str, words: list[bytes]) -> None:
    assert told(value) == [b"IMAP4rev1", *words]


@pytest.mark.parametrize(("value", "mechanisms"), [
    ("all", PLAIN_LOGIN), ("IMAP4rev1 AUTH=CRAM-MD5", [b"AUTH=CRAM-MD5"]), ("AUTH=PLAIN", [b"AUTH=PLAIN"]),
    ("+AUTH=SCRAM-SHA-256", [*PLAIN_LOGIN, b"AUTH=SCRAM-SHA-256"]),
    ("-AUTH=LOGIN", [b"AUTH=PLAIN"]), ("-AUTH", []),
    ("+AUTH", [word for word in CONFIGURED if not word.endswith(b"-PLUS")]),
    ("AUTH=SCRAM-SHA-256-PLUS", []), ("all AUTH=NONE", [])])
def test_mechanisms(value: str, mechanisms: list[bytes]) -> None:
    assert [word for word in told(value, "login") if word.startswith(b"AUTH=")] == mechanisms
    assert not [word for word in told(value) if word.startswith(b"AUTH=")]


SCRAM, PLUS = b"AUTH=SCRAM-SHA-256", b"AUTH=SCRAM-SHA-256-PLUS"


@pytest.mark.parametrize(("value", "mechanisms"), [
    ("all", PLAIN_LOGIN), ("+AUTH", CONFIGURED), ("AUTH=SCRAM-SHA-256", [SCRAM, PLUS]),
    ("+AUTH=SCRAM-SHA-256", [*PLAIN_LOGIN, SCRAM, PLUS]), ("AUTH=SCRAM-SHA-256-PLUS", [PLUS]),
    ("AUTH=SCRAM-SHA-256 -AUTH=SCRAM-SHA-256-PLUS", [SCRAM]), ("+AUTH=SCRAM-SHA-256 -AUTH=SCRAM-SHA-256",
                                                               PLAIN_LOGIN)])
@pytest.mark.parametrize("variable", channelbinding.VARIABLES.values())
def test_mechanisms_that_bind_to_the_channel(value: str, mechanisms: list[bytes], variable: str) -> None:
    """Where the connection can be bound to; a mechanism brings its form that binds."""
    found = capabilities(Settings({"IMAP_CAPABILITY_TLS": value, variable: "00"}), "login", True)
    assert [word for word in found if word.startswith(b"AUTH=")] == mechanisms


def test_the_mechanisms_of_the_shipped_line_do_not_make_a_list() -> None:
    for base in ("", "all", "-IDLE"):
        assert told(base, "login", f"{base} AUTH=PLAIN AUTH=LOGIN") == told(base, "login")


def test_what_is_told_behind_the_login_is_made_once() -> None:
    """Settings of what comes before it make no other line; the listener's children find what it has made."""
    words = {"IMAP_CAPABILITY": "IMAP4rev1 IDLE MOVE"}
    first = capability.line(Settings(words), "session", tls=False)
    again = capability.line(Settings({**words, "IMAP_TLS_REQUIRED": "1", "IMAP_STARTTLS": "YES"}), "session",
                            tls=False)
    assert first is again
    other = capability.line(Settings({**words, "IMAP_PROXY": "1", "IMAP_LOGIN_REFERRALS": "1"}), "login",
                            tls=False)
    assert b"LOGIN-REFERRALS" not in other
    assert b"LOGIN-REFERRALS" in capability.line(Settings({**words, "IMAP_LOGIN_REFERRALS": "1"}), "login",
                                                 tls=False)
