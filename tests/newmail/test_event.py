"""Events: what is in them, what is refused."""
from __future__ import annotations

import json

import pytest

from courierpy.lmtp.news import matches
from courierpy.newmail.event import MAX_OCTETS, MAX_TOKEN_OCTETS, Event, is_token


def test_there_and_back() -> None:
    event = Event("ann@example.org", "INBOX.lists\udcff", 1700000000, wanted=False, ours=True,
                  about={"subject": "ü", "size": "12"}, tokens=["a", "b"])
    found = Event.of(event.encode())
    assert found.mailbox == "INBOX.lists "             # it can be written
    assert {name: getattr(found, name) for name in Event.__slots__ if name != "mailbox"} == \
        {name: getattr(event, name) for name in Event.__slots__ if name != "mailbox"}
    assert Event("a", "b", 1).ident != Event("a", "b", 1).ident


@pytest.mark.parametrize("data", [
    b"", b"{", b"[]", b"1", b"\xff\xfe", b"{}", b"[" * 60000, b" " * (MAX_OCTETS + 1),
    *(json.dumps({**json.loads(Event("a", "b", 1).encode()), **wrong}).encode() for wrong in (
        {"user": ""}, {"user": 1}, {"mailbox": None}, {"about": []}, {"about": {"size": 1}}, {"tokens": "x"},
        {"at": True}, {"at": "1"}, {"at": -1}, {"at": 10 ** 20},
        {"ident": ""}, {"ident": "../../x"}, {"ident": "a\n"}))])
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(ValueError):
        Event.of(data)


def test_texts_are_one_line_and_bounded() -> None:
    found = Event.of(Event("a\r\nb", "x\0" + "y" * 5000, 1, about={"subject": "x\ny", "password": "z"},
                           tokens=["ok", "a b", "ü", "", "x" * (MAX_TOKEN_OCTETS + 1)]).encode())
    assert (found.user, len(found.mailbox), found.about, found.tokens) == \
        ("a  b", 1024, {"subject": "x y"}, ("ok",))
    assert not is_token(7) and is_token("fcm-a:b_c")


def test_only_what_is_allowed_is_told() -> None:
    event = Event("ann", "INBOX", 5, about={"subject": "secret", "from": "x"}, tokens=["t"])
    told = event.told([])
    assert told == {"event": "newmail", "id": event.ident, "user": "ann", "mailbox": "INBOX", "time": 5}
    assert event.told(["from"]) == {**told, "from": "x"}


@pytest.mark.parametrize(("name", "patterns", "told"), [
    ("INBOX", "INBOX", True), ("INBOX.a", "INBOX", False), ("INBOX.a b", "x, INBOX.a b", True),
    ("INBOX.a", "*", True), ("INBOX.lists.x", "INBOX.lists.*", True), ("INBOX.[x]", "INBOX.[x]", True),
    ("INBOX.x", "INBOX.[x]", False), ("INBOX.a", "INBOX.?", False), ("INBOX", "", False)])
def test_mailboxes(name: str, patterns: str, told: bool) -> None:
    assert matches(name, patterns) is told
