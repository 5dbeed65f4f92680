"""The fields that a delivery writes above a message.  RFC 5321 4.4, RFC 3848, RFC 6531 3.7.3."""
from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.lmtp.grammar import Address

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Trace:
    """What is known of where a message comes from.  ``client``: the name that the client gave, ``peer``: its
    network address in brackets, and before it its name, if that is known, "" for a program of this host;
    ``protocol``: LMTP, LMTPA, UTF8LMTP or UTF8LMTPA; ``ident``: of the message, for the log too."""

    __slots__ = ("_host", "client", "ident", "peer", "protocol")

    def __init__(self, client: str, peer: str, protocol: str, host: str, ident: str) -> None:
        self.client = client
        self.peer = peer
        self.protocol = protocol
        self._host = host
        self.ident = ident

    def fields(self, sender: Address, recipient: Address, original: str, delivered_to: bool) -> bytes:
        """For the copy of one recipient; lines end in CR LF.  ``original``: the address that the sender wrote
        to, before the MTA changed it."""
        lines = [f"Return-Path: <{sender.text}>"]
        if delivered_to:
            lines.append(f"Delivered-To: {recipient.text}")
        if original and original != recipient.text:
            lines.append(f"X-Original-To: {original}")
        source = f"from {self.client} " if self.client else ""
        source += f"({self.peer})" if self.peer else "(local)" if source else ""
        lines += [f"Received: {source}".rstrip(), f"\tby {self._host} with {self.protocol} id {self.ident}",
                  f"\tfor <{recipient.text}>; {date(time.time())}"]
        return "".join(line + "\r\n" for line in lines).encode()


def ident() -> str:
    """A word for the log and for Received, another one for each message."""
    return os.urandom(6).hex()


def date(seconds: float) -> str:
    """RFC 5322 3.3, in local time, whatever the locale."""
    now = time.localtime(seconds)
    return (f"{_DAYS[now.tm_wday]}, {now.tm_mday} {_MONTHS[now.tm_mon - 1]} {now.tm_year} "
            f"{time.strftime('%H:%M:%S %z', now)}")


def host() -> str:
    """What this host is called in a reply or a field."""
    name = os.uname().nodename
    return name if name.isascii() and name.replace("-", "").replace(".", "").isalnum() else "localhost"
