"""smmapd: tell an MTA whether a recipient gets mail, before it takes the message.

Started by inetd, by couriertcpd or from a shell it answers on standard input and output; with a socket, or
by ``courierpy serve --smmap``, it listens itself (mtaserve.py).  To look into the mail of the users it is
root's.
"""
from __future__ import annotations

import os
import signal
import sys

from courierpy.mta import tongues
from courierpy.mta.question import PART_SECONDS, SILENT_SECONDS, Broken
from courierpy.mta.verdict import Verdicts
from courierpy.system import log, proc, title
from courierpy.system.conn import Conn, Gone, TimedOut
from courierpy.system.settings import Settings
from courierpy.system.startup import given, status_of, with_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

USAGE = """
Usage: smmapd [-C FILE]... [-p] [-U USES] [-T SECONDS] [-D] [-H] [SOCKET]

Answer an MTA that asks whether a recipient gets mail: by socketmap, as Sendmail
and Postfix speak it, and by Postfix's policy protocol.  On standard input and
output, or at SOCKET: a path, or a port of this machine alone, as 127.0.0.1:10027.

  -C FILE         settings, instead of /etc/courier/imapd and imapd-ssl
  -p              only the account counts, not the mailbox behind a +
  -U USES, -T SECONDS, -D, -H   accepted
  -h, --help      tell this
  -V, --version   tell the version

"courierpy serve --smmap SOCKET" does the same beside the other listeners.
"""


class Options:
    """Of the command line: ``files`` of settings, ``ignores_detail``: -p, ``socket``: "" for none."""

    __slots__ = ("files", "ignores_detail", "socket")

    def __init__(self, words: list[str]) -> None:
        """Raises WrongWords."""
        found, self.socket = given("smmapd", words, "UT", "C", "pDH", "socket")
        self.files = found.get("C", [])
        self.ignores_detail = "p" in found


def run() -> None:
    """The ``smmapd`` command."""
    sys.exit(main(sys.argv, os.environ))


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Gives the exit status."""
    return status_of("smmapd", argv, USAGE, lambda words: _work(Options(words), environ))


def _work(options: Options, environ: Mapping[str, str]) -> int:
    """Raises SettingsError."""
    values = with_files(options.files, environ)
    if not os.isatty(2) and not log.wanted(values) and not options.socket:
        values[log.VARIABLE] = "syslog"          # inetd leaves the MTA there
    log.start("smmapd", values)
    if options.socket:
        from courierpy import mtaserve
        at = options.socket if ":" in options.socket else os.path.abspath(options.socket)
        wanted = mtaserve.Wanted(smmap=[at], ignores_detail=options.ignores_detail)
        return mtaserve.serve(wanted, options.files, environ)
    serve(values, options.ignores_detail)
    return 0


def serve(environ: Mapping[str, str], ignores_detail: bool) -> None:
    """The MTA on descriptors 0 and 1, until it goes."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    proc.leave_no_core()
    settings = Settings(environ)
    title.start(settings)
    title.be("smmapd")
    conn = Conn(0, 1)
    found = Verdicts(settings, ignores_detail)
    try:
        _answer(conn, found)
    except Broken as broken:
        conn.say_last(broken.answer)
    except (Gone, TimedOut, OSError):
        conn.discard()
    finally:
        conn.end()
        found.close()


def _answer(conn: Conn, found: Verdicts) -> None:
    """Raises Broken, Gone and TimedOut."""
    said = b""
    while data := conn.read(PART_SECONDS if said else SILENT_SECONDS):
        said += data
        while said:
            tongue = tongues.of(said)
            question, used = tongue.cut(said)
            if question is None:
                break
            said = said[used:]
            conn.write(tongue.answer(question, found.of(question)))


if __name__ == "__main__":
    run()
