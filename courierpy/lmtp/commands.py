"""The commands of LMTP: each a function of the session and what stands behind its name.

A function gives the reply, or raises it.  Those that read more of the client than their line (DATA, BDAT,
AUTH) are the session's own.
"""
from __future__ import annotations

from courierpy.lmtp import grammar
from courierpy.lmtp.grammar import Reply
from courierpy.lmtp.transaction import TOO_LARGE, recipient
from courierpy.model.replies import anew
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    from courierpy.auth.postal import Accounts
    from courierpy.lmtp.grammar import Address
    from courierpy.lmtp.peer import Peer
    from courierpy.lmtp.transaction import Recipient, Transaction
    from courierpy.system.settings import Settings

    class Session(Protocol):
        """As lmtp/session.py has it."""

        accounts: Accounts
        client: str
        most: int
        over: bool
        peer: Peer
        settings: Settings
        transaction: Transaction | None
        utf8: bool

        def greeting(self) -> Reply: ...

        def offers(self) -> list[str]: ...

        def tell(self, lines: Iterable[str]) -> None: ...

        def begin(self, sender: Address, utf8: bool, octets: int) -> None: ...

        def add(self, to: Recipient) -> None: ...

        def reset(self) -> None: ...

        def data(self, rest: bytes) -> None: ...

        def bdat(self, rest: bytes) -> None: ...

        def auth(self, rest: bytes) -> Reply: ...

    # None: it has said everything itself
    Act = Callable[[Session, bytes], "Reply | None"]

MAIL = frozenset((b"SIZE", b"BODY", b"SMTPUTF8", b"AUTH", b"RET", b"ENVID"))
RCPT = frozenset((b"IGNOREQUOTA", b"ORCPT", b"NOTIFY"))
OK = Reply(250, "2.0.0", "OK")


class Command:
    """``act``: see Act.  ``greeted``: LHLO comes first.  ``trusted``: only for who may deliver."""

    __slots__ = ("act", "greeted", "trusted")

    def __init__(self, act: Act, *, greeted: bool = False, trusted: bool = False) -> None:
        self.act = act
        self.greeted = greeted
        self.trusted = trusted


def lhlo(session: Session, rest: bytes) -> Reply | None:
    name = grammar.client_name(rest)
    session.reset()
    session.client = session.peer.helo or name
    session.tell(session.offers())
    return None


def not_lmtp(session: Session, rest: bytes) -> Reply:
    return Reply(500, "5.5.1", "This is LMTP: say LHLO")


def mail(session: Session, rest: bytes) -> Reply:
    """RFC 5321 4.1.1.2, RFC 1870 6, RFC 6152, RFC 6531 3.4."""
    if session.transaction is not None:
        raise Reply(503, "5.5.1", "One message at a time: MAIL was said")
    sender, words = grammar.path(rest, b"FROM")
    found = grammar.parameters(words, MAIL)
    if b"SMTPUTF8" in found and found[b"SMTPUTF8"]:
        raise grammar.syntax("SMTPUTF8 has no value")
    if found.get(b"BODY", b"7BIT").upper() not in (b"7BIT", b"8BITMIME"):
        raise grammar.syntax("BODY is 7BIT or 8BITMIME")
    utf8 = b"SMTPUTF8" in found
    if not sender.ascii and not utf8:
        raise Reply(553, "5.6.7", "Such an address needs SMTPUTF8")
    size = grammar.octets(found[b"SIZE"]) if b"SIZE" in found else 0
    if session.most and size > session.most:
        raise anew(TOO_LARGE)
    session.begin(sender, utf8, size)
    return Reply(250, "2.1.0", "OK")


def rcpt(session: Session, rest: bytes) -> Reply:
    """RFC 5321 4.1.1.3; an account for it is looked for at once, and room by its quota where
    SIZE= says how much it takes."""
    transaction = session.transaction
    if transaction is None:
        raise Reply(503, "5.5.1", "MAIL comes first")
    address, words = grammar.path(rest, b"TO")
    found = grammar.parameters(words, RCPT)
    if not address.ascii and not session.utf8:
        raise Reply(553, "5.6.7", "Such an address needs SMTPUTF8")
    if transaction.content is not None:
        raise Reply(503, "5.5.1", "The message is coming")
    if len(transaction.recipients) >= session.settings.number("LMTP_RECIPIENTS"):
        raise Reply(452, "4.5.3", "Too many recipients, the others next time")
    session.add(recipient(session.accounts, address, session.settings, ignores_quota=b"IGNOREQUOTA" in found,
                          original=grammar.original(found.get(b"ORCPT", b""))))
    return Reply(250, "2.1.5", "OK")


def xclient(session: Session, rest: bytes) -> Reply:
    """For whom the client speaks, as a proxy does: the dialogue begins anew.  Postfix's extension of SMTP.
    Who may deliver is not changed by it."""
    if not session.peer.speaks_for:
        raise Reply(550, "5.7.0", "You may not say that")
    if session.transaction is not None:
        raise Reply(503, "5.5.1", "Not within a message")
    try:
        peer = session.peer.instead(grammar.xclient(rest))
    except ValueError:
        raise grammar.syntax("That is no ADDR") from None
    log.info(f"XCLIENT, {peer.who or log.who('', '')}, said by {session.peer.who or 'a program'}")
    session.peer, session.client = peer, ""
    return session.greeting()


def rset(session: Session, rest: bytes) -> Reply:
    _nothing(rest)
    session.reset()
    return OK


def noop(session: Session, rest: bytes) -> Reply:
    return OK


def vrfy(session: Session, rest: bytes) -> Reply:
    """Is there an account?  RFC 5321 3.5."""
    found = recipient(session.accounts, grammar.address(rest.strip(b"<> ")), session.settings)
    return Reply(250, "2.1.5", f"<{found.address.text}>" if found.address.ascii else "There is")


def expn(session: Session, rest: bytes) -> Reply:
    return Reply(502, "5.5.1", "There are no lists here")


def help_(session: Session, rest: bytes) -> Reply:
    return Reply(214, "2.0.0", "RFC 2033 has all that is known here")


def quit_(session: Session, rest: bytes) -> Reply:
    _nothing(rest)
    session.over = True
    return Reply(221, "2.0.0", "Good bye")


def _nothing(rest: bytes) -> None:
    if rest.strip():
        raise grammar.syntax("Nothing is expected behind it")


def data(session: Session, rest: bytes) -> None:
    session.data(rest)


def bdat(session: Session, rest: bytes) -> None:
    session.bdat(rest)


def auth(session: Session, rest: bytes) -> Reply:
    return session.auth(rest)


# BDAT sees to its state itself: whatever that is, its octets are no commands
TABLE = {
    b"LHLO": Command(lhlo), b"HELO": Command(not_lmtp), b"EHLO": Command(not_lmtp),
    b"MAIL": Command(mail, greeted=True, trusted=True), b"RCPT": Command(rcpt, greeted=True, trusted=True),
    b"DATA": Command(data, greeted=True, trusted=True), b"BDAT": Command(bdat),
    b"AUTH": Command(auth, greeted=True), b"RSET": Command(rset), b"NOOP": Command(noop),
    b"VRFY": Command(vrfy, greeted=True, trusted=True), b"EXPN": Command(expn), b"HELP": Command(help_),
    b"QUIT": Command(quit_), b"XCLIENT": Command(xclient, greeted=True)}
