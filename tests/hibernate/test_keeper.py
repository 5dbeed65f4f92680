"""What a keeper takes, whom it wakes, and what it leaves behind."""
from __future__ import annotations

import errno
import os
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courierpy.hibernate import hearing, keeper, link, protocol, watches
from courierpy.listener.connections import Connection
from courierpy.system.inotify import IN_CREATE, IN_IGNORED, Inotify
from tests.conftest import account_ids, descriptors, until
from tests.hibernate.bench import LATER, Bench, record


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack)


def test_an_offer(bench: Bench, tmp_path: Path) -> None:
    """The kernel says who makes it, and the listener hears of it before its process may end."""
    (tmp_path / "cur").mkdir()
    with _opened(tmp_path / "cur", os.O_RDONLY) as fd:
        assert bench.offer(fd, kinds=b"c", say=record(b"who", b"what")) == protocol.KEPT + protocol.GOOD
    (entry,) = bench.keeper.entries.values()
    assert entry.uid == account_ids()[0]
    assert protocol.SLEPT.unpack(bench.slept[0]) == (b"S", entry.number, entry.pid)
    state = protocol.load(bench.files[0])
    assert (state.note, state.known, state.sent, state.due, state.words) == ("who", b"what", 7, LATER, 0)
    (tmp_path / "cur" / "x").touch()
    bench.keeper._changes()
    entry.kept_at -= keeper.APART
    bench.again()
    bench.wake().close()


@pytest.mark.parametrize(("kinds", "stage"), [(b"", keeper.ASLEEP), (b"c", keeper.QUEUED)])
def test_events_that_are_lost_wake_who_is_told_of_changes(bench: Bench, tmp_path: Path, kinds: bytes,
                                                          stage: int) -> None:
    """Not who is silent between two commands, which has no watch."""
    with _opened(tmp_path, os.O_RDONLY) as fd:
        bench.offer(*[fd for _ in kinds], kinds=kinds, say=record(b"who", b"what"))
    bench.keeper.hearing.inotify.add(str(tmp_path), watches.MASK)
    here, there = tmp_path / "here", tmp_path / "there"
    here.touch()
    for _ in range(int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()) // 2):
        os.rename(here, there)         # two events
        here, there = there, here
    (entry,) = bench.keeper.entries.values()
    entry.kept_at -= keeper.APART
    bench.keeper._changes()
    assert entry.stage == stage


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def test_what_is_not_kept(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    inside, outside = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with _opened(tmp_path / "file", os.O_RDONLY) as file, _opened(tmp_path, os.O_RDONLY) as good, \
            _opened(tmp_path, os.O_PATH) as named_only, inside, outside:
        refused = [
            bench.offer(client=file),                                # not a socket
            bench.offer(client=inside.fileno()),                     # not a stream
            bench.offer(named_only, kinds=b"c"),                     # no right to read is needed for it
            bench.offer(file, kinds=b"c"),                           # not a directory
            bench.offer(good, good, good, good, good, kinds=b"ccccc"),
            bench.offer(good, kinds=b""),                            # kinds and descriptors differ
            bench.offer(good, kinds=b"cc"),
            bench.offer(word=b"x"),
            bench.offer(channel=file)]
        assert refused == [b""] * len(refused)
        assert bench.keeper.entries == {}
        assert bench.keeper.hearing.watchers == {}
        before = len(descriptors())
        assert bench.offer(client=file) == b""
        assert len(descriptors()) == before            # nothing stays open


def test_a_watch_that_ends_leaves_no_descriptor(tmp_path: Path) -> None:
    """The keeper has as many instances as it has descriptors of them, and the kernel gives its user 128."""
    instance = Inotify()
    try:
        before = len(descriptors())
        for _ in range(3):
            number = instance.add(str(tmp_path), IN_CREATE)
            hearing.make(hearing.UNWATCH + struct.pack("=I", number), [instance.fd])
        assert len(descriptors()) == before
        (tmp_path / "x").touch()
        assert all(mask & IN_IGNORED for _, mask, _ in instance.events())
    finally:
        instance.close()


def test_one_of_many_that_cannot_be_watched(tmp_path: Path) -> None:
    """Where it is the only one of a request, too: the others are watched, and it is said why it is not."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def keeps() -> None:
        while True:
            data, fds, _, _ = socket.recv_fds(theirs, 65536, 2 * hearing.MOST)
            try:
                if not data:
                    return
                hearing.make(data, fds)
            finally:
                for fd in fds:
                    os.close(fd)

    keeper = threading.Thread(target=keeps)
    keeper.start()
    try:
        instance = hearing.Made(ours.fileno())
        for count in (1, 2, hearing.MOST + 1):
            wanted = [(str(tmp_path), IN_CREATE)] * (count - 1) + [(str(tmp_path), 0)]     # which is no mask
            *numbers, last = instance.add_all(wanted)
            assert all(isinstance(number, int) for number in numbers) and len(numbers) == count - 1
            assert isinstance(last, OSError) and last.errno == errno.EINVAL
        *numbers, last = instance.add_all([(str(tmp_path), IN_CREATE), (str(tmp_path / "none"), IN_CREATE)])
        assert isinstance(last, FileNotFoundError) and isinstance(numbers[0], int)
        with pytest.raises(OSError, match="Invalid argument"):
            instance.add(str(tmp_path), 0)
        instance.close()
    finally:
        ours.close()
        keeper.join()
        theirs.close()


def test_whose_a_socket_is() -> None:
    """A way to a login process has no name: it is known by what it is."""
    own, other = socket.socketpair()
    with own, other, socket.socket(fileno=os.dup(own.fileno())) as copy:
        connection = Connection("::1", ("::1", 7))
        assert not link.is_of(own.fileno(), connection)
        connection.identity = protocol.identity(own.fileno())
        assert link.is_of(copy.fileno(), connection)
        assert not link.is_of(other.fileno(), connection)


def test_who_thinks_better_of_it_keeps_the_client(bench: Bench) -> None:
    """It hangs up before all is said."""
    for said in (b"", record(b"who", b"what")[:-1], b"x", record(b"who", b"what") + b"x",
                 record(b"who", b"what", due=float("nan")), record(b"who", b"what", due=1e300),
                 protocol.RECORD.pack(0.0, 0, 0, 0.0, 1, protocol.MAX_KNOWN, False)):
        assert bench.offer(say=said)[:1] == protocol.KEPT
        assert bench.keeper.entries == {}
    assert bench.client.send(b"x") == 1


@settings(max_examples=30)
@given(st.binary(max_size=100), st.binary(max_size=300))
def test_any_octets_are_a_record_or_refused(before: bytes, known: bytes) -> None:
    with ExitStack() as stack:
        bench = Bench(stack)
        answer = bench.offer(say=before + record(b"n", known))
        assert answer[:1] == protocol.KEPT
        for entry in bench.keeper.entries.values():
            state = protocol.load(entry.file)
            assert protocol.RECORD.size + len(state.known) <= len(before + record(b"n", known))


@pytest.mark.parametrize("times", [1, 20])
def test_a_wake_that_is_refused_is_tried_again(bench: Bench, times: int) -> None:
    """The system has no process for it at the moment: however often, it is not lost."""
    bench.offer(say=record(b"who", b"what"))
    (entry,) = bench.keeper.entries.values()
    bench.keeper._queue(entry)
    for _ in range(times):
        bench.wake().close()
        bench.keeper._woken(entry)
        assert bench.keeper.wakers == set()
        assert all(at < time.monotonic() + keeper.LONGEST_RETRY for at, _ in bench.keeper.later)
        bench.again()
    with bench.wake() as woken:
        bench.keeper._woken(entry)
        assert not entry.taken
        woken.send(protocol.TAKEN)
        bench.keeper._woken(entry)
        assert entry.taken
        assert (entry.client, entry.file) == (-1, -1)
    bench.keeper._woken(entry)
    assert bench.keeper.entries == {}


def test_another_keeper_goes_on(bench: Bench) -> None:
    """With what the listener has: what the client was told meanwhile is in it."""
    bench.offer(say=record(b"who", b"what", due=time.monotonic() - 1))
    (entry,) = bench.keeper.entries.values()
    bench.keeper._clock()
    assert bench.client.recv(100) == b"* OK Still here\r\n"
    file = bench.files[0]
    with ExitStack() as stack:
        other = Bench(stack)
        other.keeper.adopt([(entry.number, os.dup(bench.served.fileno()), file, 65534)])
        (again,) = other.keeper.entries.values()
        assert (again.stage, again.number, again.uid) == (keeper.QUEUED, entry.number, 65534)
        state = protocol.load(file)
        assert (state.words, state.known) == (len(b"* OK Still here\r\n"), b"what")
        assert state.due > time.monotonic()
        with other.wake():
            pass
        other.keeper._goodbye(again.client, state)
    assert bench.client.recv(100) == b"* BYE Courier-IMAP server shut down by signal.\r\n"


def test_who_compresses_is_told_in_blocks(bench: Bench) -> None:
    """RFC 4978: whatever its inflater knows, which the session left at an octet's border."""
    bench.offer(say=record(b"who", b"what", due=time.monotonic() - 1, deflated=True))
    (entry,) = bench.keeper.entries.values()
    bench.keeper._clock()
    assert entry.state is not None
    assert entry.state.words == len(b"* OK Still here\r\n")
    bench.keeper._goodbye(entry.client, entry.state)
    inflate = zlib.decompressobj(-15)
    assert inflate.decompress(until(bench.client, b"signal.\r\n")) \
        == b"* OK Still here\r\n* BYE Courier-IMAP server shut down by signal.\r\n"


def test_an_idle_that_may_last_no_longer_is_woken(bench: Bench) -> None:
    """IMAP_IDLE_KEEPALIVE=0: no words, but an end."""
    bench.offer(say=record(b"who", b"what", due=time.monotonic() - 1, every=0))
    bench.keeper._clock()
    (entry,) = bench.keeper.entries.values()
    assert entry.stage == keeper.QUEUED
