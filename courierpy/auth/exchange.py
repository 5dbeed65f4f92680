"""The challenges and responses of SASL, whatever the protocol that carries them."""
from __future__ import annotations

from base64 import b64decode

from courierpy.auth import Rejected, TemporaryFailure
from courierpy.model.replies import Reply
from courierpy.system.conn import Gone
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.auth import Account
    from courierpy.auth.sasl import Exchange
    from courierpy.model.steps import Steps


def exchanged(exchange: Exchange, respond: Callable[[bytes], Steps[bytes]]) -> Steps[Account]:
    """The account that the mechanism finds.  ``respond``: says a challenge to the client, and gives its
    response; neither is base64 here.  Raises Rejected and TemporaryFailure, and what ``respond`` raises:
    Rejected instead where the client had been refused before, as a mechanism that tells why does
    (RFC 7628 3.2.3).  How it ends the exchange then does not undo that it tried."""
    refused = False
    said: list[bytes] = []             # which the mechanism may need until the end
    try:
        wanted = next(exchange)
        while True:
            if isinstance(wanted, bytes):
                try:
                    said.append((yield from respond(wanted)))
                except (Reply, Gone):
                    if refused:
                        raise Rejected from None
                    raise
                wanted = exchange.send(said[-1])
                continue
            try:
                answer = yield wanted
            except (Rejected, TemporaryFailure) as error:
                refused = isinstance(error, Rejected)
                wanted = exchange.throw(error)
            else:
                wanted = exchange.send(answer)
    except StopIteration as done:
        found: Account = done.value
        return found
    finally:
        wipe(*said)


def decoded(text: bytes) -> bytes:
    """What a line of base64 says.  ``text`` is wiped.  Raises ValueError."""
    bare = text.strip()
    try:
        return b64decode(bare, validate=True)
    finally:
        wipe(text, bare)
