"""Many sessions at random in one Maildir, each held against a strict model of what it was told."""
from __future__ import annotations

import os
import random
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from courierpy.maildir import directory, names
from courierpy.maildir.formats import uiddb
from tests.conftest import fill
from tests.realtime.strict import BOXES, Client, World
from tests.realtime.windows import over_pipe

pytestmark = pytest.mark.server
SESSIONS = 10
STEPS = 40
WHOLE = re.compile(rb"Subject: only(\d+)here\n\nx*\n|From: Ann.*Hello \d\.\n", re.S)


@contextmanager
def clients(tmp_path: Path, seed: int, count: int = SESSIONS, messages: int = 5, kept: bool = False,
            **environ: str) -> Iterator[tuple[World, list[Client]]]:
    """``count`` clients, each with a mailbox open.  What fails shows how it came to that."""
    maildir = tmp_path / "Maildir"
    fill(maildir, messages)
    rnd = random.Random(seed)
    log = tmp_path / "log"
    world = World(maildir, lambda: over_pipe(maildir, log, **environ), kept)
    made: list[Client] = []
    try:
        made.extend(Client(number, world, random.Random(rnd.random())) for number in range(count))
        for box in BOXES[1:]:
            made[0].do(f"CREATE {box}")
        for client in made:
            client.select(rnd.choice(BOXES))
        yield world, made
    except BaseException:
        print(f"seed {seed}\n" + "\n".join(world.talk[-4000:]) + "\n" + log.read_text()[-20000:])
        raise
    finally:
        for client in made:
            client.window.close()


def at_once(made: list[Client], steps: int = STEPS) -> None:
    """Each client goes as fast as it can."""
    def run(client: Client) -> None:
        for _ in range(steps):
            client.step()
    with ThreadPoolExecutor(len(made)) as threads:
        for done in [threads.submit(run, client) for client in made]:
            done.result()


def together(world: World, made: list[Client], exact: bool = True) -> None:
    """In the end all agree, and what each was told is what is there."""
    for box in BOXES:
        views = set()
        for client in made:
            if client.box != box:
                client.select(box)
            else:
                client.do("NOOP")
                told = dict(client.flags)
                client.learn()
                assert told.items() <= client.flags.items(), (box, told, client.flags)
            views.add(tuple(sorted((uid, tuple(sorted(flags))) for uid, flags in client.flags.items())))
        assert len(views) == 1, (box, views)
        for client in made:
            assert sorted(client.flags) == client.uids
        if made[0].uids:
            made[0].do("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])")         # each is held against what it was
    for client in made:
        client.window.close()
    for box in BOXES:
        path = box.removeprefix("INBOX").removeprefix(".")
        on_disk(world.maildir / os.fsdecode(names.directory(path)), exact and not world.killed, world.killed)


def on_disk(folder: Path, exact: bool = True, killed: Sequence[int] = ()) -> None:
    """The files are the messages, the uiddb names them, and nothing is left of what went.  Not
    ``exact``: some went with nobody to see it, and their lines go when a number is needed next.
    Those who were ``killed`` may have left what they wrote (drafts, and a message that nobody had
    let in yet, which has its name in cur/ already), but not what they read, and a lock
    that nobody wanted since."""
    files = directory.files(str(folder / "cur"))
    database = uiddb.read(str(folder / uiddb.NAME))
    assert database is not None
    assert not database.damaged
    missing = set(database.names()).symmetric_difference(map(names.base, files))
    assert not missing or not exact and missing <= set(database.names()), missing
    tmp = folder / "tmp"
    left = [name for name in os.listdir(tmp)
            if not any(re.search(f"P{pid}[_V]", name) for pid in killed) or "_reader." in name]
    if "courier.lock" in left and int((tmp / "courier.lock").read_text().partition(":")[0]) in killed:
        left.remove("courier.lock")
    assert left == [], (left, killed)


@pytest.mark.parametrize("seed", range(3))
def test_by_turns(seed: int, tmp_path: Path) -> None:
    """Can be repeated exactly."""
    with clients(tmp_path, seed, kept=True) as (world, made):
        rnd = random.Random(seed)
        for _ in range(STEPS):
            for client in rnd.sample(made, len(made)):
                client.step()
        together(world, made)


@pytest.mark.parametrize("seed", range(10, 13))
def test_at_once(seed: int, tmp_path: Path) -> None:
    """Meets the races."""
    with clients(tmp_path, seed) as (world, made):
        at_once(made)
        together(world, made)


def test_in_a_large_folder(tmp_path: Path) -> None:
    """By the watch and the index."""
    with clients(tmp_path, 20, count=5, messages=320) as (world, made):
        for client in made:
            client.select("INBOX")
        at_once(made)
        together(world, made)


class Outsider:
    """Another program: it delivers, changes names, removes and puts files into cur/."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rnd = random.Random(seed)
        self.number = 0
        self.stop = threading.Event()

    def step(self) -> None:
        self.number += 1
        maildir = self.world.maildir
        cur = maildir / "cur"
        files = sorted(os.listdir(cur))
        chosen = self.rnd.choice(files) if files else ""
        name = f"{1800000000 + self.number}.M{self.number}P7.host"
        what = self.rnd.choice(["deliver", "deliver", "flag", "flag", "flag", "link", "unlink"])
        self.world.talk.append(f"outside: {what} {chosen or name}")
        try:
            if what == "deliver":
                file = maildir / "tmp" / name
                file.write_bytes(self.world.text().replace(b"\r\n", b"\n"))
                file.rename(maildir / "new" / name)
            elif not files:
                return
            elif what == "flag":
                letters = set(chosen.rpartition(":2,")[2]) ^ {self.rnd.choice("FRSTa")}
                os.rename(cur / chosen, cur / f"{chosen.rpartition(':')[0]}:2,{''.join(sorted(letters))}")
            elif what == "link":
                os.link(cur / chosen, cur / f"{name}:2,S")
            else:
                os.unlink(cur / chosen)
        except FileNotFoundError:
            return

    def run(self) -> None:
        while not self.stop.wait(0.01):
            self.step()


@pytest.mark.parametrize("messages", [5, 300])
def test_with_another_program(messages: int, tmp_path: Path) -> None:
    with clients(tmp_path, 30 + messages, count=5, messages=messages) as (world, made):
        for client in made:
            client.select("INBOX")
        outsider = Outsider(world, messages)
        thread = threading.Thread(target=outsider.run)
        thread.start()
        try:
            at_once(made)
        finally:
            outsider.stop.set()
            thread.join()
        assert outsider.number > 10
        together(world, made, exact=False)


def test_without_the_lock(tmp_path: Path) -> None:
    """Numbers may be given twice; every message that was appended is there."""
    with clients(tmp_path, 40, count=5, IMAP_USELOCKS="0") as (world, made):
        appended = 0
        for _ in range(15):
            for client in made:
                client.window.send("x APPEND INBOX {6+}\r\nA: b\r\n")
                appended += 1
            for client in made:
                while not (line := client.response()).startswith(b"x "):
                    assert not line.startswith(b"* BYE"), line
                assert line.startswith(b"x OK"), line
        for client in made:
            client.window.close()
        assert len(os.listdir(world.maildir / "cur")) == appended + 5
        again = over_pipe(world.maildir)
        assert f"* {appended + 5} EXISTS" in again.do("SELECT INBOX")
        again.close()
        on_disk(world.maildir)


@pytest.mark.parametrize("seed", range(50, 53))
def test_without_the_lock_at_random(seed: int, tmp_path: Path) -> None:
    """What clients are told may be wrong; nobody crashes, and the files are whole."""
    with clients(tmp_path, seed, count=6, IMAP_USELOCKS="0") as (world, made):
        def run(client: Client) -> None:
            for _ in range(STEPS):
                try:
                    client.step()
                except (AssertionError, IndexError) as error:
                    # told that it was renumbered, or told a number twice
                    for word in ("SERVERBUG", "nothing within", "closed the connection"):
                        assert word not in str(error)
                    client.leave()
        with ThreadPoolExecutor(len(made)) as threads:
            for done in [threads.submit(run, client) for client in made]:
                done.result()
        for client in made:
            client.window.close()
        for box in BOXES:
            folder = world.maildir / os.fsdecode(names.directory(box.removeprefix("INBOX").removeprefix(".")))
            for file in (folder / "cur").iterdir():
                assert WHOLE.fullmatch(file.read_bytes()), file.read_bytes()
            again = over_pipe(world.maildir)
            assert f"* {len(os.listdir(folder / 'cur'))} EXISTS" in again.do(f"SELECT {box}")
            again.do("APPEND INBOX {4+}\r\nA: b")
            again.close()
            database = uiddb.read(str(folder / uiddb.NAME))
            assert database is not None
            assert not database.damaged


def test_flags_are_changes_not_replacements(tmp_path: Path) -> None:
    """Ten sessions each add and take away a flag of their own: none loses another's."""
    maildir = tmp_path / "Maildir"
    fill(maildir, 1)
    words = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", *(f"$K{at}" for at in range(6))]
    windows = [over_pipe(maildir) for _ in words]
    for window in windows:
        window.do("SELECT INBOX")
    for turn in range(30):
        # written to all before anything is read: they run at the same time
        for window, word in zip(windows, words, strict=True):
            window.send(f"x{turn} UID STORE 1 {'-+'[turn % 2]}FLAGS.SILENT ({word})")
        for window in windows:
            assert window.until(f"x{turn} ")[-1].startswith(f"x{turn} OK")
    for window in windows:
        window.do("NOOP")
        told = re.search(r"FLAGS \(([^)]*)\)", window.do("FETCH 1 (FLAGS)")[-1])
        assert told is not None
        assert set(told[1].split()) - {"\\Recent"} == set(words)
        window.close()
