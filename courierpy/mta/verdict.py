"""Would mail for an address come?  The answer that LMTP would give, without a message.

Addresses, accounts, mailboxes and rights are looked at by what LMTP looks at them with; room is asked for in
a process that is the user (lmtp/carrier.py).
"""
from __future__ import annotations

import os

from courierpy.auth.postal import Accounts
from courierpy.lmtp import grammar
from courierpy.lmtp.carrier import LATER, Carriers
from courierpy.lmtp.grammar import Address, Reply
from courierpy.lmtp.transaction import TOO_LARGE, UNKNOWN, question, recipient
from courierpy.model.namespaces import INBOX
from courierpy.model.replies import anew
from courierpy.mta.question import Question
from courierpy.system import log, passing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from courierpy.system.settings import Settings

NOBODY = b"-"                      # between processes, of a question that asks of nobody
THERE = Reply(250, "2.1.5", "There is such a recipient")


class Verdicts:
    """``ignores_detail``: only the account counts, not the mailbox behind the + of an address."""

    def __init__(self, settings: Settings, ignores_detail: bool = False) -> None:
        self._settings = settings
        self._maildir = settings.text("MAILDIRPATH")
        self._ignores_detail = ignores_detail
        self._accounts = Accounts(settings)
        self._carriers = Carriers(settings.values)
        self._most = settings.of_word("IMAP_APPENDLIMIT", INBOX)

    def of(self, asked: Question) -> Reply | None:
        """None where it asks of nobody."""
        if not asked.address:
            return None
        try:
            to = recipient(self._accounts, address(asked.address), self._settings)
        except Reply as refusal:
            # some are raised again and again, and would keep the frames of each time
            return refusal.with_traceback(None)
        except Exception as error:     # in doubt the MTA asks again
            log.crit(f"a recipient cannot be looked for: {type(error).__name__}: {error}")
            return LATER
        if self._ignores_detail:
            to.detail = ""
        if self._most and asked.octets > self._most:
            return TOO_LARGE
        if asked.only_exists and not (to.detail and self._settings.flag("LMTP_DETAIL_MUST_EXIST")):
            return THERE
        to.ignores_quota = asked.only_exists
        return self._carriers.ask(to.account, question(to, self._maildir, asked.octets))

    def close(self) -> None:
        self._carriers.close()
        self._accounts.close()


def address(octets: bytes) -> Address:
    """Of an address as SMTP has it, or without the quotes of its local part, as an MTA has it in itself.
    Raises Reply for what is none, as nobody can be."""
    try:
        return grammar.address(octets)
    except Reply:
        local, at, domain = octets.rpartition(b"@")
        if not at:
            local, domain = octets, b""
    quoted = local.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    try:
        return grammar.address(b'"%s"%s%s' % (quoted, at, domain))
    except Reply:
        raise anew(UNKNOWN) from None


def work(end: socket.socket, verdicts: Verdicts) -> int:
    """In a process of its own: a question comes, its answer goes, until the other end is closed."""
    for data, fds in passing.orders(end):
        passing.close(fds)
        try:
            reply = verdicts.of(Question.of(data))
            passing.send(end, [NOBODY if reply is None else reply.words])
        except OSError as error:
            log.err(f"an answer finds no way: {error.strerror}")
            break
    verdicts.close()
    return os.EX_OK


def heard(data: bytes) -> Reply | None:
    """The answer of such a process."""
    return None if data == NOBODY else Reply.of(data)
