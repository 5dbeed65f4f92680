"""What the outbox gives to the program, and what clients are told of it."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from courierpy.imap import capability
from courierpy.imap.ext import outbox
from courierpy.maildir.messagefile import PIECE_OCTETS, MessageFile
from courierpy.system.settings import Settings


def given(path: Path, data: bytes, field: str = "X-IMAP-Sender", user: str = "demo") -> bytes:
    path.write_bytes(data)
    with path.open("rb") as file, MessageFile(os.dup(file.fileno()), "a message") as message:
        return b"".join(outbox.message(field, user, message))


@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_line_ends(before: int, tmp_path: Path) -> None:
    data = b"x" * (PIECE_OCTETS - before) + b"\r\n\r\r\n\n\r"
    assert given(tmp_path / "m", data, field="") == data.replace(b"\r\n", b"\n")


@pytest.mark.parametrize(("field", "user", "line"), [
    ("X-IMAP-Sender", "demo", b"X-IMAP-Sender: demo\n"), ("X", "j\u00f6", b"X: j\xc3\xb6\n"),
    ("", "demo", b""),
    ("X", "a\r\nBcc: b@example.org", b"X: a?Bcc: b@example.org\n"), ("a b", "demo", b""),
    ("X:", "demo", b""), ("X", "", b"")])
def test_the_field(field: str, user: str, line: bytes, tmp_path: Path) -> None:
    assert given(tmp_path / "m", b"To: c\n", field, user) == line + b"To: c\n"


@pytest.mark.parametrize(("value", "told"), [
    (".Outbox", b"XCOURIEROUTBOX=INBOX.Outbox"), (".Sent.out", b"XCOURIEROUTBOX=INBOX.Sent.out"),
    (".Gesendet \u00e4", None), (".\u00e4", b"XCOURIEROUTBOX=INBOX.&AOQ-"), ("", None), ('."', None)])
@pytest.mark.parametrize("listed", ["", "IMAP4rev1 UIDPLUS"])
def test_what_clients_are_told(value: str, told: bytes | None, listed: str) -> None:
    for stage in ("login", "session", "preauth"):
        words = capability.line(Settings({"OUTBOX": value, "IMAP_CAPABILITY": listed}), stage, False).split()
        assert [word for word in words if word.startswith(b"XC")] == ([] if told is None else [told])
