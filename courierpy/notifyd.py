"""notifyd: tell a program, an address or a URL that mail has come.

lmtpd and deliver say at its socket that a message came to a mailbox; what is done then the settings say
(NOTIFYD_METHODS), and the devices that a user has named in METADATA are told too.  It runs as a user of its
own, keeps what is to be told on disk and tries again.
"""
from __future__ import annotations

import os
import socket
import stat
import sys

from courierpy.system import log
from courierpy.system.settings import Settings
from courierpy.system.startup import WrongWords, given, status_of, with_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

USAGE = """
Usage: notifyd [-C FILE]... [-m METHOD]... [SOCKET]

Tell that new mail has come: null, log, mailto, external, webhook, and by the
tokens that devices have set in METADATA.  SOCKET: a unix datagram socket,
else NOTIFYD_SOCKET, else descriptor 0.

  -C FILE         settings, instead of /etc/courier/imapd and imapd-ssl
  -m METHOD       instead of NOTIFYD_METHODS
  -U USES, -T SECONDS, -D   accepted
  -h, --help      tell this
  -V, --version   tell the version
"""


class Options:
    """Of the command line: ``files`` of settings, ``methods``, ``socket``: "" for none."""

    __slots__ = ("files", "methods", "socket")

    def __init__(self, words: list[str]) -> None:
        """Raises WrongWords."""
        found, self.socket = given("notifyd", words, "", "CmUT", "D", "socket")
        self.files, self.methods = found.get("C", []), found.get("m", [])


def run() -> None:
    """The ``notifyd`` command."""
    sys.exit(main(sys.argv, os.environ))


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Gives the exit status."""
    return status_of("notifyd", argv, USAGE, lambda words: _work(Options(words), environ))


def _work(options: Options, environ: Mapping[str, str]) -> int:
    """Raises WrongWords and SettingsError."""
    def load() -> dict[str, str]:
        values = with_files(options.files, environ)
        return {**values, "NOTIFYD_METHODS": " ".join(options.methods)} if options.methods else values

    values = load()
    path = options.socket or Settings(values).text("NOTIFYD_SOCKET")
    if not path and not _on_0():
        raise WrongWords("no socket is named, by a word or by NOTIFYD_SOCKET, and none is on descriptor 0")
    log.start("notifyd", values)
    from courierpy import notifyserve
    return notifyserve.serve(os.path.abspath(path) if path else "", load)


def _on_0() -> bool:
    """Is the socket there already, from a program that made it?"""
    try:
        if not stat.S_ISSOCK(os.fstat(0).st_mode):
            return False
        with socket.socket(fileno=os.dup(0)) as found:
            return (found.family, found.type) == (socket.AF_UNIX, socket.SOCK_DGRAM)
    except OSError:
        return False


if __name__ == "__main__":
    run()
