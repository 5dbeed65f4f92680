"""The listener's own process: where its log goes, who it is, what its children keep of it."""
from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def open_log(path: str) -> None:
    """Descriptor 2 is this file from now on."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o660)
    os.dup2(fd, 2)
    os.close(fd)


def start_logger(program: str, name: str) -> int:
    """Descriptor 2 is a pipe to this program from now on; its pid."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(reader, 0)
        os.closerange(3, 256)
        try:
            os.execvp(program, [program, name])
        finally:
            os._exit(1)
    os.dup2(writer, 2)
    os.close(reader)
    os.close(writer)
    return pid


def drop_privileges(text: Mapping[str, str]) -> None:
    """Become who the options ``group`` and ``user`` say."""
    group, user = text.get("group"), text.get("user")
    if os.geteuid() != 0 or not (group or user):
        return                     # an earlier image did it
    import grp
    import pwd
    if group:
        os.setgid(int(group) if group.isdigit() else grp.getgrnam(group).gr_gid)
    if user:
        os.setuid(int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid)


def serve_only(client: int, kept: Iterable[int], above: int) -> None:
    """In a forked child: the client on 0 and 1, and of what is below ``above`` only ``kept``."""
    signal.set_wakeup_fd(-1)       # else a signal writes into whatever gets that number now
    os.dup2(client, 0)
    os.dup2(client, 1)
    low = 3
    for fd in sorted(kept):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, max(client + 1, low, above))


def tell_all(pids: Iterable[int]) -> None:
    """SIGTERM."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


def wait_for(pids: set[int]) -> None:
    """Until these children ended, eight seconds at most."""
    end = time.monotonic() + 8
    while pids and time.monotonic() < end:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            pids.discard(pid)
        else:
            time.sleep(0.02)
