"""pop3login: the few commands before a POP3 login; then it becomes the user, and pop3d goes on.

``pop3login [auth modules...] program [arguments...]``, as imaplogin: see login/front.py.
"""
from __future__ import annotations

import os

from courierpy.login import front
from courierpy.pop3 import prelogin
from courierpy.system import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.system.conn import Conn

USAGE = """
Usage: pop3login [MODULE...] PROGRAM [ARGUMENT...]

The POP3 commands before the login, on standard input and output; couriertcpd or
inetd starts it.  After the login it becomes the user and starts PROGRAM.  MODULEs,
words that begin with auth, check passwords in this order; without any AUTHMODULES
names them.

  -h, --help      tell this
  -V, --version   tell the version

"courierpy serve --pop3" starts all of it as the settings say.
"""


def run() -> None:
    """The ``pop3login`` command."""
    import sys
    sys.exit(programs.run(["pop3login", *sys.argv[1:]], os.environ, None, inside=False))


def main(argv: list[str], environ: Mapping[str, str], conn: Conn | None = None) -> int | programs.Next:
    """Gives the exit status, or the program that goes on.  ``conn``: the client, where this is no program of
    its own."""
    return front.main("pop3login", USAGE, prelogin, argv, environ, conn)


if __name__ == "__main__":
    run()
