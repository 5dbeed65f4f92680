"""courierpy maildirkw: the keywords of messages, by the letters of Courier's maildirkw.

The Maildir is a directory with cur, new and tmp, so that of a folder can be named too; a message the name of
its file, with flags or without.  All is done under the lock of the mailbox.
"""
from __future__ import annotations

import os

from courierpy.admin import complain
from courierpy.admin.owner import inside
from courierpy.admin.words import Parser
from courierpy.maildir.directory import by_base, files
from courierpy.maildir.formats.keywordlist import Keywords, is_keyword
from courierpy.maildir.layout import MaildirPlusPlus
from courierpy.maildir.locks import FolderLock
from courierpy.maildir.names import base, host_name
from courierpy.model.flags import FlagChange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection


def main(words: list[str]) -> int:
    parser = Parser(prog="courierpy maildirkw", description="Show and change the keywords of messages.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("-L", dest="lists", action="store_true",
                     help="print each message that has some, and them")
    how.add_argument("-a", dest="adds", action="store_true", help="add these to those that it has")
    how.add_argument("-r", dest="removes", action="store_true", help="remove these; else it has these alone")
    parser.add_argument("-l", dest="locks", action="store_true", help="take the lock, which is taken anyway")
    parser.add_argument("-c", dest="early", action="store_true", help="the message need not be there yet")
    parser.add_argument("maildir", metavar="MAILDIR")
    parser.add_argument("message", metavar="MESSAGE", nargs="?", default="")
    parser.add_argument("keywords", metavar="KEYWORD", nargs="*")
    options = parser.parse_args(words)
    if bool(options.message) == options.lists:
        parser.error("a message was expected, or -L without one")
    given = [os.fsencode(word) for word in options.keywords]
    for word in given:
        if not is_keyword(word):
            parser.error(f"{os.fsdecode(word)!r}: no keyword of IMAP")
    name = base(os.path.basename(os.fsencode(options.message)))
    with inside(options.maildir, MaildirPlusPlus.name):
        host = host_name(os.environ.get("HOSTNAME"))
        with FolderLock(".", host):
            there = [*by_base(files("cur")), *by_base(files("new"))]
            keywords = Keywords(".", host, sync=True)
            if options.lists:
                for one, have in _read(keywords, there).items():
                    print(*map(os.fsdecode, (one, *sorted(have))))
                return 0
            if name not in there and not options.early:
                complain(f"{options.maildir}: there is no message {options.message}", parser.prog)
                return 1
            before = _read(keywords, [name]).get(name, frozenset())
            change = FlagChange("+" if options.adds else "-" if options.removes else "=", 0,
                                frozenset({word.lower(): word for word in given}.values()))
            keywords.write(name, change.words(before))
    return 0


def _read(keywords: Keywords, names: list[bytes]) -> dict[bytes, frozenset[bytes]]:
    """Under the lock: those of these messages.  Nothing of others is touched.  Raises a store error."""
    rows = {name: row for row, name in enumerate(names)}

    def rows_of(wanted: Collection[bytes]) -> dict[bytes, int]:
        return {name: rows[name] for name in wanted if name in rows}
    found = keywords.read(rows_of, merge=False) or {}
    return {names[row]: words for row, words in sorted(found.items())}
