"""How each row is measured: a function for one row, on one server, once.  The medians are the caller's.

Warm: another session gave the same command before.  Cold: the server's index, caches and UIDs
were removed; the messages themselves are in the kernel's cache either way.
"""
from __future__ import annotations

import os
import re
import statistics
import subprocess
import threading
import time

from bench import crowd, limits, procs
from bench.client import AGAIN, Client, now, sessions, timed
from bench.corpus import RARE_WORD
from bench.lab import At
from bench.peers import PASSWORD, Courier, Courierpy, Dovecot

TYPE_CHECKING = False
if TYPE_CHECKING:
    Figures = dict[str, float]

STARTS = 5                         # of a process
BRIEF = 0.3                        # seconds: a warm figure that takes no longer is had AGAIN times
HEADERS = (b"BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References "
           b"Newsgroups In-Reply-To Content-Type Reply-To)]")          # Thunderbird's list
HIBERNATED = 13.0                  # seconds after which an idle session has had time to shrink
FILLER = b"The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\r\n"
MESSAGE = (b"From: Ann <ann@example.org>\r\nTo: bench@example.net\r\nSubject: appended\r\n"
           b"Date: Mon, 1 Jan 2024 10:00:00 +0000\r\nMessage-ID: <%d.%d@example.org>\r\n\r\n" + FILLER * 60)


# -- what several rows do

def cold(at: At, account: str, command: bytes) -> tuple[float, bytes]:
    """Seconds for the command in the first session that ever opened the folder, SELECT not counted."""
    at.settle(account)
    at.forget(account)
    client = at.opened(account)
    result = timed(client, command)
    client.logout()
    return result


def warm(at: At, account: str, command: bytes, known: bool = False) -> tuple[float, bytes]:
    """Seconds for a command that an earlier session gave already (``known``: just now)."""
    if not known:
        at.settle(account)
        client = at.opened(account)
        client.drain(command)
        client.logout()
    found: list[float] = []
    reply = b""
    while len(found) < AGAIN:
        client = at.opened(account)
        seconds, reply = timed(client, command)
        client.logout()
        found.append(seconds)
        if seconds > BRIEF:
            break
    return statistics.median(found), reply


def rate(at: At, client: Client, commands: list[bytes]) -> float:
    """Commands a second, one after the other, for at most ``scale.seconds``."""
    start = now()
    done = 0
    for command in commands:
        client.drain(command)
        done += 1
        if now() - start > at.scale.seconds:
            break
    return done / (now() - start)


def fetched(at: At, key: str, reply: bytes, count: int) -> None:
    found = reply.count(b" FETCH (")
    if found != count:
        raise ValueError(f"row {key}: {at.server.name} told {found} messages of {count}")


def numbers(reply: bytes) -> list[int]:
    return [int(word) for line in re.findall(rb"\* (?:SEARCH|SORT)([ \d]*)", reply) for word in line.split()]


# -- the rows

def one_session(at: At) -> list[bytes]:
    return [b"LOGIN %s %s" % (at.account("tiny").encode(), PASSWORD.encode()), b"SELECT INBOX"]


def row_sessions(at: At) -> Figures:
    total = at.scale.sessions
    commands = one_session(at)
    serial = sessions(at.server.port, commands, total // 2, 1)
    together = sessions(at.server.port, commands, total, 16)
    return {"1a": total // 2 / serial, "1b": total / together}


def row_cpu(at: At) -> Figures:
    commands = one_session(at)
    sessions(at.server.port, commands, 3, 1)
    time.sleep(0.3)                # until what ended is reaped
    before = procs.cpu(at.server.roots())
    sessions(at.server.port, commands, at.scale.sessions, 1)
    time.sleep(0.3)
    return {"2": 1000 * (procs.cpu(at.server.roots()) - before) / at.scale.sessions}


def _select_again(at: At, account: str) -> tuple[float, bytes]:
    """(Seconds for SELECT of a mailbox that nobody changed, what it told)"""
    at.settle(account)
    at.opened(account).logout()
    found = []
    for _ in range(AGAIN):
        client = at.login(account)
        seconds, reply = timed(client, b"SELECT INBOX")
        client.logout()
        found.append(seconds)
    return statistics.median(found), reply


def row_select(at: At) -> Figures:
    unchanged, told = _select_again(at, "big")
    before = exists(told)
    bound = _limit_of_select(at, "3a", "big", told)
    at.deliver("big", before)
    client = at.login("big")
    after, reply = timed(client, b"SELECT INBOX")
    client.logout()
    if exists(reply) != before + 1:
        raise ValueError(f"row 3: {at.server.name} did not see the delivery")
    again, told = _select_again(at, "mail")
    return {"3a": 1000 * unchanged, "3b": 1000 * after, "3c": 1000 * again, **bound,
            **_limit_of_select(at, "3c", "mail", told)}


def _limit_of_select(at: At, key: str, account: str, told: bytes) -> Figures:
    if not isinstance(at.server, Courierpy):
        return {}
    untagged = told[:told.rindex(b"\r\n", 0, -2) + 2]
    return {key + ":limit": 1000 * limits.seconds_to_select(at.maildir(account), untagged, exists(told))}


def exists(reply: bytes) -> int:
    match = re.search(rb"\* (\d+) EXISTS", reply)
    return int(match[1]) if match else -1


def row_select_cold(at: At) -> Figures:
    at.settle("big")
    at.forget("big")
    client = at.login("big")
    seconds, reply = timed(client, b"SELECT INBOX")
    client.logout()
    if exists(reply) < at.scale.big:
        raise ValueError(f"row 4: {at.server.name} told {exists(reply)} messages")
    found = {"4": 1000 * seconds}
    if isinstance(at.server, Courierpy):
        found["4:limit"] = 1000 * limits.seconds_to_number(at.maildir("big"))
    return found


def row_flags(at: At) -> Figures:
    seconds, reply = warm(at, "big", b"UID FETCH 1:* (FLAGS)")
    count = reply.count(b" FETCH (")
    if count < at.scale.big:
        raise ValueError(f"row 5: {at.server.name} told {count} messages")
    return {"5": count / seconds}


def row_envelope(at: At) -> Figures:
    return _cold_and_warm(at, "6", b"FETCH 1:* (ENVELOPE)")


def row_structure(at: At) -> Figures:
    return _cold_and_warm(at, "7", b"FETCH 1:* (BODYSTRUCTURE)")


def _cold_and_warm(at: At, key: str, command: bytes) -> Figures:
    count = at.scale.messages
    first, reply = cold(at, "mail", command)
    fetched(at, key, reply, count)
    again, reply = warm(at, "mail", command, known=True)
    fetched(at, key, reply, count)
    return {key + "a": count / first, key + "b": count / again, **_limit(at, key + "b", reply, count)}


def _limit(at: At, key: str, reply: bytes, count: int) -> Figures:
    """Messages a second, where the whole reply is in memory: once for all servers."""
    return {key + ":limit": count / limits.seconds_of(reply)} if isinstance(at.server, Courierpy) else {}


def row_headers(at: At) -> Figures:
    count = at.scale.messages
    fields, reply = warm(at, "mail", b"FETCH 1:* (%s)" % HEADERS)
    fetched(at, "8a", reply, count)
    bound = _limit(at, "8a", reply, count)
    sizes, reply = warm(at, "mail", b"FETCH 1:* (RFC822.SIZE INTERNALDATE)")
    fetched(at, "8b", reply, count)
    at.note("8b", sum(map(int, re.findall(rb"RFC822\.SIZE (\d+)", reply))))
    return {"8a": count / fields, "8b": count / sizes, **bound, **_limit(at, "8b", reply, count)}


def row_bodies(at: At) -> Figures:
    client = at.opened("mail")
    start = now()
    octets = client.drain(b"FETCH 1:* (BODY.PEEK[])")
    bulk = octets / (now() - start) / 1e6
    step = max(1, at.scale.messages // 1000)
    single = rate(at, client, [b"FETCH %d (BODY.PEEK[])" % number
                               for number in range(1, at.scale.messages + 1, step)])
    client.logout()
    return {"9a": bulk, "9b": single}


def row_noop(at: At) -> Figures:
    at.settle("mail")
    client = at.opened("mail")
    client.do(b"NOOP")
    figure = rate(at, client, [b"NOOP"] * 3000)
    client.logout()
    return {"10": figure}


def row_folders(at: At) -> Figures:
    at.settle("many")
    folders = [f"F{number:03d}" for number in range(at.scale.many)]
    commands = [b"STATUS %s (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)" % at.folder(name) for name in folders]
    client = at.login("many")
    for command in commands:
        client.drain(command)
    client.logout()
    client = at.login("many")
    start = now()
    for command in commands:
        client.drain(command)
    status = len(commands) / (now() - start)
    found = []
    for _ in range(AGAIN):
        seconds, reply = timed(client, b'LIST "" "*"')
        found.append(seconds)
    client.logout()
    if reply.count(b"* LIST") < at.scale.many:
        raise ValueError(f"row 11: {at.server.name} told {reply.count(b'* LIST')} folders")
    figures = {"11a": status, "11b": 1000 * statistics.median(found)}
    if isinstance(at.server, Courierpy):
        figures["11a:limit"] = limits.looks_a_second(at.maildir("many"), folders)
    return figures


def row_search(at: At) -> Figures:
    found = {}
    for key, command in (("12a", b"SEARCH FROM example.net"), ("12b", b"SEARCH SUBJECT mi"),
                         ("12c", b"SEARCH UNSEEN")):
        seconds, reply = warm(at, "mail", command)
        at.note(key, len(numbers(reply)))
        found[key] = at.scale.messages / seconds
    return found


def row_search_text(at: At) -> Figures:
    found = {}
    for keys, name in (("13a 13c", b"BODY"), ("13b 13d", b"TEXT")):
        command = b"SEARCH %s %s" % (name, RARE_WORD.encode())
        first, reply = cold(at, "mail", command)
        again, reply = warm(at, "mail", command, known=True)
        at.note(keys.split()[0], len(numbers(reply)))
        for key, seconds in zip(keys.split(), (again, first), strict=True):
            found[key] = at.scale.messages / seconds
    return found


def row_order(at: At) -> Figures:
    found = {}
    for key, command in (("14a", b"SORT (DATE) UTF-8 ALL"), ("14b", b"THREAD REFERENCES UTF-8 ALL")):
        seconds, reply = warm(at, "mail", command)
        if key == "14a":
            at.note(key, numbers(reply))
        else:
            at.note(key, len(re.findall(rb"\d+", reply.partition(b"* THREAD")[2].partition(b"\r\n")[0])))
        found[key] = at.scale.messages / seconds
    return found


def flagged(client: Client, count: int) -> list[float]:
    """Messages a second, as a flag of the first ``count`` is set in one command, and taken away."""
    found = []
    for sign in (b"+", b"-"):
        start = now()
        client.drain(b"STORE 1:%d %sFLAGS (\\Flagged)" % (count, sign))
        found.append(count / (now() - start))
    return found


def row_store(at: At) -> Figures:
    client = at.opened("work")
    count = at.scale.range
    found = flagged(client, count)
    commands = [b"STORE %d %sFLAGS (\\Answered)" % (number, sign) for sign in (b"+", b"-")
                for number in range(1, count // 2)]
    single = rate(at, client, commands)
    client.logout()
    figures = {"15a": statistics.median(found), "15b": single}
    if isinstance(at.server, Courierpy):
        figures["15a:limit"] = limits.flags_a_second(at.server.folder, count, at_once=True)
        figures["15b:limit"] = limits.flags_a_second(at.server.folder, count, at_once=False)
    return figures


def row_condstore(at: At) -> Figures:
    """For a client with CONDSTORE; and one with QRESYNC that was away while ten messages changed."""
    client = at.opened("work")
    if b"QRESYNC" not in client.do(b"CAPABILITY").split():
        client.logout()
        return {}
    client.do(b"ENABLE CONDSTORE")
    count = at.scale.range
    found = flagged(client, count)
    client.logout()

    client = at.opened("big")
    client.drain(b"STORE 1:* -FLAGS.SILENT (\\Draft)")
    client.logout()
    client = at.login("big")
    client.do(b"ENABLE QRESYNC")
    reply = client.do(b"SELECT INBOX")
    validity, highest = (re.findall(rb"%s (\d+)" % word, reply)[0]
                         for word in (b"UIDVALIDITY", b"HIGHESTMODSEQ"))
    changed = range(1, at.scale.big, max(1, at.scale.big // 10))[:10]
    for number in changed:
        client.do(b"STORE %d +FLAGS.SILENT (\\Draft)" % number)
    client.logout()
    at.settle("big")
    resync = b"SELECT INBOX (QRESYNC (%s %s))" % (validity, highest)
    times = []
    for _ in range(AGAIN):
        client = at.login("big")
        client.do(b"ENABLE QRESYNC")
        seconds, reply = timed(client, resync)
        client.logout()
        times.append(seconds)
        if reply.count(b" FETCH (") != len(changed):
            raise ValueError(f"row 25: {at.server.name} told {reply.count(b' FETCH (')} changes")
    return {"25a": statistics.median(found), "25b": 1000 * statistics.median(times)}


def row_copy(at: At) -> Figures:
    """COPY into an empty folder, EXPUNGE of all of it, and COPY again for the MOVE."""
    count = at.scale.range
    copies, moved = at.folder("Copies"), at.folder("Moved")
    client = at.opened("work")
    start = now()
    client.drain(b"COPY 1:%d %s" % (count, copies))
    found = {"16a": count / (now() - start)}
    found["16b"] = count / _expunge(client, copies, count)
    client.do(b"SELECT INBOX")
    if b"MOVE" in client.do(b"CAPABILITY").split():
        client.drain(b"COPY 1:%d %s" % (count, copies))
        client.do(b"SELECT " + copies)
        start = now()
        client.drain(b"MOVE 1:%d %s" % (count, moved))
        found["16c"] = count / (now() - start)
        _expunge(client, moved, count)
    client.logout()
    return found


def _expunge(client: Client, folder: bytes, count: int) -> float:
    client.do(b"SELECT " + folder)
    client.drain(b"STORE 1:* +FLAGS.SILENT (\\Deleted)")
    seconds, reply = timed(client, b"EXPUNGE")
    if reply.count(b" EXPUNGE\r\n") != count:
        raise ValueError(f"EXPUNGE told {reply.count(b' EXPUNGE')} messages of {count}")
    return seconds


def row_append(at: At) -> Figures:
    folder = at.folder("In")
    clients = [at.login("work") for _ in range(4)]
    each = max(5, at.scale.range // 10)

    def work(number: int, count: int) -> None:
        for serial in range(count):
            clients[number].append(folder, MESSAGE % (number, serial))

    start = now()
    work(0, each)
    alone = each / (now() - start)
    threads = [threading.Thread(target=work, args=(number, each // 2)) for number in range(4)]
    start = now()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = 4 * (each // 2) / (now() - start)
    clients[0].do(b"SELECT " + folder)
    clients[0].drain(b"STORE 1:* +FLAGS.SILENT (\\Deleted)")
    reply = clients[0].do(b"EXPUNGE")
    if reply.count(b" EXPUNGE\r\n") != each + 4 * (each // 2):
        raise ValueError(f"row 17: {at.server.name} lost an appended message")
    for client in clients:
        client.logout()
    figures = {"17a": alone, "17b": together}
    if isinstance(at.server, Courierpy):
        figures["17a:limit"] = limits.appends_a_second(at.server.folder, each)
    return figures


def row_crowd(at: At) -> Figures:
    """Random commands of many clients in one INBOX.  The lock is courierpy's and Courier's alike: one
    program more asks for it all the time and tells how long it waited."""
    figures, inbox = {}, at.maildir("crowd")
    login = f"{at.account('crowd')} {PASSWORD}".encode()
    for key, clients in zip("ab", at.scale.crowds, strict=True):
        probe = None
        if not isinstance(at.server, Dovecot):
            probe = crowd.Probe(inbox, at.server.owner(at.account("crowd")))
        try:
            came = crowd.visit(at.server.port, login, clients, at.scale.crowd_seconds, at.scale.crowded,
                               b"INBOX")
        finally:
            waited = probe.end() if probe is not None else 0.0
        at.ended(24, came.ended)
        figures["24" + key] = came.done / came.seconds
    figures["24c"] = 1000 * came.longest
    if waited:
        figures["24d"] = 1000 * waited
    client = at.opened("crowd")
    there = exists(client.do(b"SELECT INBOX"))
    client.logout()
    files = sum(len(os.listdir(os.path.join(inbox, part))) for part in ("cur", "new"))
    if there != files:
        raise ValueError(f"row 24: {at.server.name} tells {there} messages of {files}")
    return figures


def row_start(at: At) -> Figures:
    """A bare imapd over a pipe, from the start of the process to its greeting; beside it the
    interpreter with four modules that no such program can do without."""
    server, maildir = at.server, at.maildir("tiny")
    environ = {"PATH": os.environ["PATH"], "TZ": "UTC", "AUTHENTICATED": "bench", "USER": at.account("tiny"),
               "HOME": server.home(at.account("tiny"))}
    owner = server.owner(at.account("tiny"))
    found = {}
    if isinstance(server, Courierpy):
        owner = None               # the interpreter may lie where only root may go
        environ["IMAP_MAILBOX_SANITY_CHECK"] = "0"
        python = server.installed()
        script = os.path.join(server.folder, "start-imapd")
        with open(script, "w", encoding="utf-8") as file:      # what an installer writes for the command
            file.write("import sys\nfrom courierpy.imapd import run\nsys.exit(run())\n")
        words = [python, script, maildir]
        bare = [python, "-I", "-S", "-c", "import os, re, select, socket; os.write(1, b'* \\n')"]
        found["20:python"] = 1000 * _start(bare, {"PATH": os.environ["PATH"]}, None)
    elif isinstance(server, Dovecot):
        words = ["/usr/lib/dovecot/imap", "-c", server.config()]
    else:
        words = [Courier.imapd, maildir]
    space = server.roots()[-1] if isinstance(server, Courier) else 0       # where the user has a name
    found["20"] = 1000 * _start(words, environ, owner, space)
    return found


def _start(words: list[str], environ: dict[str, str], owner: tuple[int, int] | None, space: int = 0) -> float:
    """Seconds to the first line, median of a few.  ``space``: whose mount namespace to be in."""
    found = []
    for _ in range(STARTS):
        start = now()
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd="/",
                                   env=environ, stderr=subprocess.DEVNULL,
                                   preexec_fn=lambda: procs.become(owner, space))        # noqa: PLW1509
        assert process.stdout is not None
        line = process.stdout.readline()
        found.append(now() - start)
        process.communicate()
        if not line.startswith(b"* "):
            raise ValueError(f"row 20: no greeting from {words[0]}")
    return statistics.median(found)
