"""The challenges and responses of SASL, whatever the protocol that carries them."""
from __future__ import annotations

from base64 import b64decode

from courierpy.auth import Rejected, Request, TemporaryFailure
from courierpy.model.replies import Bad
from courierpy.system.conn import Gone, TimedOut
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.auth import Account
    from courierpy.auth.sasl import Exchange
    from courierpy.model.steps import Steps


def exchanged(exchange: Exchange, respond: Callable[[bytes], Steps[bytes]]) -> Steps[Account]:
    """The account that the mechanism finds.  ``respond``: says a challenge to the client, and gives its
    response; neither is base64 here.  Raises Rejected and TemporaryFailure, and what ``respond`` raises.

    Where the client had been refused before, as by a mechanism that tells why (RFC 7628 3.2.3), Rejected is
    raised instead: how it ends the exchange then, or that it does not, does not undo that it tried.  That
    nobody has the name is no refusal: the client is not to hear of that before it has proved something."""
    refused = False
    said: list[bytes] = []             # which the mechanism may need until the end
    try:
        wanted = next(exchange)
        while True:
            if isinstance(wanted, bytes):
                try:
                    said.append((yield from respond(wanted)))
                except (Bad, Gone, TimedOut):
                    if refused:
                        raise Rejected from None
                    raise
                wanted = exchange.send(said[-1])
                continue
            try:
                answer = yield wanted
            except (Rejected, TemporaryFailure) as error:
                refused = isinstance(error, Rejected) and is_trial(wanted)
                wanted = exchange.throw(error)
            else:
                wanted = exchange.send(answer)
    except StopIteration as done:
        found: Account = done.value
        return found
    finally:
        wipe(*said)


def is_trial(wanted: object) -> bool:
    """Does it ask whether what the client has said is right?"""
    return isinstance(wanted, Request) and wanted.kind != "pre"


def decoded(text: bytes) -> bytes:
    """What a line of base64 says.  ``text`` is wiped.  Raises ValueError."""
    bare = text.strip()
    try:
        return b64decode(bare, validate=True)
    finally:
        wipe(text, bare)
