"""Rows about the connection itself."""
from __future__ import annotations

from bench.client import Squeezed
from bench.peers import Courier
from bench.rows import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.lab import At
    from bench.rows import Figures


def row_compress(at: At) -> Figures:
    """Octets of mail, before they are compressed; and how many of them are one on the wire."""
    if isinstance(at.server, Courier):
        return {}
    client = Squeezed(at.opened("squeezed"))
    start = now()
    octets = client.drain(b"FETCH 1:* (BODY.PEEK[])")
    seconds = now() - start
    return {"30a": octets / seconds / 1e6, "30b": octets / client.received}
