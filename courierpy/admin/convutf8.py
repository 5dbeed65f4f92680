"""Names of mailboxes from modified UTF-7, in which Courier had them on disk before its release 5, to UTF-8.

All of them are looked at first: where one is no modified UTF-7 nothing is changed.  What is in UTF-8 already
stays.  But of a name in ASCII that has a & nobody knows whether it was converted: done twice, as by Courier's
program, it is refused, or is another name.  Of filters those that SqWebMail writes are changed, in the lines
that name mailboxes; others are their authors'.
"""
from __future__ import annotations

import os
import re

from courierpy.admin import complain
from courierpy.admin.owner import inside
from courierpy.admin.progress import plain
from courierpy.maildir import access, names
from courierpy.maildir.errors import StoreError
from courierpy.maildir.files import content, replace
from courierpy.maildir.layout import MaildirPlusPlus
from courierpy.maildir.places import Steps
from courierpy.maildir.subscriptions import FILE as SUBSCRIBED
from courierpy.model import utf7
from courierpy.model.namespaces import INBOX

MADE_BY_SQWEBMAIL = b"#MFMAILDROP="
_FILTER = re.compile(rb'^(##Folder:)(.*)$|^([ \t]*(?:to|cc) "[^"\n]*/\.)([^"/\n]+)(/\.")', re.M)


class _Wrong(ValueError):
    """A name that is no modified UTF-7."""


def convert(maildir: str, path_of_filter: str | None, dry: bool) -> int:
    """Gives the exit status; OSError, or a store error.  ``dry``: only say what would be done."""
    rules = None
    if path_of_filter is not None and os.path.lexists(path_of_filter):
        path_of_filter = os.path.abspath(path_of_filter)
        rules = content(path_of_filter) or b""
        if rules and not rules.startswith(MADE_BY_SQWEBMAIL):
            complain(f"{path_of_filter}: SqWebMail has not made it: change it by hand, do not name it here")
            return 1
    print(plain(f"Checking {maildir}:"))
    with inside(maildir, MaildirPlusPlus.name):
        try:
            _Conversion(dry).run(maildir, path_of_filter or "", rules)
        except _Wrong as why:
            complain(f"{why}: does not appear to be valid modified-UTF7: rename it, nothing is changed")
            return 1
    return 0


class _Conversion:
    """Of the Maildir in the working directory."""

    def __init__(self, dry: bool) -> None:
        self._dry = dry

    def run(self, maildir: str, path_of_filter: str, rules: bytes | None) -> None:
        """Raises _Wrong, a store error."""
        new_rules = None if rules is None else _FILTER.sub(_in_filter, rules)
        subscribed = content(SUBSCRIBED)
        new_subscribed = None if subscribed is None else b"".join(map(_subscription,
                                                                      subscribed.splitlines(True)))
        pairs = [*_entries(), *_levels()]
        if taken := [new for _, new in pairs if os.path.lexists(new)]:
            raise StoreError(f"two mailboxes would be called {os.fsdecode(taken[0])}")
        with Steps(sync=True) as steps:
            try:
                for old, new in pairs:
                    if not self._dry:
                        steps.enter(os.path.dirname(os.fsdecode(new)) or ".")
                        steps.rename(os.fsdecode(old), os.fsdecode(new))
                steps.settle()
                self._write(os.path.join(maildir, SUBSCRIBED), SUBSCRIBED, new_subscribed, "tmp")
                self._write(path_of_filter, path_of_filter, new_rules, os.path.dirname(path_of_filter))
            except StoreError:
                steps.undo()
                raise

    def _write(self, shown: str, path: str, data: bytes | None, scratch: str) -> None:
        if data is None:
            return
        print(plain(f"{'Verified' if self._dry else 'Updating'} {shown}"))
        if not self._dry:
            replace(path, data, scratch, names.host_name(None), "utf8", sync=True)


def _utf8(name: bytes, shown: str) -> bytes:
    """``a.b`` in UTF-8.  Raises _Wrong for what is in neither."""
    try:
        if not name.isascii():
            name.decode()
            return name
        return utf7.decode(name).encode()
    except ValueError:
        raise _Wrong(shown) from None


def _entries() -> list[tuple[bytes, bytes]]:
    """Directories of mailboxes that get another name, and that."""
    found = []
    for entry in sorted(os.listdir(b".")):
        if names.is_folder_entry(entry) and os.path.isdir(os.path.join(entry, b"cur")):
            shown = f"{INBOX}.{os.fsdecode(entry[1:])}"
            new = b"." + _utf8(entry[1:], shown)
            if new != entry:
                print(plain(f"Rename {shown} to {INBOX}.{os.fsdecode(new[1:])}"))
                found.append((entry, new))
    return found


def _levels() -> list[tuple[bytes, bytes]]:
    """The same of lists of rights of levels that are no mailboxes."""
    levels = os.fsencode(access.LEVELS)
    try:
        listed = sorted(os.listdir(levels))
    except FileNotFoundError:
        return []
    pairs = [(level, _utf8(level, f"{access.LEVELS}: {os.fsdecode(level)}")) for level in listed]
    return [(os.path.join(levels, level), os.path.join(levels, new)) for level, new in pairs if new != level]


def _subscription(line: bytes) -> bytes:
    name = line.rstrip(b"\n")
    new = _utf8(name, f"{SUBSCRIBED}: {os.fsdecode(name)}")
    if new != name:
        print(plain(f"Subscription to {os.fsdecode(name)} changed to {os.fsdecode(new)}"))
    return new + line[len(name):]


def _in_filter(found: re.Match[bytes]) -> bytes:
    comment, named, before, entry, after = found.groups(b"")
    name = named.strip() if comment else entry
    new = _utf8(name, f"mail filter: {os.fsdecode(name)}")
    if comment and new != name:
        print(plain(f"Mail filter to {os.fsdecode(name)} updated to {os.fsdecode(new)}"))
    return comment + new if comment else before + new + after
