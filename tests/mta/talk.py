"""An MTA that asks: by socketmap, and by Postfix's policy protocol."""
from __future__ import annotations

import socket

DEADLINE = 30.0


def netstring(text: bytes) -> bytes:
    return b"%d:%s," % (len(text), text)


class Asker:
    """``end``: of a connection to smmapd."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(DEADLINE)
        self.end = end
        self.buffer = b""

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *error: object) -> None:
        self.end.close()

    def send(self, data: bytes) -> None:
        self.end.sendall(data)

    def _until(self, end: bytes) -> bytes:
        """b"" when nothing more comes."""
        while end not in self.buffer:
            data = self.end.recv(65536)
            if not data:
                assert not self.buffer, self.buffer
                return b""
            self.buffer += data
        found, _, self.buffer = self.buffer.partition(end)
        return found

    def map_reply(self) -> bytes:
        length = self._until(b":")
        if not length:
            return b""
        while len(self.buffer) <= int(length):
            data = self.end.recv(65536)
            assert data, self.buffer
            self.buffer += data
        text, self.buffer = self.buffer[:int(length)], self.buffer[int(length):]
        assert self.buffer.startswith(b","), self.buffer
        self.buffer = self.buffer[1:]
        return text

    def map(self, key: bytes, name: bytes = b"virtual") -> str:
        """The answer to one key."""
        self.send(netstring(name + b" " + key))
        return self.map_reply().decode()

    def action(self) -> str:
        """Of a whole answer; "" at the end."""
        text = self._until(b"\n\n").decode()
        assert not text or text.startswith("action=") and "\n" not in text, text
        return text.removeprefix("action=")

    def policy(self, recipient: str, **more: str) -> str:
        self.send(request(recipient, **more))
        return self.action()

    def ended(self) -> bool:
        return self._until(b"\0never") == b""


def request(recipient: str, **more: str) -> bytes:
    values = {"request": "smtpd_access_policy", "protocol_state": "RCPT", "protocol_name": "ESMTP",
              "sender": "a@b.example", "recipient": recipient, "size": "0", **more}
    return "".join(f"{name}={value}\n" for name, value in values.items()).encode() + b"\n"
