"""courierpy quota [MAILDIR...]: how full Maildirs are; count them again, set their limits.

As root each is looked at, and written, as its owner.  Courier's rules: docs/quota.md.
"""
from __future__ import annotations

import argparse
import importlib
import json
import os

from courierpy.admin import complain, default_files, explain, read_settings
from courierpy.admin.owner import inside
from courierpy.auth import Rejected, Request, TemporaryFailure, with_domain
from courierpy.auth.postal import Accounts
from courierpy.maildir.errors import StoreError
from courierpy.maildir.formats import maildirsize
from courierpy.maildir.layout import MaildirPlusPlus
from courierpy.maildir.quotacount import count
from courierpy.maildir.store import Store
from courierpy.model.numbers import decimal
from courierpy.system.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.maildir.formats.maildirsize import Limits, MaildirSize

KIB = 1024                         # octets of the unit of STORAGE
FINDINGS = 1                       # exit status: some are above --over, or something was left undone


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy quota", description=__doc__.partition("\n")[0])
    parser.add_argument("-C", dest="files", action="append", metavar="FILE", help="settings file, for -u")
    parser.add_argument("-u", dest="users", action="append", default=[], metavar="USER",
                        help="the Maildir of this account; may be said several times")
    parser.add_argument("-f", dest="counts", action="store_true", help="count the messages again")
    parser.add_argument("-n", dest="only_tells", action="store_true", help="change nothing: only tell")
    parser.add_argument("-q", dest="quiet", action="store_true", help="tell only what went wrong")
    parser.add_argument("-J", dest="as_json", action="store_true", help="a JSON object a line")
    parser.add_argument("--set", dest="limits", type=_limits, metavar="QUOTA",
                        help="the limits from now on, as 1000000S,1000C, or none")
    parser.add_argument("--over", type=_percent, metavar="PERCENT",
                        help="only those that are so full, or fuller; exit status 1 if there are any")
    parser.add_argument("maildirs", nargs="*", metavar="MAILDIR")
    options = parser.parse_args(words)
    if not options.maildirs and not options.users:
        parser.error("a MAILDIR was expected, or -u USER")
    importlib.import_module("courierpy.maildir.quota")     # owners may not be able to read the library
    work = _Work(options)
    for maildir, quota in work.places():
        try:
            with inside(maildir, MaildirPlusPlus.name):
                work.look(maildir, quota)
        except (OSError, StoreError) as error:
            complain(explain(error, maildir) if isinstance(error, OSError) else str(error))
            work.status = FINDINGS
    return work.status


def _limits(word: str) -> Limits:
    text = b"" if word == "none" else os.fsencode(word)
    if not maildirsize.is_limits(text) or not text and word != "none":
        raise argparse.ArgumentTypeError(f"1000000S,1000C, or none, was expected, not {word!r}")
    return maildirsize.limits(text)


def _percent(word: str) -> int:
    number = decimal(word)
    if number is None:
        raise argparse.ArgumentTypeError(f"a number was expected, not {word!r}")
    return number


class _Work:
    """``status``: to exit with."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.status = 0
        self._headed = False

    def places(self) -> Iterator[tuple[str, str]]:
        """(the Maildir, the quota of its account)."""
        yield from ((maildir, "") for maildir in self.options.maildirs)
        if not self.options.users:
            return
        settings = Settings(read_settings(self.options.files or default_files()))
        accounts = Accounts(settings)
        try:
            for user in self.options.users:
                name = with_domain(user, settings.values)
                try:
                    account = accounts.ask(Request("pre", "imap", settings.values, user=name))
                except (Rejected, TemporaryFailure) as error:
                    complain(f"{user}: {str(error) or 'there is no such account'}")
                    self.status = FINDINGS
                    continue
                yield os.path.join(account.home, account.maildir or "Maildir"), \
                    account.quota or settings.text("MAILDIRQUOTA")
        finally:
            accounts.close()

    def look(self, maildir: str, quota: str) -> None:
        """Of the Maildir in the working directory.  Raises a store error."""
        options = self.options
        store = Store(".", host=os.environ.get("HOSTNAME"), choice=MaildirPlusPlus.name, quota=quota,
                      read_only=options.only_tells)
        if options.limits is not None and not options.only_tells:
            found = store.need_quota()
            if found.by_account:
                raise StoreError(f"{maildir}: its account has a quota, {quota}: that is changed there")
            found.limit(options.limits)
        kept = store.quota()
        usage = kept.usage() if kept is not None else None
        if kept is not None and usage is not None and options.counts:
            before = usage.there
            usage, sure = kept.recount(usage.limits)
            if usage.there != before and not options.quiet:
                complain(f"{maildir}: {before.octets} octets in {before.messages} messages were kept, there "
                         f"are {usage.there.octets} in {usage.there.messages}")
            if not sure:
                complain(f"{maildir}: messages come and go: it may be counted again")
        self._tell(maildir, usage)

    def _tell(self, maildir: str, usage: MaildirSize | None) -> None:
        percent = usage.limits.percent(usage.there) if usage is not None else 0
        if self.options.over is not None:
            if usage is None or percent < self.options.over:
                return
            self.status = FINDINGS
        if self.options.quiet:
            return
        there = usage.there if usage is not None else count(b".")
        limits = usage.limits if usage is not None else maildirsize.Limits()
        if self.options.as_json:
            print(json.dumps({"maildir": maildir,
                              "octets": there.octets, "octets_limit": limits.octets or None,
                              "messages": there.messages, "messages_limit": limits.messages or None,
                              "percent": percent if usage is not None else None}))
            return
        if not self._headed:
            print("     Quota  % Used       Used  Resource  Root")
            self._headed = True
        for used, limit, unit, resource in ((there.octets, limits.octets, KIB, "STORAGE"),
                                            (there.messages, limits.messages, 1, "MESSAGE")):
            part = f"{used * 100 // limit:6}" if limit else "      "
            print(f"{-(-limit // unit) if limit else '-':>10}  {part}  {-(-used // unit):9}  {resource:8}  "
                  f"{maildir}")
