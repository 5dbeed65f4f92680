"""Row 40: deliveries by LMTP, over one connection and over four."""
from __future__ import annotations

import os
import socket
import threading
import time

from bench.client import Refused, now
from bench.peers import Courier
from bench.rows import MESSAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.lab import At
    from bench.rows import Figures

PATIENCE = 30.0                    # seconds
CLIENTS = 4


class Client:
    """An MTA's side of the dialogue, as Postfix has it: what can be is sent in one piece."""

    def __init__(self, path: str) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(PATIENCE)
            try:
                self.socket.connect(path)
                break
            except OSError:            # it is being started
                self.socket.close()
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.file = self.socket.makefile("rb")
        self.reply(b"220")
        self.say(b"LHLO bench.example", b"250")

    def reply(self, code: bytes) -> None:
        while (line := self.file.readline())[3:4] == b"-":
            continue
        if not line.startswith(code):
            raise Refused(line.decode("ascii", "replace").strip() or "the end of the connection")

    def say(self, line: bytes, code: bytes) -> None:
        self.socket.sendall(line + b"\r\n")
        self.reply(code)

    def deliver(self, user: bytes, message: bytes) -> None:
        self.socket.sendall(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n" % user)
        for code in (b"250", b"250", b"354"):
            self.reply(code)
        self.socket.sendall(message + b".\r\n")
        self.reply(b"250")

    def close(self) -> None:
        self.say(b"QUIT", b"221")
        self.file.close()
        self.socket.close()


def row_deliveries(at: At) -> Figures:
    if isinstance(at.server, Courier):
        return {}                      # it has no LMTP
    user = at.account("work").encode()
    new = os.path.join(at.maildir("work"), "new")
    before = set(os.listdir(new))
    path = at.server.lmtp()
    clients = [Client(path) for _ in range(CLIENTS)]
    each = max(8, at.scale.range)
    series = time.time_ns()

    def work(number: int, count: int) -> None:
        for one in range(count):
            clients[number].deliver(user, MESSAGE % (series + number, one))

    for number in range(CLIENTS):
        work(number, 2)                # what is started for the first message is there
    series += CLIENTS
    start = now()
    work(0, each)
    alone = each / (now() - start)
    series += CLIENTS
    threads = [threading.Thread(target=work, args=(number, each // 2)) for number in range(CLIENTS)]
    start = now()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = CLIENTS * (each // 2) / (now() - start)
    for client in clients:
        client.close()
    came = set(os.listdir(new)) - before
    for name in came:
        os.unlink(os.path.join(new, name))
    if len(came) != 2 * CLIENTS + each + CLIENTS * (each // 2):
        raise ValueError(f"row 40: {at.server.name} has {len(came)} messages")
    return {"40a": alone, "40b": together}
