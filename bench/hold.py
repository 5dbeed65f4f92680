"""How many connections can be held: python -m bench.hold [PLAIN [TLS [TOLD]]].

So many plain ones and so many by TLS log in, select INBOX and idle, all in one mailbox, until the processes
of all of them have ended; what is held is told, and the memory of it.  Then a message comes to another
mailbox, in which TOLD connections by TLS idle: how long until the median and the last of them hears of it.

A connection that sleeps takes two descriptors of the listener and two of the keeper.
"""
from __future__ import annotations

import sys
import time

from bench import procs
from bench.client import Client
from bench.lab import FULL, At, Lab
from bench.peers import PASSWORD, free_port
from bench.rows import now
from bench.tls import Secured, many_files, pushed

EACH = 500                         # after so many it is told how far it is
LONGEST = 900.0                    # seconds until all sleep


def hold(at: At, plain: int, by_tls: int, told: int) -> None:
    port = free_port()
    with Secured(at, IMAPDSTART="YES", PORT=str(port)) as secured:
        account = at.account("tiny")

        def idles(client: Client) -> Client:
            client.login(account, PASSWORD)
            client.do(b"SELECT INBOX")
            client.idle()
            return client

        idles(Client(port)).close()
        time.sleep(1)
        before = state("nobody", secured)
        clients: list[Client] = []
        for what, count in (("plain", plain), ("by TLS", by_tls)):
            start = now()
            for number in range(1, count + 1):
                clients.append(idles(Client(port) if what == "plain" else secured.client()))
                if not number % EACH:
                    print(f"{number} {what} in {now() - start:.0f} s", file=sys.stderr, flush=True)
            wait_until_asleep(secured, before[0] + 12)
            after = state(f"{count} {what}", secured)
            if count:
                print(f"{what}: {(after[1] - before[1]) / count:.1f} kB each")
            before = before[0], after[1]
        if told:
            others = secured.idling("crowd", told)
            wait_until_asleep(secured, before[0] + 12)
            state(f"{told} more by TLS", secured)
            median, last = pushed(at, "crowd", others, 1)
            print(f"a delivery to the {told}: median {1000 * median:.0f} ms, the last {1000 * last:.0f} ms")
            clients += others
        for client in clients[:: max(1, len(clients) // 50)]:
            client.sock.sendall(b"DONE\r\n")
            client.read_until(b"zq")
            client.do(b"NOOP")
        print("some of each go on")
        for client in clients:
            client.close()


def state(who: str, secured: Secured) -> tuple[int, int]:
    """Prints and gives the number of processes, and their memory, kB."""
    count, memory = len(procs.family(secured.roots())), procs.memory(secured.roots())
    print(f"{who}: {count} processes, {memory / 1024:.0f} MB", flush=True)
    return count, memory


def wait_until_asleep(secured: Secured, most: int) -> None:
    """Until there are at most so many processes."""
    end = now() + LONGEST
    while len(procs.family(secured.roots())) > most and now() < end:
        time.sleep(1)


def main(words: list[str]) -> int:
    plain, by_tls, told = (int(word) for word in [*words, *("10000", "2000", "1000")[len(words):]])
    many_files(4 * (plain + by_tls + told))
    with Lab(["courierpy"], ".", alone=False) as lab:
        hold(At(lab, lab.servers[0], FULL), plain, by_tls, told)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
