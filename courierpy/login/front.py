"""A program that greets a client and becomes its user, whatever the protocol.

``PROGRAM [auth modules...] next [arguments...]``.  The whole stage has 60 seconds.  What the client is told
is the protocol's (imap/prelogin.py, pop3/prelogin.py); who may come in, in stage.py; how one connection gets
from there to the next program, in alone.py.
"""
from __future__ import annotations

import signal

from courierpy.auth import TemporaryFailure, is_module
from courierpy.login.alone import Alone
from courierpy.login.stage import Stage
from courierpy.model.replies import Bye, anew
from courierpy.system import about, log, metrics, notices, proc, programs
from courierpy.system.conn import Conn, Gone, TimedOut
from courierpy.system.settings import from_environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from courierpy.auth import Account
    from courierpy.model.steps import Steps

    class Framer(Protocol):
        def rest(self) -> bytes: ...

    class Dialogue(Protocol):
        account: Account | None
        who: str

        @property
        def framer(self) -> Framer: ...

        def steps(self) -> Steps[Account | int]: ...

        def logged_out(self) -> bool: ...

    class Spoken(Protocol):
        """The module of a protocol's dialogue before the login."""

        PROTOCOL: str
        PORT: str
        LAST_WORDS: bytes
        CROWDED: Bye
        STOPPED: Bye
        TEMPORARY: Bye

        def dialogue(self, stage: Stage) -> Dialogue: ...

        def told(self, bye: Bye) -> bytes: ...


def main(name: str, usage: str, spoken: Spoken, argv: list[str], environ: Mapping[str, str],
         conn: Conn | None) -> int | programs.Next:
    """Gives the exit status, or the program that goes on.  ``conn``: the client, where this is no program of
    its own."""
    if conn is None:
        status = about.told(argv, usage)
        if status is not None:
            return status
        log.start(name, environ)
    log.be(name)
    words = argv[1:]
    modules = []
    while words and is_module(words[0]):
        modules.append(words.pop(0))
    client = conn if conn is not None else Conn(0, 1)
    result: int | programs.Next = 1
    metrics.begin(environ, spoken.PROTOCOL)
    try:
        if words:
            own = environ if isinstance(environ, dict) else dict(environ)
            own.update(notices.to_all(from_environ(own)))
            stage = Stage(spoken.PROTOCOL, spoken.PORT, own, client)
            result = serve(Alone(stage, client, modules, words), spoken)
        else:
            client.say_last(spoken.told(Bye(f"{name} expects a program to start; {name} --help tells how.")))
    finally:
        metrics.end()
        if isinstance(result, int):
            client.end()
    return result


def serve(alone: Alone, spoken: Spoken) -> int | programs.Next:
    """The dialogue, with the client that ``alone`` has.  As main()."""
    def on_signal(number: int, frame: object) -> None:
        raise anew(spoken.CROWDED if number == signal.SIGUSR1 else spoken.STOPPED)

    proc.on_signal(on_signal)
    login = spoken.dialogue(alone.stage)
    try:
        found = alone.drive(login.steps())
        if login.account is not None and alone.onward is not None:
            return alone.carries(login.account, login.framer.rest(), alone.onward)
        if login.account is not None:
            return alone.goes_on(login.account, login.framer.rest(), spoken.LAST_WORDS)
        if login.logged_out():
            alone.conn.flush()
            log.info(f"LOGOUT, {login.who}, rcvd={alone.conn.rcvd}, sent={alone.conn.sent}")
        proc.on_signal(proc.ends)      # all is said
    except TemporaryFailure:
        _end(alone, spoken.LAST_WORDS)
        return spoken.TEMPORARY.status
    except Bye as bye:                 # between two steps
        _end(alone, spoken.told(bye))
        return bye.status
    except (Gone, TimedOut):
        alone.stage.disconnected()
        return 0
    return found if isinstance(found, int) else 0


def _end(alone: Alone, words: bytes) -> None:
    """The last words.  From now on a signal ends the process, and nothing more is told."""
    proc.on_signal(proc.ends)
    alone.conn.say_last(words)
