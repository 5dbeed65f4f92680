"""The listener's own process: where its log goes, who it is, what its children keep of it."""
from __future__ import annotations

import os
import signal
import time

from courierpy.auth import is_module
from courierpy.listener.options import UsageError
from courierpy.model.numbers import decimal
from courierpy.system import log, proc, programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PATIENCE = 8.0                 # seconds that children have to end


def log_to_client(text: Mapping[str, str], environ: dict[str, str]) -> None:
    """-stderr=socket, in the connection's process."""
    if text.get("stderr") == "socket":
        os.dup2(1, 2)
        log.start("couriertcpd", {})
        environ[log.VARIABLE] = log.form()


def open_log(path: str) -> None:
    """Descriptor 2 is this file from now on."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o660)
    os.dup2(fd, 2)
    os.close(fd)


def start_logger(program: str, name: str) -> int:
    """Descriptor 2 is a pipe to this program from now on; its pid.  OSError.

    It ends when all have who write to the pipe, and so hears their last words.
    """
    reader, writer = os.pipe()

    def logger() -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.dup2(reader, 0)
        proc.keep_open()
        try:
            os.execvp(program, [program, name])
        finally:
            os._exit(1)

    try:
        pid = proc.fork(logger, 0)
        os.dup2(writer, 2)
    finally:
        os.close(reader)
        os.close(writer)
    return pid


def owner(text: Mapping[str, str]) -> int:
    """The uid that the option ``user`` names; -1 without it.  Raises UsageError."""
    import pwd
    return _number_of("user", text, lambda name: pwd.getpwnam(name).pw_uid)


def _group(text: Mapping[str, str]) -> int:
    """The gid that the option ``group`` names; -1 without it.  Raises UsageError."""
    import grp
    return _number_of("group", text, lambda name: grp.getgrnam(name).gr_gid)


def _number_of(option: str, text: Mapping[str, str], look_up: Callable[[str], int]) -> int:
    """What an option names, or is the number of.  ``look_up``: function of a name, which raises KeyError."""
    name = text.get(option)
    if not name:
        return -1
    number = decimal(name)
    try:
        return look_up(name) if number is None else number
    except KeyError:
        raise UsageError(f"-{option}={name}: there is no such {option}; a name, or a number, was expected"
                         ) from None


def ids(text: Mapping[str, str]) -> tuple[int, int]:
    """uid and gid that the listener will have, -1 for those that it has.  Raises UsageError."""
    return (owner(text), _group(text)) if os.geteuid() == 0 else (-1, -1)


def check(text: Mapping[str, str]) -> None:
    """Are there the user and the group that these options name?  Raises UsageError."""
    owner(text)
    _group(text)


def check_programs(program: str, text: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Are there the program behind the listener and that of -stderrlogger?  Raises UsageError."""
    if programs.find(program) is None:
        _look_for(program, program, environ)
    logger = text.get("stderrlogger")
    if logger:
        _look_for(logger, f"-stderrlogger={logger}", os.environ)


def check_behind_login(login: str, arguments: Iterable[str], environ: Mapping[str, str]) -> None:
    """Is there the program that ``login`` goes on in?  Raises UsageError.  A relative path is not looked at:
    it begins in the home of an account."""
    program = next((word for word in arguments if not is_module(word)), "")
    if not program:
        raise UsageError(f"{login}: the program behind the login was expected: {login} imapd ./Maildir")
    if programs.find(program) is None and ("/" not in program or os.path.isabs(program)):
        _look_for(program, f"{login} {program}", environ)


def _look_for(program: str, said: str, environ: Mapping[str, str]) -> None:
    """UsageError for what exec will not find.  ``said``: the program as the command line has it."""
    folders = [""] if "/" in program else os.get_exec_path(environ)
    paths = [os.path.join(folder, program) for folder in folders]
    if any(os.path.isfile(path) and os.access(path, os.X_OK) for path in paths):
        return
    if "/" not in program:
        raise UsageError(f"{said}: there is no such program in {os.pathsep.join(folders)}; name another, or "
                         "its whole path")
    why = "No such file or directory" if not os.path.exists(program) else "not a program that can be run"
    raise UsageError(f"{said}: {why}; a program was expected there")


def drop_privileges(text: Mapping[str, str]) -> None:
    """Become who the options ``group`` and ``user`` say."""
    if os.geteuid() != 0:
        return                     # an earlier image did it
    uid, gid = ids(text)
    if gid >= 0:
        os.setgid(gid)
    if uid >= 0:
        os.setuid(uid)


def serve_only(client: int, kept: Iterable[int], above: int) -> None:
    """In a forked child: the client on 0 and 1, and of what is below ``above`` only ``kept``."""
    os.dup2(client, 0)
    os.dup2(client, 1)
    proc.keep_open(kept, max(client + 1, above))


def tell_all(pids: Iterable[int], number: int = signal.SIGTERM) -> None:
    """A signal to each of these children."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def wait_for(pids: set[int], meanwhile: Callable[[], object]) -> None:
    """Until these children ended; who has not after a while is killed."""
    if not _ended(pids, PATIENCE, meanwhile):
        tell_all(pids, signal.SIGKILL)
        _ended(pids, PATIENCE, meanwhile)


def _ended(pids: set[int], seconds: float, meanwhile: Callable[[], object]) -> bool:
    end = time.monotonic() + seconds
    while pids and time.monotonic() < end:
        meanwhile()
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid:
            pids.discard(pid)
        else:
            time.sleep(0.005)
    return not pids
