"""How many connections can be held: python -m bench.hold [PLAIN [TLS [TOLD]]].

So many plain ones and so many by TLS log in, select INBOX and idle, all in one mailbox, until the processes
of all of them have ended; what is held is told, and the memory of it.  Then a message comes to another
mailbox, in which TOLD connections by TLS idle: how long until the median and the last of them hears of it.

A connection that sleeps takes two descriptors of its listener and two of the keeper: where a process may not
have as many, there is more than one server, and they share the connections.
"""
from __future__ import annotations

import resource
import signal
import sys
import time
from contextlib import ExitStack

from bench import procs
from bench.client import Client
from bench.lab import FULL, At, Lab
from bench.peers import PASSWORD, free_port
from bench.rows import now
from bench.tls import Secured, many_files, pushed

EACH = 500                         # after so many it is told how far it is
LONGEST = 900.0                    # seconds until all sleep
RESIDENT = 6                       # processes of a server that start with its first sessions, at most


class Held:
    """The servers, and who is connected to them."""

    def __init__(self, at: At, servers: list[Secured], ports: list[int]) -> None:
        self.at = at
        self.servers = servers
        self.ports = ports
        self.clients: list[Client] = []
        self.count, self.memory = self.state("nobody")

    def state(self, who: str) -> tuple[int, int]:
        """Prints and gives the number of processes, and their memory, kB."""
        roots = [pid for server in self.servers for pid in server.roots()]
        count, memory = len(procs.family(roots)), procs.memory(roots)
        print(f"{who}: {count} processes, {memory / 1024:.0f} MB", flush=True)
        return count, memory

    def more(self, what: str, account: str, count: int) -> list[Client]:
        """So many more idle; ``what``: "plain" or "by TLS".  They sleep then."""
        user = self.at.account(account)
        start = now()
        came: list[Client] = []
        for number in range(count):
            place = number % len(self.servers)
            client = Client(self.ports[place]) if what == "plain" else self.servers[place].client()
            client.login(user, PASSWORD)
            client.do(b"SELECT INBOX")
            client.idle()
            came.append(client)
            if not (number + 1) % EACH:
                print(f"{number + 1} {what} in {now() - start:.0f} s", file=sys.stderr, flush=True)
        roots = [pid for server in self.servers for pid in server.roots()]
        end = now() + LONGEST
        while len(procs.family(roots)) > self.count + RESIDENT * len(self.servers) and now() < end:
            time.sleep(1)
        _, memory = self.state(f"{count} more {what}")
        if count:
            print(f"{what}: {(memory - self.memory) / count:.1f} kB each", flush=True)
        self.memory = memory
        self.clients += came
        return came


def hold(at: At, plain: int, by_tls: int, told: int) -> None:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        ports = [free_port() for _ in range(1 + 2 * max(plain, by_tls + told) // (files - 1000))]
        servers = [stack.enter_context(Secured(at, IMAPDSTART="YES", PORT=str(port))) for port in ports]
        for server in servers:
            server.login("tiny").logout()
        held = Held(at, servers, ports)
        held.more("plain", "tiny", plain)
        held.more("by TLS", "tiny", by_tls)
        if told:
            others = held.more("by TLS", "crowd", told)
            median, last = pushed(at, "crowd", others, 1)
            print(f"a delivery to the {told}: median {1000 * median:.0f} ms, the last {1000 * last:.0f} ms")
        for client in held.clients[:: max(1, len(held.clients) // 50)]:
            client.sock.sendall(b"DONE\r\n")
            client.read_until(b"zq")
            client.do(b"NOOP")
        print("some of each go on")
        for client in held.clients:
            client.close()


def main(words: list[str]) -> int:
    plain, by_tls, told = (int(word) for word in [*words, *("10000", "2000", "1000")[len(words):]])
    many_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))         # so that the servers are stopped
    with Lab(["courierpy"], ".", alone=False) as lab:
        hold(At(lab, lab.servers[0], FULL), plain, by_tls, told)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
