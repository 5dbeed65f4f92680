"""What the guardian does for the tests, until they end: a request is a line of JSON on the socket.

Its "do" names a method, ``do_...``, the rest are what that is told.  The answer is a line of JSON too, with
"error" where it could not be done.
"""
from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress

from courierpy.testing import listeners, places
from courierpy.testing.delivery import deliver
from courierpy.testing.listener import LMTP, TLS_KINDS
from courierpy.testing.listeners import Listener
from courierpy.testing.relay import Cut, Relay, Rules
from courierpy.testing.transcript import Transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Sequence
    from typing import Any

UP_SECONDS = 60.0              # for a listener to greet: a loaded machine is slow
LOOK_SECONDS = 0.5             # between two looks whether the tests still run
LOG_OCTETS = 8000              # that are told where a listener does not come up
MOST_LINE = 1 << 20


class Failed(Exception):
    """str() says to whoever tests what could not be done, and why."""


def serve(tests: socket.socket, parent: int, folder: str, first: Listener,
          without: Iterable[str]) -> list[Listener]:
    """Until the tests end; gives the listeners that are to be ended."""
    control = Control(folder, first, without)
    asyncio.run(control.serve(tests, parent))
    return control.listeners


class Control:
    """``folder``: of the server: settings, accounts, log."""

    def __init__(self, folder: str, first: Listener, without: Iterable[str]) -> None:
        """``first``: a listener that has been started already, which lacks these capabilities."""
        self._folder = folder
        self.listeners = [first]
        self._starting = {(first.kind, *without): first}
        self._ports: dict[tuple[str, ...], int] = {}       # of those that greet
        self._relays: dict[str, Relay] = {}
        self._transcripts: dict[str, Transcript] = {}
        self._rules: dict[str, Rules] = {}
        self._smtp = 0

    async def serve(self, tests: socket.socket, parent: int) -> None:
        """Until the tests end."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, over.set)
        reader, writer = await asyncio.open_connection(sock=tests, limit=MOST_LINE)
        tasks = [asyncio.create_task(task) for task in
                 (self._answer(reader, writer), _watch(parent), over.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for relay in self._relays.values():
            relay.close()
        for task in tasks:
            task.cancel()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                request = json.loads(line)
                try:
                    answer = await getattr(self, f"do_{request.pop('do')}")(**request)
                except Failed as error:
                    answer = {"error": str(error)}
                except Exception as error:             # is for whoever waits for an answer
                    answer = {"error": f"{type(error).__name__}: {error}"}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()

    # -- requests

    async def do_listen(self, kind: str, without: Sequence[str]) -> dict[str, Any]:
        """The port of a listener of this kind, which is started where it does not run yet."""
        return {"port": await self._listener(kind, without)}

    async def do_relay(self, name: str, kind: str, without: Sequence[str]) -> dict[str, Any]:
        """The port of an account's own way to a listener.  ``name``: of the account."""
        target = await self._listener(kind, without)
        transcript = self._transcripts.setdefault(name, Transcript())
        relay = Relay(transcript, self._rules.setdefault(name, Rules()), kind.startswith("pop3"))
        port = await relay.open(target)
        self._relays[f"{name} {kind}"] = relay
        return {"port": port}

    async def do_aim(self, name: str, without: Sequence[str]) -> dict[str, Any]:
        """The account's ways lead to a listener that lacks these capabilities."""
        for kind, relay in self._of(name):
            relay.target = await self._listener(kind, without)
        return {}

    async def do_delay(self, name: str, seconds: float, command: str) -> dict[str, Any]:
        self._rules.setdefault(name, Rules()).delays[command.upper()] = seconds
        return {}

    async def do_cut(self, name: str, command: str | None, after: int, times: int,
                     reset: bool) -> dict[str, Any]:
        """``command`` None: all that is connected now."""
        if command is not None:
            self._rules.setdefault(name, Rules()).cuts.append(Cut(command, after, times, reset))
            return {}
        return {"cut": sum(relay.cut(reset) for _, relay in self._of(name))}

    async def do_deliver(self, name: str, mailbox: str, layout: str, spool: str) -> dict[str, Any]:
        """``spool``: file with the octets, which is removed."""
        maildir = places.maildir_of(self._folder, name)
        assert maildir is not None
        with open(spool, "rb") as file:
            octets = file.read()
        os.unlink(spool)
        deliver(maildir, mailbox, layout, octets)
        return {}

    async def do_transcript(self, name: str) -> dict[str, Any]:
        return {"text": self._transcripts[name].text()}

    async def do_close(self, name: str) -> dict[str, Any]:
        for kind, relay in self._of(name):
            relay.close()
            del self._relays[f"{name} {kind}"]
        self._transcripts.pop(name, None)
        self._rules.pop(name, None)
        return {}

    async def do_smtp(self, layout: str) -> dict[str, Any]:
        if not self._smtp:
            try:
                from courierpy.testing import smtp
                self._smtp = await smtp.serve(self._folder, layout)
            except ImportError as error:
                raise Failed(f"{error}: mail by SMTP needs aiosmtpd: pip install 'courierpy[testing-smtp]'"
                             ) from None
        return {"port": self._smtp}

    def _of(self, name: str) -> list[tuple[str, Relay]]:
        """The relays of an account, with their kinds."""
        found = [(key.rpartition(" ")[2], relay) for key, relay in self._relays.items()
                 if key.rpartition(" ")[0] == name]
        if not found:
            raise Failed(f"{name}: the account is closed")
        return found

    # -- listeners

    async def _listener(self, kind: str, without: Sequence[str]) -> int:
        """The port of one, when it greets.  Raises Failed."""
        key = (kind, *sorted(word.upper() for word in without))
        if key not in self._ports:
            if kind in TLS_KINDS and not os.path.exists(places.certificate(self._folder)):
                raise Failed("openssl made no certificate: TLS needs the program openssl")
            listener = self._starting.pop(key, None)
            if listener is None:
                listener = Listener(self._folder, kind, key[1:])
                self.listeners.append(listener)
            await self._up(listener)
            self._ports[key] = listener.port
        return self._ports[key]

    async def _up(self, listener: Listener) -> None:
        """Wait until it greets.  Raises Failed, with what it logged."""
        try:
            await asyncio.wait_for(self._greeted(listener), UP_SECONDS)
        except (OSError, EOFError) as error:       # TimeoutError is one, too
            why = (f"did not greet within {UP_SECONDS:.0f} seconds"
                   if isinstance(error, TimeoutError) and listener.runs else "ended at its start")
            listeners.end([listener])
            self.listeners.remove(listener)
            with open(places.log(self._folder), "rb") as file:
                log = file.read()[-LOG_OCTETS:].decode("utf-8", "backslashreplace")
            raise Failed(f"the server {why}; its log:\n{log}") from None

    async def _greeted(self, listener: Listener) -> None:
        context = None
        if listener.kind in TLS_KINDS:
            import ssl
            context = ssl.create_default_context(cafile=places.certificate(self._folder))
        if listener.kind == LMTP:
            reader, writer = await _connected(listener, places.lmtp(self._folder))
        else:
            reader, writer = await asyncio.open_connection(places.HOST, listener.port, ssl=context)
        try:
            await reader.readexactly(1)
        finally:
            writer.close()


async def _connected(listener: Listener, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To a socket that the listener makes.  Raises OSError where it has ended without one."""
    while True:
        try:
            return await asyncio.open_unix_connection(path)
        except OSError:
            if not listener.runs:
                raise
            await asyncio.sleep(0.02)


async def _watch(parent: int) -> None:
    """Until the process of the tests is no more."""
    while os.getppid() == parent:
        await asyncio.sleep(LOOK_SECONDS)
