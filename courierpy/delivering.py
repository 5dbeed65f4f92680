"""What ``deliver`` does (deliver.py), when all that it needs could be loaded."""
from __future__ import annotations

import os

from courierpy import lmtpd
from courierpy.auth import Account
from courierpy.auth.postal import Accounts
from courierpy.lmtp import grammar, trace
from courierpy.lmtp.carrier import Carriers
from courierpy.lmtp.grammar import Address, Reply
from courierpy.lmtp.transaction import UNKNOWN, Recipient, Transaction, recipient
from courierpy.model.namespaces import INBOX
from courierpy.model.replies import anew
from courierpy.system import log, proc
from courierpy.system.settings import Settings, SettingsError
from courierpy.system.startup import with_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PIECE = 65536                          # octets that are read at once
_VALUES = ("-C", "-r", "-f", "-m", "-a", "-t")
_SWITCHES = ("-d", "-q", "-l")
# no room by the quota, no such mailbox, too large: the MTA tells who sent it
_FOR_THE_SENDER = ("4.2.2", "5.2.2", "5.2.1", "5.3.4")


class WrongWords(Exception):
    """str() is the complaint."""


class Options:
    """Of the command line.  ``sender``: as it was written, None where nobody is named."""

    __slots__ = ("files", "ignores_quota", "mailbox", "poster", "sender", "speaks_lmtp", "users")

    def __init__(self, words: Sequence[str]) -> None:
        """Raises WrongWords."""
        self.files: list[str] = []
        self.sender: str | None = None
        self.mailbox = self.poster = ""
        self.ignores_quota = self.speaks_lmtp = False
        rest = list(words)
        while rest and rest[0].startswith("-") and rest[0] != "-":
            word = rest.pop(0)
            if word == "--":
                break
            letter, value = word[:2], word[2:]
            if letter in _VALUES:
                if not value and not rest:
                    raise WrongWords(f"{letter} expects a value")
                self._take(letter, value or rest.pop(0))
            elif word in _SWITCHES:
                self.ignores_quota |= word == "-q"
                self.speaks_lmtp |= word == "-l"
            else:
                raise WrongWords(f"there is no option {word}; deliver --help tells what there is")
        self.users = rest

    def _take(self, letter: str, value: str) -> None:
        if letter == "-C":
            self.files.append(value)
        elif letter in ("-r", "-f"):
            self.sender = value
        elif letter == "-m":
            self.mailbox = value
        elif letter == "-a":
            self.poster = value


def main(words: Sequence[str], environ: dict[str, str]) -> int:
    """Gives the exit status."""
    try:
        options = Options(words)
    except WrongWords as error:
        _complain(str(error))
        return os.EX_USAGE
    try:
        values = with_files(options.files, environ)
    except SettingsError as error:
        _complain(str(error))
        return os.EX_TEMPFAIL               # the administrator mends it, and the message comes
    log.start("deliver", values)
    proc.leave_no_core()
    settings = Settings(values)
    if options.speaks_lmtp:
        lmtpd.serve(values, False, "")
        return os.EX_OK
    try:
        sender = _sender(options, environ)
        transaction = Transaction(sender, trace.Trace("", "", "local", trace.host(), trace.ident()), settings,
                                  settings.text("MAILDIRPATH"))
    except Reply as refusal:
        _complain(f"-r {options.sender}: {refusal.text}")
        return os.EX_USAGE
    accounts, carriers = Accounts(settings), Carriers(values)
    try:
        replies = _recipients(options, settings, accounts, transaction)
        for each in transaction.recipients:
            each.poster = options.poster
        if transaction.recipients:
            _read(transaction, settings)
            replies += transaction.deliver(carriers)
    finally:
        transaction.close()
        carriers.close()
        accounts.close()
    return _status(replies)


def _complain(text: str) -> None:
    os.write(2, f"deliver: {text}\n".encode("utf-8", "backslashreplace"))


def _sender(options: Options, environ: dict[str, str]) -> Address:
    """Who an MTA or the command line says; a bounce has none.  Raises Reply."""
    text = options.sender
    if text is None:
        text = environ.get("SENDER", "")
        if not text:
            return Address()
    return grammar.address(text.removeprefix("<").removesuffix(">").encode("utf-8", "surrogateescape"), True)


def _recipients(options: Options, settings: Settings, accounts: Accounts,
                transaction: Transaction) -> list[Reply]:
    """Adds them to the transaction; gives replies for those that cannot be."""
    if not options.users:
        transaction.recipients.append(_myself(options, settings))
        return []
    refused: list[Reply] = []
    for user in options.users:
        try:
            try:
                address = grammar.address(user.encode("utf-8", "surrogateescape"))
            except Reply:
                raise anew(UNKNOWN) from None
            found = recipient(accounts, address, settings, ignores_quota=options.ignores_quota)
            found.detail = options.mailbox or found.detail
            transaction.recipients.append(found)
        except Reply as reply:
            _complain(f"{user}: {reply.text}")
            refused.append(reply)
    return refused


def _myself(options: Options, settings: Settings) -> Recipient:
    import pwd
    uid = os.getuid()
    try:
        entry = pwd.getpwuid(uid)
        name, home, gid = entry.pw_name, entry.pw_dir, os.getgid()
    except KeyError:
        name, home, gid = f"uid-{uid}", os.getcwd(), os.getgid()
    home = settings.values.get("HOME") or home
    account = Account(name, uid, gid, home, maildir=settings.values.get("MAILDIR", ""),
                      quota=settings.values.get("MAILDIRQUOTA", ""))
    to = settings.values.get("RECIPIENT") or name          # as Postfix's local says it
    try:
        address = grammar.address(to.encode("utf-8", "surrogateescape"))
    except Reply:
        address = Address(name, name)
    return Recipient(address, account, folder=options.mailbox, ignores_quota=options.ignores_quota)


def _read(transaction: Transaction, settings: Settings) -> None:
    """The message on standard input.  What mbox has above it, ``From sender date``, is no part of it."""
    content = transaction.begin(settings.of_word("IMAP_APPENDLIMIT", INBOX))
    first = b""
    begun = False
    while piece := os.read(0, PIECE):
        if not begun:
            first += piece
            if len(first) < PIECE and b"\n" not in first:
                continue
            begun, piece = True, _without_from(first)
        content.write(piece)
    if not begun:
        content.write(_without_from(first))


def _without_from(data: bytes) -> bytes:
    return data.partition(b"\n")[2] if data.startswith(b"From ") else data


def _status(replies: list[Reply]) -> int:
    """Of several what makes the MTA bring it again: those who have it do not get it twice."""
    if all(reply.done for reply in replies):
        return os.EX_OK
    words = {_of(reply) for reply in replies if not reply.done}
    return words.pop() if len(words) == 1 else os.EX_TEMPFAIL


def _of(reply: Reply) -> int:
    if reply.status == UNKNOWN.status:
        return os.EX_NOUSER
    return os.EX_NOPERM if reply.status in _FOR_THE_SENDER else os.EX_TEMPFAIL
