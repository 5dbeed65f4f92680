"""XCOURIEROUTBOX, Courier's: what a client puts into the mailbox OUTBOX is sent by SENDMAIL, then stored.

Sent first: what cannot be sent is refused, and nothing of the command is done.  It is sent as the user, to
those whom its header names, whose Bcc the program takes out; HEADERFROM names a field that says who it was.
What comes there by other ways, from an MTA or by RENAME, is not sent.
"""
from __future__ import annotations

import re

from courierpy.imap.ext import Extension
from courierpy.imap.refusals import refused
from courierpy.maildir.errors import NameInvalid, StoreError, Vanished
from courierpy.maildir.messagefile import PIECE_OCTETS
from courierpy.model.replies import No
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeVar

    from courierpy.imap.session import Session
    from courierpy.maildir.formats.maildirsize import Amount
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.maildir.messagefile import MessageFile

    Result = TypeVar("Result")

SAID_CHARACTERS = 200              # of the words of the program that the client is told
_FIELD = re.compile(r"[!-9;-~]{1,70}")          # a name of RFC 5322 2.2
_ODD = re.compile(r"[^ -~]+")


def _is_outbox(session: Session, folder: Mailbox) -> bool:
    word = session.settings.text("OUTBOX").strip(".")
    if not word:
        return False
    folders = session.folders
    path = word.replace(".", folders.layout.separator)
    try:
        return folders.path_of(folders.namespaces.personal.name(path)) == folder.path
    except NameInvalid:
        return False


def _entering(session: Session, folder: Mailbox, files: Iterable[Callable[[], MessageFile]], count: int,
              instead: Amount | None, bring: Callable[[], Result]) -> Result:
    """``files``: of as many messages as ``count``, which ``bring`` puts into the mailbox.  Raises No, or a
    store error."""
    if not _is_outbox(session, folder):
        return bring()
    if count > 1 and not session.settings.flag("OUTBOX_MULTIPLE_SEND"):
        raise No("Only one message may be sent at a time.", b"ALERT")
    opens = list(files)
    sizes = [size for one in opens if (size := _size(one)) is not None]
    folder.admit(sum(sizes), len(sizes), instead)      # or it would be sent, and not stored
    sent = 0
    for one in opens:
        try:
            opened = one()
        except Vanished:
            continue                   # it is not stored either
        with opened:
            _send(session, opened, sent, count)
        sent += 1
    try:
        return bring()
    except (StoreError, No) as why:
        if not sent:
            raise
        code = (why if isinstance(why, No) else refused(why)).code
        raise No("The message was sent, but it cannot be stored here.", code) from None


def _size(open_one: Callable[[], MessageFile]) -> int | None:
    try:
        with open_one() as opened:
            return opened.size
    except Vanished:
        return None


def _send(session: Session, file: MessageFile, sent: int, count: int) -> None:
    """Raises No.  ``sent``: so many of ``count`` were sent already."""
    from courierpy.system import mailer  # for few
    try:
        hand_over(session, file, ["-t"])
    except mailer.Failed as why:
        user = session.settings.values.get("AUTHENTICATED", "")
        said = [line.strip() for line in why.said.splitlines() if line.strip()]
        told = _ODD.sub("?", "/".join([*said, str(why)]))
        log.err(f"error sending a message, user={log.quoted(user)}: {told}/Message send FAILED./")
        text = "Unable to send E-mail message"
        words_said = _ODD.sub("?", "; ".join(said))[:SAID_CHARACTERS]
        text += f": {words_said}" if words_said else "."
        if count > 1:
            text += f" ({sent} of {count} are sent)"
        raise No(text, b"ALERT") from None


def hand_over(session: Session, file: MessageFile, front: Sequence[str] = (), behind: Sequence[str] = (),
              sender: str = "") -> None:
    """Gives a message to SENDMAIL.  ``front``, ``behind``: words around the option that names the sender, who
    is the user without ``sender``.  Raises mailer.Failed, or a store error."""
    from courierpy.system import mailer  # for few
    settings = session.settings
    user = settings.values.get("AUTHENTICATED", "")
    sender = sender or settings.values.get("AUTHADDR", "") or user
    words = [settings.text("SENDMAIL") or "sendmail", "-oi", *front, *(["-f", sender] if sender else []),
             *behind]
    environ = {name: value for name, value in settings.values.items() if not name.startswith("COURIERPY_")}
    mailer.send(words, environ, message(settings.text("HEADERFROM"), user, file),
                settings.number("OUTBOX_TIMEOUT"), lambda: session.waiting.stopping)


def message(field: str, user: str, file: MessageFile) -> Iterator[bytes]:
    """With LF behind each line, and the field that says whose it is.  Raises a store error."""
    if field and user:
        if _FIELD.fullmatch(field):
            yield f"{field}: {_ODD.sub('?', user) if not user.isprintable() else user}\n".encode(
                "utf-8", "surrogateescape")
        else:
            log.warn(f"HEADERFROM: the name of a field is expected, not {log.quoted(field)}: none is added")
    carry = b""
    for at in range(0, file.size, PIECE_OCTETS):
        data = carry + file.read(at, min(PIECE_OCTETS, file.size - at))
        carry = b"\r" if data.endswith(b"\r") else b""
        yield data.removesuffix(carry).replace(b"\r\n", b"\n")
    yield carry


EXTENSION = Extension(b"XCOURIEROUTBOX=", value="INBOX{OUTBOX}", entering={b"": _entering})
