"""Mail by SMTP into the accounts of a test, by aiosmtpd (the extra ``testing-smtp``)."""
from __future__ import annotations

import os
import socket
from functools import partial

from courierpy.maildir.errors import StoreError
from courierpy.model.namespaces import INBOX
from courierpy.testing.delivery import deliver
from courierpy.testing.places import HOST, maildir_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Envelope, Session

MOST_OCTETS = 100_000_000


class Handler:
    """Recipients are accounts: by their name, or by the part of the address before the @."""

    def __init__(self, folder: str, layout: str) -> None:
        self._folder = folder
        self._layout = layout

    def _maildir(self, address: str) -> str | None:
        for name in (address, address.rpartition("@")[0]):
            path = maildir_of(self._folder, name)
            if path is not None and os.path.isdir(path):
                return path
        return None

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str,  # noqa: N802
                          options: list[str]) -> str:
        if self._maildir(address) is None:
            return "550 5.1.1 no such account"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        octets = content if isinstance(content, bytes) else (content or "").encode()
        sender = (envelope.mail_from or "").encode("utf-8", "surrogateescape")
        try:
            for path in dict.fromkeys(filter(None, map(self._maildir, envelope.rcpt_tos))):
                deliver(path, INBOX, self._layout, b"Return-Path: <%s>\r\n%s" % (sender, octets))
        except (OSError, StoreError) as error:
            return f"451 4.3.0 not delivered: {error}"
        return "250 2.0.0 delivered"


async def serve(folder: str, layout: str) -> int:
    """Gives the port.  Raises ImportError where aiosmtpd is not installed."""
    import asyncio

    from aiosmtpd.smtp import SMTP
    sock = socket.socket()
    sock.bind((HOST, 0))
    server = partial(SMTP, Handler(folder, layout), data_size_limit=MOST_OCTETS, enable_SMTPUTF8=True,
                     hostname="localhost")
    await asyncio.get_running_loop().create_server(server, sock=sock)
    return int(sock.getsockname()[1])
