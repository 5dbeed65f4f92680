"""The pid file of a daemon and the lock that says it lives."""
from __future__ import annotations

import fcntl
import os
import signal
import time


def lock(path: str) -> int | None:
    """Hold ``<path>.lock``; the descriptor, or None when a daemon holds it."""
    fd = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def write(path: str) -> None:
    scratch = f"{path}.{os.getpid()}"
    with open(scratch, "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    os.rename(scratch, path)


def read(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def stop(path: str) -> int:
    """SIGTERM, and SIGKILL when that does not help; the exit status."""
    for attempt in range(20):
        held = lock(path)
        if held is not None:
            os.close(held)
            return 0
        pid = read(path)
        if pid is not None:
            try:
                os.kill(pid, signal.SIGTERM if attempt < 16 else signal.SIGKILL)
            except ProcessLookupError:
                return 0
        time.sleep(0.5)
    return 1


def restart(path: str) -> int:
    """SIGHUP to the daemon; the exit status."""
    pid = read(path)
    held = lock(path)
    if held is not None:
        os.close(held)
    if held is not None or pid is None:
        os.write(2, os.fsencode(f"couriertcpd: {path}: no couriertcpd runs by this file: one was expected "
                                "that was started with it\n"))
        return 1
    os.kill(pid, signal.SIGHUP)
    return 0


def daemonize() -> None:
    """Leave the terminal; returns in the daemon only."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
