"""imaplogin: the few commands before the login; then it becomes the user, and imapd goes on.

``imaplogin [auth modules...] program [arguments...]``: see login/front.py.
"""
from __future__ import annotations

import os

from courierpy.login import front
from courierpy.system import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.system.conn import Conn

USAGE = """
Usage: imaplogin [MODULE...] PROGRAM [ARGUMENT...]

The IMAP commands before the login, on standard input and output; couriertcpd starts
it.  After the login it becomes the user and starts PROGRAM.  MODULEs, words that
begin with auth, check passwords in this order; without any AUTHMODULES names them.

  -h, --help      tell this
  -V, --version   tell the version

"courierpy serve" starts all of it as the settings say.
"""


def run() -> None:
    """The ``imaplogin`` command."""
    import sys
    sys.exit(programs.run(["imaplogin", *sys.argv[1:]], os.environ, None, inside=False))


def main(argv: list[str], environ: Mapping[str, str], conn: Conn | None = None) -> int | programs.Next:
    """Gives the exit status, or the program that goes on.  ``conn``: the client, where this is no
    program of its own."""
    return front.main("imaplogin", USAGE, programs.TABLE["imaplogin"].dialogue(environ), argv, environ, conn)


if __name__ == "__main__":
    run()
