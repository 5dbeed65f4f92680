"""The client: the only place that reads and writes it.

A ``Conn`` has two descriptors (0 and 1: socket, pipe, pty or plain file) and the stream over
them, plain or in layers (see system/stream.py).  Output is gathered and written in large pieces;
every read and write has a deadline.  Knows nothing of IMAP.
"""
from __future__ import annotations

import os
import select
from time import monotonic

from courierpy.system.stream import Plain
from courierpy.system.writers import Blocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from courierpy.system.record import Record
    from courierpy.system.stream import Stream

READ_SIZE = 65536               # octets that are read at once
FLUSH_AT = 128 * 1024           # octets that are gathered before they are written
SHORT = 4096                    # octets that are mostly taken at once
HELD = 0.1                      # seconds that they are gathered at most between two commands
WRITE_TIMEOUT = 60.0            # seconds in which a client must take TAKES octets, or all there are
TAKES = 65536                   # octets
LAST_WORDS = 5.0                # seconds for the line before the end
LINGER = 1.0                    # seconds that the client has to close its side
AT_ONCE = 0.0003                # seconds within which a program on this machine says the next thing
TIMES = 8                       # in a row, after which the client is taken for one
AWAKE = 0.0001                  # seconds that such a client is waited for without sleeping


class Gone(Exception):
    """The client closed or the connection broke."""


Mark = tuple[list[bytes], int, int]        # what is gathered, its pieces and octets then


class TimedOut(Exception):
    """Nothing came, or nothing was taken, within the time given."""


class Conn:
    """``rcvd`` and ``sent`` count octets of this process, as Courier's log lines do.

    ``deadline``: the moment on the monotonic clock after which nothing is waited for; None: there is none.
    ``midway``: what was written last is not a whole line, and nothing but the rest of it may follow.
    ``quick``: how often in a row the client said something at once.

    Many methods are a line each: what is read, written and waited for is the stream's below.
    """

    def __init__(self, infd: int = 0, outfd: int = 1, pending: bytes = b"") -> None:
        self.stream: Stream = Plain(infd, outfd)
        self.write_timeout = WRITE_TIMEOUT
        self.deadline: float | None = None
        self.rcvd = 0
        self.sent = 0
        self.pending = pending          # bytes read by an earlier stage
        self.record: Record | None = None
        self.midway = False
        # of the descriptor that is read
        self._poll: tuple[int, Callable[[int], list[tuple[int, int]]]] | None = None
        self.quick = 0
        self._out: list[bytes] = []
        self._size = 0
        self._since = 0.0               # when they were held back first, 0 for not yet
        self._is_shut: bool | None = None      # as of shut(), once that was done

    # -- what it goes through

    @property
    def infd(self) -> int:
        """What is polled until the client says something."""
        return self.stream.infd

    @property
    def plain(self) -> bool:
        """Are the octets on the descriptors the client's own?"""
        return not self.stream.layers

    def kept(self) -> dict[str, bytes] | None:
        """What another process needs to go on with the descriptors, for go_on(); None where none can."""
        return None if self._out or self.pending else self.stream.kept()

    def go_on(self, kept: dict[str, bytes]) -> None:
        """The client speaks as it did to another process.  Raises ValueError."""
        if kept:
            from courierpy.system.deflate import again  # for few clients
            self.stream = again(self.stream, kept)

    def put_on(self, layer: Callable[[Stream], Stream]) -> None:
        """From here on all goes through one more layer; what was written so far goes before it."""
        self.flush()
        self.stream = layer(self.stream)

    # -- reading

    def read(self, timeout: float | None) -> bytes:
        """Whatever is there, at least one byte; flushes first.

        b"" is the end of input.  Raises TimedOut after ``timeout`` seconds
        (None: at the deadline, waits for ever without one), and Garbled.
        """
        if self.pending:
            data, self.pending = self.pending, b""
            return data
        if self._out:
            self.flush()
        if self.deadline is not None:
            left = self.deadline - monotonic()
            if left <= 0:
                raise TimedOut
            timeout = left if timeout is None else min(timeout, left)
        if (said := self.read_awake()) is not None:
            return said
        stream, start = self.stream, monotonic()
        if timeout is not None and not (stream.layers and stream.buffered()):
            ready = self._readable(timeout)
            self.quick = self.quick + 1 if monotonic() - start < AT_ONCE else 0
            if not ready:
                raise TimedOut
        while True:
            try:
                return self._taken()
            except Blocked as blocked:
                if not blocked.wait(None if timeout is None else start + timeout - monotonic()):
                    raise TimedOut from None

    def read_awake(self) -> bytes | None:
        """What a client says that mostly answers at once: it is waited for awake, as to sleep and to be woken
        takes longer than it does.  None where it is no such client, or no longer.  Raises Garbled."""
        if self.quick < TIMES or self.pending:
            return None
        poll, start = self._poller(), monotonic()
        while not poll(0) and not self.stream.buffered():
            if monotonic() - start >= AWAKE:
                self.quick = 0
                return None
        try:
            return self._taken()
        except Blocked:
            return None                # of a TLS record there is a part

    def _taken(self) -> bytes:
        """What there is.  Raises Blocked and Garbled."""
        data = self.stream.read(READ_SIZE)
        self.rcvd += len(data)
        if self.record is not None:
            self.record.read(data)
        return data

    def ready(self) -> bool:
        """Can read() give something without waiting?"""
        if self.pending or self.stream.buffered():
            return True
        return self._readable(0)

    def wait(self, others: Iterable[int] = (), timeout: float | None = None) -> set[int]:
        """Flush, then wait for input or for one of ``others``.

        Gives the ready descriptors; ``self.infd`` stands for the client.
        Empty after ``timeout`` seconds.
        """
        self.flush()
        infd = self.stream.infd
        if self.pending or self.stream.buffered():
            return {infd}
        poll = select.poll()
        poll.register(infd, select.POLLIN)
        for fd in others:
            poll.register(fd, select.POLLIN)
        events = poll.poll(None if timeout is None else max(0, int(timeout * 1000 + 0.999)))
        return {fd for fd, _ in events}

    def _readable(self, timeout: float) -> bool:
        return bool(self._poller()(int(timeout * 1000 + 0.999)))

    def _poller(self) -> Callable[[int], list[tuple[int, int]]]:
        """Waits for input so many milliseconds."""
        infd = self.stream.infd
        if self._poll is None or self._poll[0] != infd:
            poll = select.poll()
            poll.register(infd, select.POLLIN)
            self._poll = infd, poll.poll
        return self._poll[1]

    # -- writing

    def write(self, data: bytes) -> None:
        """Gather ``data``; written at flush() or when much has come together."""
        self._out.append(data)
        self._size += len(data)
        if self._size >= FLUSH_AT:
            self.flush()

    def write_all(self, pieces: Sequence[bytes]) -> None:
        """As write() of each of them."""
        self._out += pieces
        self._size += sum(map(len, pieces))
        if self._size >= FLUSH_AT:
            self.flush()

    def flush_held(self) -> None:
        """Write what was gathered a while ago.  A client that says hundreds of commands at once hears of the
        first before the last is done: it may wait for no answer longer than some seconds."""
        if self._out:
            now = monotonic()
            self._since = self._since or now
            if now - self._since > HELD:
                self.flush()

    def mark(self) -> Mark:
        """Where the next write() begins, for take_back()."""
        return self._out, len(self._out), self._size

    def take_back(self, mark: Mark) -> bool:
        """Nothing was written since ``mark``.  False where some of it is on its way already."""
        out, count, size = mark
        if self._out is not out:
            return False
        del out[count:]
        self._size = size
        return True

    def flush(self) -> None:
        """Write what was gathered.  Raises Gone or TimedOut."""
        out, size = self._out, self._size
        if not out:
            return
        self._out, self._size, self._since = [], 0, 0.0
        if size <= 2 * FLUSH_AT:
            self._write(b"".join(out))
            return
        self._write(b"".join(out[:-1]))
        self._write(out[-1])           # a large one is not copied once more

    def _write(self, piece: bytes) -> None:
        if not piece:
            return
        if self.record is not None:
            self.record.write(piece)
        stream, done = self.stream, 0
        try:
            if len(piece) <= SHORT:
                try:
                    done = stream.write(piece)
                except Blocked:
                    pass               # _put() waits
                self.sent += done
                if done == len(piece) and not stream.held:
                    return             # mostly
            self._put(memoryview(piece)[done:])
        except OSError:
            raise Gone from None

    def _put(self, view: memoryview) -> None:
        """OSError, TimedOut."""
        stream = self.stream
        size, most = len(view), stream.most
        at = counted = 0                        # what was taken from ``counted`` on was so before ``end``
        end = 0.0
        while at < size or stream.held:
            try:
                done = stream.write(view[at:at + most])
            except Blocked as blocked:
                if not end:
                    end = monotonic() + self.write_timeout
                    if self.deadline is not None:
                        end = min(end, self.deadline)
                if not blocked.wait(end - monotonic()):
                    raise TimedOut from None
                continue
            self.sent += done
            at += done
            if at - counted >= TAKES:
                counted, end = at, 0.0

    def rest(self) -> None:
        """Nothing may be said for long: memory is given back."""
        self.flush()
        self.stream.rest()

    def say_last(self, line: bytes) -> None:
        """Write a line before the end, if the client takes it soon, and for a line."""
        if self.midway:
            self.discard()
            return
        self.deadline, self.write_timeout = None, LAST_WORDS
        try:
            self.write(line)
            self.flush()
        except (Gone, TimedOut):
            self.discard()

    # -- the end

    def end(self) -> None:
        """Close a socket in order: our side of it, and after the client's."""
        if self.shut():
            self.see_off()

    def flush_and_shut(self) -> None:
        """Write what was gathered, and close our side behind it.  Raises Gone or TimedOut."""
        if self._out:
            self.stream.last()
        self.flush()
        self.shut()

    def shut(self) -> bool:
        """Close the layers of a socket, then our side of TCP.  False: it is none, or was gone already."""
        if self._is_shut is None:
            try:
                self._is_shut = self.stream.end()
            except (OSError, ValueError):
                self._is_shut = False
        return self._is_shut

    def see_off(self) -> None:
        """For a moment read what the client still says, so that no reset overtakes our last words."""
        try:
            for _ in range(16):
                if not self._readable(LINGER) or not os.read(self.stream.infd, READ_SIZE):
                    break
        except (OSError, ValueError):
            return                          # it is closed already

    def let_go(self) -> None:
        """The client is another process's now: nothing is read or written here any more, nor closed."""
        self.discard()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in (self.stream.infd, self.stream.outfd):
            os.dup2(null, fd)
        os.close(null)
        self.stream, self._poll = Plain(self.stream.infd, self.stream.outfd), None

    def discard(self) -> None:
        """Forget output that was not written."""
        self._out.clear()
        self._size = 0
