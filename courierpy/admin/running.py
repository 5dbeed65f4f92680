"""A command that is run while something is held for it: signals go on to it, and it is waited for."""
from __future__ import annotations

import os
import signal
from functools import partial

from courierpy.admin import complain
from courierpy.system import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

NOT_FOUND, NOT_STARTED = 127, 126  # as of shells
PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
HEARD = (*PASSED_ON, signal.SIGCHLD)
BY_KERNEL = 0x80                   # si_code of a signal of the terminal, which the command gets too
LOOK = 1.0                         # seconds: where there are other threads one of them may get SIGCHLD
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def run(command: list[str], not_found: int = NOT_FOUND, not_started: int = NOT_STARTED) -> int:
    """The exit status of the command, or of what is said of one that cannot be run; a signal that ended it as
    a negative number."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    stops = signal.signal(signal.SIGTSTP, signal.SIG_IGN)      # who stopped it would stop all who have mail
    try:
        pid = proc.fork(partial(_become, command, before, not_found, not_started))
        while True:
            heard = signal.sigtimedwait(HEARD, LOOK)
            if heard is not None and heard.si_signo != signal.SIGCHLD:
                if heard.si_code != BY_KERNEL:
                    os.kill(pid, heard.si_signo)
                continue
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
    finally:
        signal.signal(signal.SIGTSTP, stops)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _become(command: list[str], mask: Iterable[int], not_found: int, not_started: int) -> NoReturn:
    for number in IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        where = "the path of a program" if "/" in command[0] else "a program in PATH"
        complain(f"{command[0]}: {error.strerror} ({where} that may be run was expected)")
        os._exit(not_found if isinstance(error, (FileNotFoundError, NotADirectoryError)) else not_started)
