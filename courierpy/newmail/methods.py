"""The ways to tell of new mail: a word of NOTIFYD_METHODS -> what it does.

Each raises Later, Refused or Gone, and does nothing twice by itself.  What is done again after all carries
the event's own word (Message-ID, Idempotency-Key), by which the other side can know it.
"""
from __future__ import annotations

import json
import os

from courierpy.newmail import webhook
from courierpy.newmail.errors import Gone, Later, Refused
from courierpy.newmail.event import MARK, fields
from courierpy.system import log, mailer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.newmail.queue import Entry
    from courierpy.system.settings import Settings

    Method = Callable[[Entry, Settings, str], None]

TOKEN = "token"                        # tells NOTIFYD_TOKEN_URL the token of a device
# answers by which the same request will never do; all others may be due to a state that passes
_NEVER = (400, 405, 410, 411, 413, 414, 415, 422)
_GONE = (404, 410)                     # of a token: no such device any more


def write_log(user: str, mailbox: str, ident: str) -> None:
    log.info(f"NEWMAIL, user={log.quoted(user)}, mailbox={log.quoted(mailbox)}, id={ident}")


def mail(entry: Entry, settings: Settings, secret: str) -> None:
    """A message to NOTIFYD_MAILTO.  It has no sender, so that none comes back (RFC 3834 2), and a mark."""
    from email.message import EmailMessage
    from email.policy import SMTP
    from email.utils import formatdate
    to = settings.text("NOTIFYD_MAILTO")
    if not to or to.startswith("-") or not to.isprintable() or any(char in to for char in " ,;<>\"()"):
        raise Refused("NOTIFYD_MAILTO: one address was expected")
    event = entry.event
    host = os.uname().nodename
    message = EmailMessage(policy=SMTP.clone(linesep="\n"))
    try:
        message["From"] = to
        message["To"] = to
        message["Subject"] = f"New mail for {event.user} in {event.mailbox}"
        message["Date"] = formatdate(event.at)
        message["Message-ID"] = f"<{event.ident}.notify@{host}>"
        message["Auto-Submitted"] = "auto-generated"
        message[MARK.decode()] = "yes"
        told = event.told(fields(settings))
        message.set_content("".join(f"{name}: {value}\n" for name, value in told.items()))
        octets = message.as_bytes()
    except (ValueError, UnicodeError) as error:
        raise Refused(f"no message can be made of it: {error}") from None
    _run([settings.text("SENDMAIL"), "-oi", "-f", "<>", "--", to], octets, settings)


def external(entry: Entry, settings: Settings, secret: str) -> None:
    """The program NOTIFYD_EXTERNAL is given a line of JSON.  No user and no mailbox is a word of its command
    line, which others of this host can read."""
    words = settings.text("NOTIFYD_EXTERNAL").split()
    if not words:
        raise Refused("NOTIFYD_EXTERNAL names no program")
    _run(words, json.dumps(entry.event.told(fields(settings))).encode() + b"\n", settings)


def _run(words: list[str], octets: bytes, settings: Settings) -> None:
    try:
        mailer.send(words, {}, [octets], settings.number("NOTIFYD_TIMEOUT"), lambda: False)
    except mailer.Failed as failed:
        raise Later(f"{failed}" + (f": {failed.said[:200]}" if failed.said else "")) from None


def hook(entry: Entry, settings: Settings, secret: str) -> None:
    """NOTIFYD_WEBHOOK_URL is sent a JSON object."""
    headers = {"Idempotency-Key": entry.event.ident}
    if secret:
        headers["Authorization"] = f"Bearer {secret}"
    url = settings.text("NOTIFYD_WEBHOOK_URL")
    body = json.dumps(entry.event.told(fields(settings))).encode()
    _settle(webhook.post(url, body, "application/json", headers, settings), _NEVER, ())


def token(entry: Entry, settings: Settings, secret: str) -> None:
    """NOTIFYD_TOKEN_URL is sent the token of a device, and nothing else: neither user nor mailbox."""
    url = settings.text("NOTIFYD_TOKEN_URL")
    _settle(webhook.post(url, entry.token.encode("ascii"), "text/plain", {}, settings), _NEVER, _GONE)


def _settle(status: int, never: tuple[int, ...], gone: tuple[int, ...]) -> None:
    if 200 <= status < 300:
        return
    if status in gone:
        raise Gone(f"the answer is {status}")
    raise (Refused if status in never else Later)(f"the answer is {status}")


QUEUED: dict[str, Method] = {"mailto": mail, "external": external, "webhook": hook, TOKEN: token}
