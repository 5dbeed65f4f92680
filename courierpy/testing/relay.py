"""Between the clients of a test account and the server: writes down what is said, delays, cuts.

A relay has a port of its own.  What goes through under TLS or compressed is passed on, delayed and cut as
all else, but no command is found in it and none of it is written down.
"""
from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from courierpy.testing.places import HOST
from courierpy.testing.transcript import CLIENT, SERVER, Commands, Transcript

PIECE_OCTETS = 65536
TLS_HANDSHAKE = b"\x16\x03"        # content type and first octet of the version: RFC 8446 5.1
RESET = struct.pack("ii", 1, 0)    # SO_LINGER: what is left is thrown away, and the other side hears a reset


class Cut:
    """``command``: whose answer is cut, "" for no matter what; ``after``: octets of it that still come;
    ``times``: how often.  ``reset``: the client hears a reset, else an end."""

    def __init__(self, command: str, after: int, times: int, reset: bool) -> None:
        self.command = command.upper()
        self.after = after
        self.times = times
        self.reset = reset


def matches(wanted: str, command: str) -> bool:
    """FETCH is UID FETCH too."""
    return wanted in ("", command, command.removeprefix("UID "))


class Rules:
    """How an account's relays misbehave.  ``delays``: command, or "", -> seconds."""

    def __init__(self) -> None:
        self.delays: dict[str, float] = {}
        self.cuts: list[Cut] = []


class Relay:
    """``target``: the port of the server for clients who come from now on.  ``untagged``: do their commands
    begin with their names, as those of POP3?"""

    def __init__(self, transcript: Transcript, rules: Rules, untagged: bool = False) -> None:
        self.rules = rules
        self.untagged = untagged
        self.target = 0
        self._transcript = transcript
        self._links: set[Link] = set()
        self._server: asyncio.Server | None = None

    async def open(self, target: int) -> int:
        """Gives the port."""
        self.target = target
        sock = socket.socket()
        sock.bind((HOST, 0))
        self._server = await asyncio.start_server(self._arrived, sock=sock)
        return int(sock.getsockname()[1])

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self, self._transcript.connection(), self._transcript, reader, writer)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    def cut(self, reset: bool) -> int:
        """All connections that there are; gives how many."""
        links = list(self._links)
        for link in links:
            link.cut(reset)
        return len(links)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut(False)


class Link:
    """One connection."""

    def __init__(self, relay: Relay, number: int, transcript: Transcript, reader: asyncio.StreamReader,
                 writer: asyncio.StreamWriter) -> None:
        self.number = number
        self._relay = relay
        self._transcript = transcript
        self._client = reader, writer
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._commands = Commands(relay.untagged)
        self._opaque = False
        self._pause = 0.0              # before the next word of the server
        self._cut: Cut | None = None   # which is due
        self._left = 0                 # octets until then

    async def run(self) -> None:
        """Until both sides have ended."""
        tasks = []
        try:
            self._server = await asyncio.open_connection(HOST, self._relay.target)
            tasks = [asyncio.create_task(self._up(self._server[1])),
                     asyncio.create_task(self._down(self._server[0]))]
            await tasks[1]             # when the server has ended, nobody hears the client
        except OSError:
            self._transcript.note(self.number, "the server cannot be reached, or has broken off")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.close()

    async def _up(self, server: asyncio.StreamWriter) -> None:
        """From the client to the server."""
        with suppress(OSError):
            while data := await self._client[0].read(PIECE_OCTETS):
                self._heard(data)
                server.write(data)
                await server.drain()
        self._transcript.note(self.number, "the client has ended")
        with suppress(OSError):
            server.write_eof()

    def _heard(self, data: bytes) -> None:
        if not self._opaque and self._commands.between and (
                data.startswith(TLS_HANDSHAKE) or self._commands.last == "COMPRESS"):
            self._opaque = True
            self._transcript.note(self.number, "from here on TLS or compressed")
        if self._opaque:
            return
        self._transcript.add(self.number, CLIENT, data)
        for command in self._commands.feed(data):
            self._pause += sum(seconds for wanted, seconds in self._relay.rules.delays.items()
                               if wanted and matches(wanted, command))
            for cut in self._relay.rules.cuts:
                if self._cut is None and cut.times > 0 and matches(cut.command, command):
                    cut.times -= 1
                    self._cut, self._left = cut, cut.after

    async def _down(self, server: asyncio.StreamReader) -> None:
        """From the server to the client."""
        client = self._client[1]
        client.transport.set_write_buffer_limits(0)        # drain() waits until all is with the kernel
        while data := await server.read(PIECE_OCTETS):
            pause, self._pause = self._pause + self._relay.rules.delays.get("", 0.0), 0.0
            if pause:
                await asyncio.sleep(pause)
            cut = self._cut
            if cut is not None:
                due = len(data) >= self._left
                data = data[:self._left]
                self._left -= len(data)
            if not self._opaque:
                self._commands.answered(data)
                self._transcript.add(self.number, SERVER, data)
            with suppress(OSError):
                client.write(data)
                await client.drain()
            if cut is not None and due:
                self.cut(cut.reset)
                return

    def cut(self, reset: bool) -> None:
        """Cut the connection now."""
        self._transcript.note(self.number, "cut")
        sock = self._client[1].get_extra_info("socket")
        if reset and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._client[1].transport.abort()
        self.close()

    def close(self) -> None:
        for _, writer in (self._client, *([self._server] if self._server is not None else [])):
            writer.close()
