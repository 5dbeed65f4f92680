"""courierpy withlock: run a command, rsync or tar, while nobody changes Maildirs.

The first word is the MAILDIR, and the others are the command; with -u or -a all words are.  The locks of all
mailboxes are held until the command ends: nothing gets a number meanwhile, no keyword, flag, list of rights
or subscription changes, no mailbox is made or goes, and nothing is expunged; who wants to waits.
"""
from __future__ import annotations

import os
import select
import sys
from functools import partial

from courierpy.admin import complain, maildirs
from courierpy.admin.running import run
from courierpy.maildir.moment import Moment
from courierpy.system import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from courierpy.admin.maildirs import Place
    from courierpy.maildir.store import Store

SECONDS = 60                       # for which the locks are waited for
MOST_SECONDS = 86400
TURN = 10_000                      # milliseconds between two looks whether the locks are old
SIGNALED = 128                     # and the signal: exit status of a command that one ended, as of shells


def main(words: list[str]) -> int:
    parser = maildirs.parser("withlock", __doc__, behind="...")
    maildirs.with_mailboxes(parser, "all without")
    parser.add_argument("-t", dest="seconds", type=_seconds, metavar="SECONDS", default=SECONDS,
                        help=f"for which the locks are waited for, {SECONDS} without")
    options = parser.parse_args(words)
    command = options.words[1:] if options.words[:1] == ["--"] else options.words
    options.maildirs = []
    if not options.users and not options.all:
        options.maildirs, command = command[:1], command[1:]
    command = command[1:] if command[:1] == ["--"] else command
    work = maildirs.Maildirs(options, parser)
    if not command:
        parser.error("a command was expected")
    holders = _Holders(options)
    try:
        if not all(map(holders.start, work.prepared(holders.hold))):
            work.status = max(work.status, holders.end() or os.EX_SOFTWARE)
        elif not work.status:
            status = run(command)
            work.status = status if status >= 0 else SIGNALED - status
            if holders.end() and not work.status:
                complain("a lock was lost while the command ran: what it did may be of several moments")
                work.status = os.EX_TEMPFAIL
    finally:
        holders.end()
    return work.status


def _seconds(word: str) -> int:
    found = maildirs.number(word, what="a number of seconds")
    return min(found, MOST_SECONDS)


class _Holders:
    """A process for each Maildir, its user's, which holds the locks until we end them, or end."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._pids: list[int] = []
        self._waits, self._holds = os.pipe()   # who waits for the end of the other knows that it is over
        self._told = self._tells = -1

    def start(self, one: Callable[[], int]) -> bool:
        """True when its locks are held."""
        self._told, self._tells = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            self._pids.append(proc.fork(partial(self._child, one)))
        finally:
            os.close(self._tells)
        try:
            return bool(os.read(self._told, 1))
        finally:
            os.close(self._told)

    def _child(self, one: Callable[[], int]) -> int:
        os.close(self._holds)
        return one()

    def hold(self, store: Store, place: Place) -> int:
        """Hold the locks, in the child, until the parent is done."""
        with Moment(store, partial(maildirs.chosen, store, self._options.mailboxes),
                    self._options.seconds) as moment:
            os.write(self._tells, b"+")
            ended = select.poll()
            ended.register(self._waits, select.POLLHUP)
            while not ended.poll(TURN):
                moment.renew()
        return 0

    def end(self) -> int:
        """All locks are free again; the gravest status of those who held them."""
        if self._holds >= 0:
            os.close(self._holds)
            os.close(self._waits)
            self._holds = self._waits = -1
        status = 0
        while self._pids:
            code = os.waitstatus_to_exitcode(os.waitpid(self._pids.pop(), 0)[1])
            status = max(status, code if code >= 0 else os.EX_SOFTWARE)
        return status
