"""Numbers of files, settings and other programs are bounded before int() sees them."""
from __future__ import annotations

import pytest

from courierpy.auth import TemporaryFailure, Unservable, authshadow, authuserdb, protocol
from courierpy.listener import options, sockets
from courierpy.model.numbers import PID_MOST, decimal
from courierpy.system import desk, haproxy
from courierpy.system.settings import Settings

THOUSANDS = "1" * 5000             # of digits, which int() refuses with a ValueError
ODD = ["", " 1", "1 ", "+1", "-1", "1_0", "0x1", "1.0", "\u00b2", "\u0661", "\uff11", THOUSANDS]


@pytest.mark.parametrize("text", ODD)
def test_what_is_no_number(text: str) -> None:
    assert decimal(text) is None
    assert decimal(text.encode()) is None


def test_numbers() -> None:
    assert (decimal("0"), decimal(b"007"), decimal("12", 12), decimal("13", 12)) == (0, 7, 12, None)
    assert decimal(str(PID_MOST), PID_MOST) == PID_MOST
    assert decimal("9" * 19) is None


@pytest.mark.parametrize("text", ODD)
def test_who_reads_them_says_what_is_wrong(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    word = text if text and text == text.strip() else "x"
    with pytest.raises(haproxy.ProxyError):
        haproxy.parse_line(f"PROXY TCP4 127.0.0.1 127.0.0.2 {word} 143".encode())
    with pytest.raises(options.UsageError):
        options.Options([f"-maxprocs={text}", "143", "program"])
    with pytest.raises(options.UsageError):
        options.parse_ports(word, None)
    with pytest.raises(Unservable):
        authuserdb._account("ann", {"uid": text, "gid": "1", "home": "/"}, "", "")
    with pytest.raises((TemporaryFailure, Unservable)):
        protocol.parse_reply(f"UID={text}\nGID=1\nHOME=/\nADDRESS=ann\n.\n".encode())
    with pytest.raises(ValueError, match="."):
        protocol.parse_request(f"AUTH {text}\nimap\nlogin\nann\nsecret\n".encode(), {})
    assert not authshadow._expired(text)
    assert desk.descriptors({desk.VARIABLE: text}) == []
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setattr("os.getpid", lambda: 1)
    monkeypatch.setenv("LISTEN_FDS", text.replace("\0", ""))
    assert sockets.inherited("imap") == []


@pytest.mark.parametrize("text", ["70000", "65536", "99999999999999999999"])
def test_ports_have_sixteen_bits(text: str) -> None:
    with pytest.raises(haproxy.ProxyError):
        haproxy.parse_line(f"PROXY TCP4 127.0.0.1 127.0.0.2 {text} 143".encode())
    with pytest.raises(options.UsageError):
        options.parse_ports(text, None)


def test_settings_take_what_atoi_takes() -> None:
    """Within the bounds of the table, where it has some: at least 1 here."""
    for text, number in ((THOUSANDS, 111111111111111111), (" 12 apples", 12), ("\u0661", 10000), ("", 10000),
                         ("-5", 1)):
        assert Settings({"IMAP_MIME_PARTS": text}).number("IMAP_MIME_PARTS") == number
