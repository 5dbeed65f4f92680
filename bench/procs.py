"""What a server costs: CPU seconds and memory of its processes, read from /proc."""
from __future__ import annotations

import os

TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[bytes] | None:
    """Fields of /proc/PID/stat from the state on; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def family(roots: list[int]) -> list[int]:
    """The roots, all their descendants, and what runs in a session that a root leads."""
    table = {int(name): fields for name in os.listdir("/proc") if name.isdigit()
             and (fields := _stat(int(name)))}
    found = [pid for pid in roots if pid in table]
    sessions = {b"%d" % pid for pid in roots}
    found += [pid for pid, fields in table.items() if fields[3] in sessions and pid not in found]
    for parent in found:           # grows on the way
        found += [pid for pid, fields in table.items() if int(fields[1]) == parent and pid not in found]
    return found


def apart(roots: list[int]) -> list[int]:
    """What left the family but lives in a mount namespace of it: Courier's gam_server."""
    spaces = {_space(pid) for pid in roots} - {_space(os.getpid()), None}
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _space(int(name)) in spaces]


def _space(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return None


def become(owner: tuple[int, int] | None, space: int) -> None:
    """In a forked child: into the mount namespace of the process ``space``, and the user."""
    if space:
        import ctypes
        fd = os.open(f"/proc/{space}/ns/mnt", os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(fd, 0):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(fd)
        os.chdir("/")
    if owner is not None:
        os.setgroups([owner[1]])
        os.setgid(owner[1])
        os.setuid(owner[0])


def cpu(roots: list[int]) -> float:
    """Seconds of CPU that the family used, with the children that it reaped."""
    total = 0
    for pid in family(roots):
        fields = _stat(pid)
        if fields:
            total += sum(map(int, fields[11:15]))
    return total / TICK


def memory(roots: list[int]) -> int:
    """Proportional set size of the family, kB: shared pages are divided among those who share."""
    total = 0
    for pid in family(roots):
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                for line in file:
                    if line.startswith(b"Pss:"):
                        total += int(line.split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def files(roots: list[int]) -> int:
    """Memory files that the family has open, kB: they are in nobody's proportional set."""
    found = {}
    for pid in family(roots):
        try:
            for each in os.scandir(f"/proc/{pid}/fd"):
                if os.readlink(each.path).startswith("/memfd:"):
                    look = each.stat()
                    found[look.st_ino] = look.st_blocks // 2
        except OSError:
            continue
    return sum(found.values())


def forget_peaks(roots: list[int]) -> dict[int, int]:
    """The peaks of memory of the family count anew from now on; process -> what it has, kB."""
    found = {}
    for pid in family(roots):
        try:
            with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
        except OSError:
            continue
        found[pid] = _peak(pid)
    return found


def grown(before: dict[int, int]) -> int:
    """kB by which the process that took most was beyond what forget_peaks() gave."""
    return max((_peak(pid) - had for pid, had in before.items()), default=0)


def _peak(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return int(file.read().partition(b"VmHWM:")[2].split()[0])
    except (OSError, IndexError):
        return 0
