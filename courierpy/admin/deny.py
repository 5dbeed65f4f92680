"""courierpy deny WHOM: keep a user or an address out; -a WHOM: let them in again; -l: the list.

WHOM is the name of an account, an address or a network.  Who logs in hears TEXT behind the right password;
where lmtp is among the services mail for that account is refused, too.  The list is the file "denied" below
CONFIGDIRECTORY.
"""
from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager

from courierpy.admin import complain, online
from courierpy.admin.message import write
from courierpy.system import denials
from courierpy.system.denials import Denial
from courierpy.system.presence import MOST_SHOWN, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICES = ("imap", "pop3", "lmtp")
DEFAULT = "imap,pop3"                  # mail goes on to come


def main(words: list[str]) -> int:
    parser = online.parser("deny", __doc__)
    act = parser.add_mutually_exclusive_group()
    act.add_argument("-a", "--allow", action="store_true", help="let them in again")
    act.add_argument("-l", "--list", action="store_true", help="tell who is denied")
    act.add_argument("-k", "--kick", action="store_true", help="end their sessions, too")
    parser.add_argument("-s", dest="services", metavar="SERVICES", default=DEFAULT,
                        help=f"of {', '.join(SERVICES)}, with commas between, * for all; {DEFAULT}")
    parser.add_argument("-m", dest="text", metavar="TEXT", default=denials.NO_WORD, help="what they are told")
    parser.add_argument("-J", "--json", action="store_true", help="with -l: an object of JSON for each")
    parser.add_argument("whom", metavar="WHOM", nargs="*", help="an account, an address or a network")
    options = parser.parse_args(words)
    if bool(options.whom) == options.list:
        parser.error("WHOM, or -l, was expected")
    if not options.text.strip() or not options.text.isprintable() or len(options.text) > MOST_SHOWN:
        parser.error(f"TEXT: a line of at most {MOST_SHOWN} characters was expected")
    if not all(any(Denial("", word, "").is_of(name) for name in SERVICES)
               for word in options.services.split(",")):
        parser.error(f"{options.services}: some of {', '.join(SERVICES)} were expected, with commas between")
    if not all(map(str.isprintable, options.whom)):
        parser.error("WHOM: a name without a tab or another sign that is not shown was expected")
    settings = online.settings(options.files)
    base = settings.text("CONFIGDIRECTORY")
    if not base:
        complain("CONFIGDIRECTORY is not set: name the directory of the list in the settings")
        return os.EX_USAGE
    if options.list:
        for each in denials.all_of(base):
            print(json.dumps({"whom": each.whom, "services": each.services, "text": each.text})
                  if options.json else "\t".join(map(shown, (each.whom, each.services, each.text))))
        return os.EX_OK
    whom = [denials.network_of(word) or word for word in options.whom]
    if options.allow:
        return _allow(base, whom)
    with _changed(base) as rows:
        rows[:] = [each for each in rows if each.whom not in whom]
        rows += [Denial(word, options.services.lower(), options.text) for word in whom]
    if not options.kick:
        return os.EX_OK
    denied = [Denial(word, options.services.lower(), "") for word in whom]
    found = [each for each in online.sessions(settings)
             if any(row.is_of(each.protocol.lower()) and row.hits(each.user, each.ip) for row in denied)]
    return online.end(found, options.text)


def _allow(base: str, whom: list[str]) -> int:
    """Exit status 1 where one of them was not denied."""
    with _changed(base) as rows:
        missing = [word for word in whom if all(each.whom != word for each in rows)]
        rows[:] = [each for each in rows if each.whom not in whom]
    for word in missing:
        complain(f"{word} is not denied")
    return 1 if missing else os.EX_OK


@contextmanager
def _changed(base: str) -> Iterator[list[Denial]]:
    """The lines of the list, which are written back; nobody else changes them meanwhile.  OSError."""
    os.makedirs(base, 0o755, exist_ok=True)
    lock = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = denials.all_of(base)
        yield rows
        write(os.path.join(base, denials.FILE), "".join([each.line() for each in rows]))
    finally:
        os.close(lock)
