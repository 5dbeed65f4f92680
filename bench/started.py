"""Row 41: how soon a server for tests is there, and its LMTP."""
from __future__ import annotations

from bench.client import now
from bench.peers import Courierpy
from courierpy.testing import Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.lab import At
    from bench.rows import Figures


def row_started(at: At) -> Figures:
    """Milliseconds from nothing to the greeting."""
    if not isinstance(at.server, Courierpy):
        return {}                      # the others are none for tests
    start = now()
    with Server() as server:
        up = now() - start
        start = now()
        assert server.lmtp_socket
        return {"41a": up * 1000, "41b": (now() - start) * 1000}
