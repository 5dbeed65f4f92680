"""courierpy started once more, with another way for sessions to share processes; the others as they are."""
from __future__ import annotations

import os
import time
from contextlib import contextmanager

from bench.client import Client
from bench.peers import PASSWORD, START, Courierpy, Missing, free_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.lab import At


class Apart:
    """A server at a port of its own, for the accounts of ``at``."""

    def __init__(self, at: At, port: int, first: int) -> None:
        """``first``: where its processes begin in ``started`` of the server."""
        self.at = at
        self.port = port
        self._first = first

    def roots(self) -> list[int]:
        return [process.pid for process in self.at.server.started[self._first:]]

    def login(self, account: str) -> Client:
        return Client(self.port).login(self.at.account(account), PASSWORD)

    def opened(self, account: str) -> Client:
        """Logged in, INBOX selected."""
        client = self.login(account)
        client.do(b"SELECT INBOX")
        return client


@contextmanager
def sharing(at: At, reuse: str, **more: str) -> Iterator[Apart]:
    """A server whose IMAP_REUSE is ``reuse``, with ``more`` settings; of one that knows nothing of these,
    what it is anyway."""
    server = at.server
    if not isinstance(server, Courierpy):
        yield Apart(at, server.port, 0)
        return
    apart = Apart(at, free_port(), len(server.started))
    place = os.path.join(server.folder, f"reuse-{apart.port}")
    os.makedirs(place, 0o755)
    server.serve(place, PORT=str(apart.port), IMAPDSSLSTART="NO", IMAP_LOGIN_PROCESSES="2", IMAP_REUSE=reuse,
                 **more)
    try:
        end = time.monotonic() + START
        while True:
            try:
                Client(apart.port).logout()
                break
            except OSError as error:
                if time.monotonic() > end:
                    raise Missing(f"did not start ({error}): {server.last_words()}") from None
                time.sleep(0.05)
        yield apart
    finally:
        server.stop_from(apart._first)
