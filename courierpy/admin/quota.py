"""courierpy quota [MAILDIR...]: how full Maildirs are; count them again, set their limits.

As root each is looked at, and written, as its owner.  Courier's rules: docs/quota.md.
"""
from __future__ import annotations

import argparse
import json
import os
import tempfile

from courierpy.admin import complain, maildirs
from courierpy.admin.progress import plain
from courierpy.maildir.errors import StoreError
from courierpy.maildir.formats import maildirsize
from courierpy.maildir.layout import MaildirPlusPlus
from courierpy.maildir.quotacount import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.admin.maildirs import Place
    from courierpy.maildir.formats.maildirsize import Limits, MaildirSize
    from courierpy.maildir.store import Store

KIB = 1024                         # octets of the unit of STORAGE


def main(words: list[str]) -> int:
    parser = maildirs.parser("quota", __doc__)
    parser.add_argument("-d", dest="domain", metavar="DOMAIN", help="only accounts of this domain")
    parser.add_argument("-f", dest="counts", action="store_true", help="count the messages again")
    parser.add_argument("-n", dest="only_tells", action="store_true", help="change nothing: only tell")
    parser.add_argument("-q", dest="quiet", action="store_true", help="tell only what went wrong")
    parser.add_argument("-J", dest="as_json", action="store_true", help="a JSON object a line")
    parser.add_argument("--set", dest="limits", type=_limits, metavar="QUOTA",
                        help="the limits from now on, as 1000000S,1000C, or none")
    parser.add_argument("--over", type=maildirs.number, metavar="PERCENT",
                        help="only those that are so full, or fuller; exit status 1 if there are any")
    options = parser.parse_args(words)
    work = maildirs.Maildirs(options, parser)
    # one heading above all, whichever process has the first line to tell
    with tempfile.TemporaryFile() as heading:
        return work.each(_Look(options, heading.fileno()).look, read_only=options.only_tells,
                         choice=MaildirPlusPlus.name)


def _limits(word: str) -> Limits:
    text = b"" if word == "none" else os.fsencode(word)
    if not maildirsize.is_limits(text) or not text and word != "none":
        raise argparse.ArgumentTypeError(f"1000000S,1000C, or none, was expected, not {word!r}")
    return maildirsize.limits(text)


class _Look:
    """``heading``: a file that has something in it when there is a heading above the lines."""

    def __init__(self, options: argparse.Namespace, heading: int) -> None:
        self.options = options
        self._heading = heading

    def look(self, store: Store, place: Place) -> int:
        """Of the Maildir in the working directory; the exit status.  Raises a store error."""
        options, maildir = self.options, place.maildir
        if options.domain is not None and place.user.rpartition("@")[2].lower() != options.domain.lower():
            return 0
        if options.limits is not None and not options.only_tells:
            found = store.need_quota()
            if found.by_account:
                raise StoreError(f"{maildir}: its account has a quota: that is changed there")
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
        return self._tell(place, usage)

    def _tell(self, place: Place, usage: MaildirSize | None) -> int:
        status = 0
        percent = usage.limits.percent(usage.there) if usage is not None else 0
        if self.options.over is not None:
            if usage is None or percent < self.options.over:
                return status
            status = maildirs.FINDINGS
        if self.options.quiet:
            return status
        there = usage.there if usage is not None else count(b".")
        limits = usage.limits if usage is not None else maildirsize.Limits()
        if self.options.as_json:
            print(json.dumps({"maildir": place.maildir, "user": place.user or None,
                              "octets": there.octets, "octets_limit": limits.octets or None,
                              "messages": there.messages, "messages_limit": limits.messages or None,
                              "percent": percent if usage is not None else None}))
            return status
        if not os.fstat(self._heading).st_size:
            print("     Quota  % Used       Used  Resource  Root")
            os.write(self._heading, b"told")
        for used, limit, unit, resource in ((there.octets, limits.octets, KIB, "STORAGE"),
                                            (there.messages, limits.messages, 1, "MESSAGE")):
            part = f"{used * 100 // limit:6}" if limit else "      "
            print(f"{-(-limit // unit) if limit else '-':>10}  {part}  {-(-used // unit):9}  {resource:8}  "
                  f"{plain(place.user or place.maildir)}")
        return status
