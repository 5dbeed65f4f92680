"""lmtpd: take mail by LMTP on standard input and output, for all accounts.

Started by inetd, by couriertcpd, from a shell, or by ``courierpy serve --lmtp`` for each client of a unix
socket (mtaserve.py).  To deliver as the users it is root's; an ordinary user takes mail for that user
alone.
"""
from __future__ import annotations

import os
import signal
import sys

from courierpy.auth.postal import Accounts
from courierpy.lmtp import peer
from courierpy.lmtp.logins import PROTOCOL
from courierpy.lmtp.session import Session
from courierpy.system import log, metrics, proc, title
from courierpy.system.conn import Conn
from courierpy.system.settings import Settings
from courierpy.system.startup import given, status_of, with_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

USAGE = """
Usage: lmtpd [-C FILE]... [-U USES] [-T SECONDS] [-D] [-H] [-a] [MAILDIR]

Take mail by LMTP (RFC 2033) on standard input and output.  MAILDIR: below the
home directory of an account, where the account names none; else MAILDIRPATH.

  -C FILE         settings, instead of /etc/courier/imapd and imapd-ssl
  -a              whoever comes over the network may deliver, without a login
  -U USES, -T SECONDS, -D, -H   accepted
  -h, --help      tell this
  -V, --version   tell the version

"courierpy serve --lmtp SOCKET" takes mail at a unix socket, as an MTA wants it.
"""


class Options:
    """Of the command line: ``files`` of settings, ``any_network``: -a, ``maildir``: "" for none."""

    __slots__ = ("any_network", "files", "maildir")

    def __init__(self, words: list[str]) -> None:
        """Raises WrongWords."""
        found, self.maildir = given("lmtpd", words, "UT", "C", "aDH", "Maildir")
        self.files = found.get("C", [])
        self.any_network = "a" in found


def run() -> None:
    """The ``lmtpd`` command."""
    sys.exit(main(sys.argv, os.environ))


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Gives the exit status."""
    return status_of("lmtpd", argv, USAGE, lambda words: _work(Options(words), environ))


def _work(options: Options, environ: Mapping[str, str]) -> int:
    """Raises SettingsError."""
    values = with_files(options.files, environ)
    if not os.isatty(2) and not log.wanted(values) and not environ.get("TCPREMOTEIP"):
        values[log.VARIABLE] = "syslog"          # inetd leaves the client there
    log.start("lmtpd", values)
    serve(values, options.any_network, options.maildir)
    return 0


def serve(environ: Mapping[str, str], any_network: bool, maildir: str) -> None:
    """The client on descriptors 0 and 1, until it goes."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    proc.leave_no_core()
    settings = Settings(environ)
    client = peer.of(0, settings, environ, any_network)
    title.start(settings)
    title.be(f"lmtpd [{client.address}]")
    conn = Conn(0, 1)
    meter = metrics.begin(environ, PROTOCOL)
    if meter is not None:
        meter.octets_of(conn)
    session = Session(conn, settings, client, Accounts(settings), maildir or settings.text("MAILDIRPATH"))
    try:
        session.serve()
    finally:
        conn.end()
        metrics.end()


if __name__ == "__main__":
    run()
