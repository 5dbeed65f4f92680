"""python -m bench.parts: what the parts of a session cost without a server around them, in CPU.

Below the sum of what a way to serve needs of these no server comes that is made of them: a message from one
process to another, a fork of a process that has a session's modules, with some of its pages written to, and
the session itself, again and again in a process that has served before.
"""
from __future__ import annotations

import array
import os
import resource
import select
import signal
import socket
import statistics
import tempfile
import time
from functools import partial
from typing import NoReturn

from bench.doors import sessions_a_second
from courierpy import imapd, preload
from courierpy.admin import maildirmake
from courierpy.system import proc
from courierpy.system.conn import Conn

RING = 5                           # processes that a session goes through
HOPS, FORKS, SESSIONS, SERVED = 3000, 60, 300, 600
PAGES = (0, 400, 1440)             # of a session that is served once: all that it writes to are 1,440
PAGE = resource.getpagesize()
COMMANDS = b"a SELECT INBOX\r\nb LOGOUT\r\n"
MESSAGES = 20
TIMES = 5
CACHE, LINE = 16 << 20, 64         # octets: more than a processor's own cache has, and of a line of it
WORD = 500                         # octets of a message, about as of an order


def spent(pid: int) -> float:
    """Milliseconds of CPU of a process that lives."""
    with open(f"/proc/{pid}/schedstat", "rb") as file:
        return int(file.read().split()[0]) / 1e6


def hop() -> float:
    """Milliseconds of all processes for one message; each fifth one has a descriptor with it."""
    ways = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(RING)]
    reader, writer = os.pipe()
    pids = [proc.fork(partial(_pass_on, ways[at][1], ways[(at + 1) % RING][0], writer)) for at in range(RING)]
    time.sleep(0.2)                # they are at their wait
    before = sum(map(spent, pids))
    ways[0][0].send(HOPS.to_bytes(4, "big") + bytes(WORD))
    os.read(reader, 1)
    found = (sum(map(spent, pids)) - before) / HOPS
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for end in (end for way in ways for end in way):
        end.close()
    for fd in (reader, writer):
        os.close(fd)
    return found


def _pass_on(comes: socket.socket, goes: socket.socket, done: int) -> NoReturn:
    poll = select.epoll()
    poll.register(comes.fileno(), select.EPOLLIN)
    while True:
        poll.poll()
        data, ancillary, _, _ = comes.recvmsg(4 + WORD, socket.CMSG_SPACE(4))
        for _, _, value in ancillary:
            os.close(array.array("i", value)[0])
        left = int.from_bytes(data[:4], "big") - 1
        if not left:
            os.write(done, b".")
            continue
        rights = [] if left % RING else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", (done,)))]
        goes.sendmsg([left.to_bytes(4, "big"), data[4:]], rights)


def fork(pages: int) -> float:
    """Milliseconds of parent and child; the child writes to so many pages that the parent has, and ends."""
    area = bytearray(PAGE * max(PAGES))
    found = []

    def write() -> int:
        for at in range(0, PAGE * pages, PAGE):
            area[at] = 1
        return 0

    for _ in range(FORKS):
        before = _of_family()
        os.waitpid(proc.fork(write), 0)
        found.append(_of_family() - before)
    return 1000 * statistics.median(found)


def _of_family() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def session(maildir: str, others: int = 0) -> float:
    """Milliseconds of one in a process that has served before, from the tagged OK of its LOGIN on.
    ``others``: octets that are written to between two, as by processes that have the processor meanwhile."""
    cache = bytearray(others)
    environ = {"IMAPLOGINTAG": "l", "AUTHENTICATED": "ann", "TCPREMOTEIP": "192.0.2.1", "TCPREMOTEPORT": "7",
               "MAILDIR": maildir}
    found = []
    for _ in range(SESSIONS):
        ours, theirs = socket.socketpair()
        theirs.sendall(COMMANDS)
        theirs.shutdown(socket.SHUT_WR)
        for at in range(0, others, LINE):
            cache[at] = at & 0xff
        before = time.process_time()
        imapd.main(["imapd"], environ, Conn(ours.fileno(), ours.fileno()))
        found.append(time.process_time() - before)
        ours.close()
        theirs.close()
    return 1000 * statistics.median(found)


def main() -> None:
    print(f"a message between two processes: {statistics.median(hop() for _ in range(TIMES)):.3f} ms")
    preload.preload(apart=True)
    preload.freeze({}, "IMAP")
    for pages in PAGES:
        print(f"a fork, and {pages} pages written to: {fork(pages):.2f} ms")
    for at_once in (1, 16):
        print(f"sessions of a server that parses nothing, {at_once} at once: "
              f"{sessions_a_second(SERVED, at_once):.0f} a second")
    print(f"and with a fork for each: {sessions_a_second(SERVED, 1, forked=True):.0f} a second")
    with tempfile.TemporaryDirectory() as folder:
        maildir = os.path.join(folder, "Maildir")
        maildirmake.make(maildir)
        for number in range(MESSAGES):
            name = f"{1700000000 + number}.M1P1.host,S=60:2,S"
            with open(os.path.join(maildir, "cur", name), "wb") as file:
                file.write(b"From: a@example.org\nSubject: %d\n\nText.\n" % number)
        log = os.open(os.devnull, os.O_WRONLY)
        os.dup2(log, 2)
        print(f"a session, again and again in one process: {session(maildir):.2f} ms")
        print(f"and where others have had the processor's cache between: {session(maildir, CACHE):.2f} ms")


if __name__ == "__main__":
    main()
