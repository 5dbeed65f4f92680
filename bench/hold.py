"""How many connections can be held: python -m bench.hold [PLAIN [TLS [TOLD]]].

So many plain ones and so many by TLS log in, select INBOX and idle, all in one mailbox, until the processes
of all of them have ended; what is held is told, and the memory of it.  Then messages come to another
mailbox, in which TOLD connections by TLS idle: how long until the median and the last of them hears of one.

What was found becomes a section of docs/benchmarks.md, unless other numbers were asked for.

A connection that sleeps takes two descriptors of its listener and two of the keeper: where a process may not
have as many, there is more than one server, and they share the connections.
"""
from __future__ import annotations

import resource
import signal
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from bench import procs, report
from bench.__main__ import DOCUMENT
from bench.client import Client, now
from bench.lab import FULL, At, Lab
from bench.peers import PASSWORD, free_port
from bench.rows import HIBERNATED
from bench.tls import ROUNDS, Secured, many_files, pushed

NUMBERS = 10_000, 2_000, 1_000     # that are asked for where nothing else is
AT_ONCE = 16                       # that log in
ROOM = 4096                        # octets that a client who idles reads at once
EACH = 500                         # after so many it is told how far it is
LONGEST = 900.0                    # seconds until all sleep
RESIDENT = 6                       # processes of a server that start with its first sessions, at most
WAITING = 16                       # and of one whose processes wait for another session


class Held:
    """The servers, and who is connected to them."""

    def __init__(self, at: At, servers: list[Secured], ports: list[int]) -> None:
        self.at = at
        self.servers = servers
        self.ports = ports
        self.clients: list[Client] = []
        self.found = ["| held, all asleep | processes | memory | each of them |",
                      "| --- | ---: | ---: | ---: |"]
        self.memory = 0
        self.count, self.memory = self.state("nobody", 0)

    def state(self, who: str, more: int) -> tuple[int, int]:
        """Prints and gives the number of processes, and their memory, kB.  ``more``: connections than
        before."""
        roots = [pid for server in self.servers for pid in server.roots()]
        count, memory = len(procs.family(roots)), procs.memory(roots)
        each = f"{(memory - self.memory) / more:.1f} kB" if more else "-"
        self.found.append(f"| {who} | {count} | {memory / 1024:.0f} MB | {each} |")
        print(self.found[-1], flush=True)
        return count, memory

    def more(self, what: str, account: str, count: int, waiting: int = 0) -> list[Client]:
        """So many more idle; ``what``: "plain" or "by TLS".  They sleep then.  ``waiting``: processes that
        wait for another session."""
        user = self.at.account(account)
        start = now()

        def comes(number: int) -> Client:
            place = number % len(self.servers)
            client = Client(self.ports[place]) if what == "plain" else self.servers[place].client()
            client.login(user, PASSWORD)
            client.do(b"SELECT INBOX")
            client.idle()
            client.buffer = bytearray(ROOM)        # not a megabyte for each
            client.view = memoryview(client.buffer)
            return client

        came: list[Client] = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for client in pool.map(comes, range(count)):
                    came.append(client)
                    if not len(came) % EACH:
                        print(f"{len(came)} {what} in {now() - start:.0f} s", file=sys.stderr, flush=True)
            finally:
                pool.shutdown(cancel_futures=True)
        roots = [pid for server in self.servers for pid in server.roots()]
        end = now() + LONGEST
        while len(procs.family(roots)) > self.count + RESIDENT * len(self.servers) + waiting and now() < end:
            time.sleep(1)
        _, self.memory = self.state(f"{count:,} more {what}", count)
        self.clients += came
        return came


def hold(at: At, plain: int, by_tls: int, told: int) -> str:
    """A section of the document."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        ports = [free_port() for _ in range(1 + 2 * max(plain, by_tls) // (files - 1000))]
        # no process is to wait for the next session, as its memory would count
        servers = [stack.enter_context(Secured(at, IMAPDSTART="YES", PORT=str(port), IMAP_REUSE="no"))
                   for port in ports]
        for server in servers:
            server.login("tiny").logout()
        held = Held(at, servers, ports)
        held.more("plain", "tiny", plain)
        held.more("by TLS", "tiny", by_tls)
        if told:
            held.found += ["", _told(at, stack.enter_context(Secured(at)), told)]
            print(held.found[-1])
        for client in held.clients[:: max(1, len(held.clients) // 50)]:
            client.sock.sendall(b"DONE\r\n")
            client.read_until(b"zq")
            client.do(b"NOOP")
        print("some of each go on")
        for client in held.clients:
            client.close()
    return "## Held at once\n" + "\n".join(held.found)


def _told(at: At, server: Secured, count: int) -> str:
    """A sentence of so many connections by TLS of one user to a server that is as it comes."""
    held = Held(at, [server], [server.port])
    others = held.more("by TLS", "crowd", count, WAITING)
    times = []
    for number in range(ROUNDS):
        time.sleep(HIBERNATED)         # all sleep again
        times.append(pushed(at, "crowd", others, number))
    for client in others:
        client.close()
    median, last = (statistics.median(values) for values in zip(*times, strict=True))
    return (f"A delivery to {count:,} others by TLS, of one user, in one mailbox: told to the median after "
            f"{1000 * median:.0f} ms, to the last after {1000 * last:.0f} ms ({ROUNDS} deliveries). Of "
            "one user eight are woken at a time.")


def main(words: list[str]) -> int:
    plain, by_tls, told = numbers = (*map(int, words), *NUMBERS[len(words):])
    many_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))         # so that the servers are stopped
    with Lab(["courierpy"], ".", alone=False) as lab:
        text = hold(At(lab, lab.servers[0], FULL), plain, by_tls, told)
    if numbers == NUMBERS:
        report.write(DOCUMENT, {"held": text})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
