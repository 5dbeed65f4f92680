"""What of a search is told: the options of RETURN, each a record.  RFC 4731, RFC 4466 2.6.

Extensions plug theirs into ``search_returns``.
"""
from __future__ import annotations

from array import array

from courierpy.imap.grammar import out
from courierpy.imap.records import Records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Protocol

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.searchkeys import Key
    from courierpy.imap.session import Session

    class Order(Protocol):
        """An order of messages that is not that of the mailbox."""

        def place(self, session: Session, key: Key, known: Sequence[int], uid: int) -> int:
            """Before how many of the messages ``known``, UIDs in this order, does this one stand behind?"""

        def packed(self) -> tuple[bytes, bytes]:
            """What makes it again in another process: the key in the extensions' table ``woken``, octets."""

FEW = 8                                # of one in so many messages the UIDs are looked up one by one


class SearchReturn:
    """An option of RETURN.  RFC 4731 3.1.

    ``tell``: function (Found, value) giving the value that is told, in pieces where it grows with what
    was found; or None: nothing is.  ``parse``:
    function (args) giving the value, of what stands behind the word, the blank included.  ``part``:
    function (Found, value) giving the sequence numbers that it speaks of; by default all that were found.
    ``silent``: it asks for no line.  ``aside``: it speaks of no messages, and no other option is changed by
    it.  ``lists``: it names messages one after the other, in their order.
    ``not_beside``: options that the same command must not have; itself among them: it may be named once.
    ``check``: function (session, tag, Key) that raises Bad where what is searched for does not go with it.
    ``refused``: function (session), called when the command is answered with NO.  Where many mailboxes are
    searched: ``of_selected``: it is of the selected one; ``alone``: no other may be among them.
    """

    __slots__ = ("alone", "aside", "check", "lists", "not_beside", "of_selected", "parse", "part", "refused",
                 "silent", "tell")

    def __init__(self, tell: Callable[[Found, Any], bytes | Iterable[bytes] | None],
                 parse: Callable[[Args], Any] = lambda args: None,
                 part: Callable[[Found, Any], Sequence[int]] | None = None,
                 silent: bool = False, not_beside: Sequence[bytes] = (),
                 refused: Callable[[Session], None] | None = None, lists: bool = False,
                 check: Callable[[Session, bytes, Key], None] = lambda session, tag, key: None,
                 of_selected: bool = False, alone: bool = False, aside: bool = False) -> None:
        self.tell = tell
        self.parse = parse
        self.part = part if part is not None else _every
        self.silent = silent
        self.lists = lists
        self.not_beside = not_beside
        self.check = check
        self.of_selected = of_selected
        self.alone = alone
        self.aside = aside
        self.refused = refused


class Found:
    """What a command found: ``seqs``, sequence numbers in the order in which they are told; ``key``: what
    it looked for; ``by_uid``: the client is told their UIDs; ``options``: those of RETURN, and what stood
    behind them; ``tag``: the command's; ``where``: the mailbox, as it stands behind the tag, blank
    included, where that is to be told; ``order``: that of ``seqs``, None: they ascend."""

    __slots__ = ("by_uid", "key", "options", "order", "seqs", "session", "tag", "where")

    def __init__(self, session: Session, key: Key, seqs: Sequence[int], by_uid: bool,
                 options: Mapping[bytes, Any] | None = None, tag: bytes = b"",
                 where: bytes = b"", order: Order | None = None) -> None:
        self.session = session
        self.key = key
        self.seqs = seqs
        self.by_uid = by_uid
        self.options = options or {}
        self.tag = tag
        self.where = where
        self.order = order

    @property
    def correlator(self) -> bytes:
        """What an ESEARCH line begins with: whose it is.  RFC 4466 2.6.2, RFC 7377 4."""
        return b"(TAG %s%s)%s" % (out.quoted(self.tag), self.where, b" UID" if self.by_uid else b"")

    @property
    def numbers(self) -> Sequence[int]:
        """What the client is told: the sequence numbers, or the UIDs."""
        return numbers(self.session, self.seqs, self.by_uid)


def _every(found: Found, value: object) -> Sequence[int]:
    return found.seqs


def numbers(session: Session, seqs: Sequence[int], by_uid: bool) -> Sequence[int]:
    """What the client is told: the sequence numbers, or their UIDs."""
    if not by_uid:
        return seqs
    uids = session.need_selected().view.uids
    if len(seqs) * FEW < len(uids):
        return array("I", [uids[seq - 1] for seq in seqs])
    by_seq = array("I", [0])
    by_seq.extend(uids)
    return array("I", map(by_seq.__getitem__, seqs))


RETURNS: Records[SearchReturn] = Records("search_returns")
