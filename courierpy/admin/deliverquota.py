"""deliverquota [-c] [-w PERCENT] [-W FILE] MAILDIR [QUOTA]: bring a message to a Maildir that has a quota.

Courier's program: the message stands on standard input.  It goes to new/ of the Maildir, or of the folder
in one.  Exit status: 0 it is there, 77 there is no room for it by the quota, 73 wrong words, 75 any other
failure: try again.
"""
from __future__ import annotations

import argparse
import os
import sys

from courierpy.admin import complain, explain
from courierpy.admin.owner import inside, working_in
from courierpy.admin.quotawarning import warn
from courierpy.maildir import delivery
from courierpy.maildir.errors import DiskFull, QuotaExceeded, StoreError
from courierpy.maildir.formats import maildirsize
from courierpy.maildir.layout import PARTS, MaildirPlusPlus
from courierpy.maildir.messagefile import PIECE_OCTETS
from courierpy.maildir.names import mailbox_path
from courierpy.maildir.store import Store
from courierpy.model.namespaces import INBOX
from courierpy.model.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

THERE, WRONG_WORDS, LATER, NO_ROOM = 0, 73, 75, 77         # exit status
WARNING = "/etc/courier/quotawarnmsg"


class _Words(argparse.ArgumentParser):
    """Its complaint has Courier's exit status."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_WORDS, f"{self.format_usage()}{self.prog}: {message}\n")


def main(words: list[str]) -> int:
    parser = _Words(prog="courierpy deliverquota", description=__doc__.partition("\n")[0].partition(": ")[2])
    parser.add_argument("-c", dest="makes", action="store_true",
                        help="make the Maildir, or the folder, if it is not there")
    parser.add_argument("-w", dest="percent", type=_percent, metavar="PERCENT",
                        help="warn the user, once in 24 hours, when so much is used")
    parser.add_argument("-W", dest="warning", metavar="FILE", default=WARNING,
                        help=f"by this message, header and text ({WARNING})")
    parser.add_argument("maildir", metavar="MAILDIR")
    parser.add_argument("quota", metavar="QUOTA", nargs="?", default="",
                        help="as 1000000S,1000C: the Maildir has it from now on")
    options = parser.parse_args(words)
    quota = options.quota
    if not maildirsize.is_limits(os.fsencode(quota)):
        complain(f"quota string {quota!r} not parseable: as 1000000S,1000C was expected", "WARN")
        quota = ""
    try:
        text = _read(options.warning) if options.percent is not None else None
        root, entry = _parted(options.maildir)
        if options.makes:
            _make(root)
        with inside(root, MaildirPlusPlus.name):
            store = Store(".", host=os.environ.get("HOSTNAME"), choice=MaildirPlusPlus.name, quota=quota)
            name = store.namespaces.name(mailbox_path(os.fsencode(entry))) if entry else INBOX
            if options.makes and not store.exists(name):
                store.create(name)
            delivery.deliver(store, name, _message())
            if text is not None:
                _warn(store, options.percent, text)
    except QuotaExceeded as error:
        if isinstance(error, DiskFull):
            complain(str(error), parser.prog)
            return LATER
        print("Mail quota exceeded.", file=sys.stderr)
        return NO_ROOM
    except (OSError, StoreError) as error:
        complain(explain(error, options.maildir) if isinstance(error, OSError) else str(error), parser.prog)
        return LATER
    return THERE


def _percent(word: str) -> int:
    number = decimal(word, 100)
    if number is None:
        raise argparse.ArgumentTypeError(f"a number from 0 to 100 was expected, not {word!r}")
    return number


def _parted(path: str) -> tuple[str, str]:
    """(the Maildir, the entry of the folder in it or "")."""
    path = os.path.abspath(path)
    above, entry = os.path.split(path)
    folder = os.path.exists(os.path.join(path, "maildirfolder")) \
        or not os.path.exists(path) and entry.startswith(".") and os.path.isdir(os.path.join(above, "cur"))
    return (above, entry) if folder else (path, "")


def _make(root: str) -> None:
    """What is missing of the Maildir.  Raises OSError."""
    above, name = os.path.split(root)
    with working_in(above):
        for part in ("", *PARTS):
            path = os.path.join(name, part)
            if not os.path.isdir(path):
                os.mkdir(path, 0o700)


def _message() -> Iterator[bytes]:
    while piece := sys.stdin.buffer.read(PIECE_OCTETS):
        yield piece


def _read(path: str) -> bytes | None:
    """None where there is no such message: then nobody is warned."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _warn(store: Store, percent: int, text: bytes) -> None:
    """The message itself is there, whatever becomes of the warning."""
    try:
        warn(store, percent, text)
    except StoreError as error:
        complain(f"the user is not warned: {error}", "courierpy deliverquota")
