"""courierpy kick WORD...: end sessions, those that sleep too; their clients hear BYE.

A WORD is a user, an address, a network or a pid, as who tells them.  A session ends behind the command that
it is doing.  Who may not come again is denied (courierpy deny --kick).
"""
from __future__ import annotations

import os

from courierpy.admin import online, who
from courierpy.system.presence import MOST_SHOWN


def main(words: list[str]) -> int:
    parser = online.parser("kick", __doc__)
    parser.add_argument("-m", dest="text", metavar="TEXT", default="", help="what the clients are told")
    parser.add_argument("-n", dest="dry", action="store_true", help="only tell whom")
    parser.add_argument("-q", dest="quiet", action="store_true", help="do not tell whom")
    parser.add_argument("words", metavar="WORD", nargs="+", help="a user, an address, a network, a pid")
    options = parser.parse_args(words)
    if not options.text.isprintable() or len(options.text) > MOST_SHOWN:
        parser.error(f"TEXT: a line of at most {MOST_SHOWN} characters was expected")
    found = online.chosen(online.sessions(online.settings(options.files)), options.words)
    if not options.quiet:
        for each in found:
            print("  ".join(who.row(each)))
    return os.EX_OK if options.dry else online.end(found, options.text)
