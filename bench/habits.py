"""Rows about other mail and other habits: messages that carry keywords, that are new, or that are changed
all at once; small folders; and what mbsync says."""
from __future__ import annotations

import statistics
import time

from bench.client import AGAIN, timed
from bench.limits import bodies_a_second, flags_a_second, looks_a_second
from bench.peers import Courierpy
from bench.rows import fetched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.client import Client
    from bench.lab import At
    from bench.rows import Figures

FLAGS = b"FETCH 1:* (FLAGS)"


def row_keywords(at: At) -> Figures:
    """A keyword of all messages; their flags then; COPY and MOVE of some of them."""
    count, some = at.scale.messages, at.scale.range
    client = at.opened("work")
    found = {"36a": _rate(client, b"STORE 1:* +FLAGS.SILENT (Project)", count)}
    client.logout()
    found["36b"] = _flags(at, "36b", count)
    client = at.opened("work")
    copies, moved = at.folder("Copies"), at.folder("Moved")
    found["36c"] = _rate(client, b"COPY 1:%d %s" % (some, copies), some)
    client.do(b"SELECT " + copies)
    if b"MOVE" in client.do(b"CAPABILITY").split():
        found["36d"] = _rate(client, b"MOVE 1:%d %s" % (some, moved), some)
        client.do(b"SELECT " + moved)
    reply = client.do(FLAGS)
    if reply.count(b"Project") < some:
        raise ValueError(f"row 36: {at.server.name} lost keywords")
    _remove_all(client)
    client.do(b"SELECT INBOX")
    client.drain(b"STORE 1:* -FLAGS.SILENT (Project)")
    client.logout()
    return found


def row_all(at: At) -> Figures:
    """All messages of a mailbox: a flag, and EXPUNGE; and the flags of such that are \\Recent."""
    count = at.scale.messages
    client = at.opened("work")
    client.drain(b"COPY 1:* " + at.folder("Copies"))
    client.logout()
    client = at.opened("work", "Copies")
    seconds, reply = timed(client, FLAGS)
    fetched(at, "37c", reply, count)
    found = {"37c": count / seconds,
             "37a": _rate(client, b"STORE 1:* +FLAGS.SILENT (\\Deleted)", count)}
    if isinstance(at.server, Courierpy):
        found["37a:limit"] = flags_a_second(at.server.folder, count, at_once=True)
    seconds, reply = timed(client, b"EXPUNGE")
    if reply.count(b" EXPUNGE\r\n") != count:
        raise ValueError(f"row 37: {at.server.name} told {reply.count(b' EXPUNGE')} messages of {count}")
    found["37b"] = count / seconds
    client.logout()
    return found


def row_small_folders(at: At) -> Figures:
    """STATUS of folders with few messages, asked again by another session."""
    at.settle("lean")
    folders = [f"F{number:03d}" for number in range(at.scale.many)]
    commands = [b"STATUS %s (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)" % at.folder(name) for name in folders]
    for _ in range(2):
        client = at.login("lean")
        start = time.perf_counter()
        for command in commands:
            client.drain(command)
        seconds = time.perf_counter() - start
        client.logout()
    found = {"38": len(commands) / seconds}
    if isinstance(at.server, Courierpy):
        found["38:limit"] = looks_a_second(at.maildir("lean"), folders)
    return found


def row_sync(at: At) -> Figures:
    """What mbsync says: ten folders, each message asked for alone, all at once."""
    at.settle("sync")
    at.forget("sync")
    start = time.perf_counter()
    _mbsync(at, True)
    first = time.perf_counter() - start
    _mbsync(at, False)
    found = []
    for _ in range(AGAIN):
        start = time.perf_counter()
        _mbsync(at, False)
        found.append(time.perf_counter() - start)
    figures = {"18a": 10 * at.scale.synced / first, "18b": 1000 * statistics.median(found)}
    if isinstance(at.server, Courierpy):
        figures["18a:limit"] = bodies_a_second(at.maildir("sync"), [f"S{number}" for number in range(10)])
    return figures


def _mbsync(at: At, bodies: bool) -> None:
    client = at.login("sync")
    client.do(b"CAPABILITY")
    client.do(b"NAMESPACE")
    client.do(b'LIST "" *')
    for number in range(10):
        client.do(b"SELECT " + at.folder(f"S{number}"))
        reply = client.do(b"UID FETCH 1:%d (UID FLAGS)" % at.scale.synced)
        fetched(at, "18", reply, at.scale.synced)
        if bodies:
            tags = [client.number + 1 + ahead for ahead in range(at.scale.synced)]
            client.number += at.scale.synced
            client.sock.sendall(b"".join(b"zq%dx UID FETCH %d (BODY.PEEK[])\r\n" % (tag, uid)
                                         for uid, tag in enumerate(tags, 1)))
            client.drain_reply(b"zq%dx" % tags[-1])
    client.logout()


def _rate(client: Client, command: bytes, count: int) -> float:
    start = time.perf_counter()
    client.drain(command)
    return count / (time.perf_counter() - start)


def _flags(at: At, key: str, count: int) -> float:
    """Messages a second, in new sessions."""
    at.settle("work")
    at.opened("work").logout()
    times = []
    for _ in range(AGAIN):
        client = at.opened("work")
        seconds, reply = timed(client, FLAGS)
        client.logout()
        fetched(at, key, reply, count)
        times.append(seconds)
    return count / statistics.median(times)


def _remove_all(client: Client) -> None:
    client.drain(b"STORE 1:* +FLAGS.SILENT (\\Deleted)")
    client.drain(b"EXPUNGE")
