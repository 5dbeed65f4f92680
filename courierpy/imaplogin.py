"""imaplogin: the few commands before the login; then it becomes the user, and imapd goes on.

``imaplogin [auth modules...] program [arguments...]``.  The whole stage has 60 seconds.  What the
client is told is in imap/prelogin.py; who may come in, in login/stage.py; how one connection gets
from there to the next program, in login/alone.py.
"""
from __future__ import annotations

import os
import signal

from courierpy.auth import TemporaryFailure, is_module
from courierpy.imap.grammar import lines
from courierpy.imap.prelogin import CROWDED, LAST_WORDS, STOPPED, TEMPORARY, Login
from courierpy.login.alone import Alone
from courierpy.login.stage import Stage
from courierpy.model.replies import Bye
from courierpy.system import about, log, proc, programs
from courierpy.system.conn import Conn, Gone, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

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
    if conn is None:
        status = about.told(argv, USAGE)
        if status is not None:
            return status
        log.start("imaplogin", environ)
    log.be("imaplogin")
    words = argv[1:]
    modules = []
    while words and is_module(words[0]):
        modules.append(words.pop(0))
    client = conn if conn is not None else Conn(0, 1)
    result: int | programs.Next = 1
    try:
        if words:
            own = environ if isinstance(environ, dict) else dict(environ)
            result = serve(Alone(Stage("IMAP", "143", own, client), client, modules, words))
        else:
            why = "imaplogin expects a program to start; imaplogin --help tells how."
            client.say_last(lines.told(lines.BYE, why))
    finally:
        if isinstance(result, int):
            client.end()
    return result


def serve(alone: Alone) -> int | programs.Next:
    """The dialogue, with the client that ``alone`` has.  As main()."""
    proc.on_signal(_on_signal)
    login = Login(alone.stage)
    try:
        found = alone.drive(login.steps())
        if login.account is not None:
            return alone.goes_on(login.account, login.framer.rest(), LAST_WORDS)
        if login.logged_out():
            alone.conn.flush()
            log.info(f"LOGOUT, {login.who}, rcvd={alone.conn.rcvd}, sent={alone.conn.sent}")
    except TemporaryFailure:
        alone.conn.say_last(LAST_WORDS)
        return TEMPORARY.status
    except Bye as bye:                 # between two steps
        alone.conn.say_last(lines.told(lines.BYE, bye.text, bye.code))
        return bye.status
    except (Gone, TimedOut):
        alone.stage.disconnected()
        return 0
    return found if isinstance(found, int) else 0


def _on_signal(number: int, frame: object) -> None:
    raise CROWDED if number == signal.SIGUSR1 else STOPPED


if __name__ == "__main__":
    run()
