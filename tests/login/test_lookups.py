"""What the DNS says of a client, and what is believed of it."""
from __future__ import annotations

import socket

import pytest

from courierpy.listener import beside, dnslists, lookups
from courierpy.listener.loop import Loop
from courierpy.listener.options import Options
from courierpy.system import channels, passing

ENDS = {"TCPREMOTEIP": "::ffff:192.0.2.5", "TCPLOCALIP": "::1", "BLOCK": "by a rule"}


def test_lists_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def name_of(address: str) -> tuple[str, list[str], list[str]]:
        if address != "192.0.2.5":
            raise socket.herror
        return "a.example", [], []

    monkeypatch.setattr(socket, "gethostbyaddr", name_of)
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, port: [(0, 0, 0, "", ("192.0.2.5", 0))])
    monkeypatch.setattr(dnslists, "_ask", lambda name: (["127.0.0.2"], "spam"))
    lists = ["-block=one.test", "-block=two.test,OTHER", "143"]
    listed = {"OTHER": "Blacklisted by two.test", "OTHER_IP": "127.0.0.2", "OTHER_ZONE": "two.test",
              "OTHER_TXT": "spam"}
    assert lookups.look_up(Options(["-nodnslookup", *lists]), ENDS) == listed
    assert lookups.look_up(Options(lists), ENDS) == {**listed, "TCPREMOTEHOST": "a.example"}
    assert lookups.look_up(Options(["143"]), ENDS) == {"TCPREMOTEHOST": "a.example"}


class Asked(lookups.Lookups):
    """With its process played here."""

    def _start(self) -> None:
        self._channel, self.process = passing.pair()
        self.pid = 1
        self._loop.hear(self._channel.fileno(), self._answers)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.setattr(beside, "RESTART_AFTER", 0.0)
    monkeypatch.setattr(Loop, "__init__", lambda self: None)
    loop = Loop()
    monkeypatch.setattr(loop, "hear", lambda fd, handler: None)
    monkeypatch.setattr(loop, "forget", lambda fds: None)
    found = Asked(Options(["-block=one.test", "143"]), loop)
    found.tend()
    return found


def test_an_answer_sets_no_other_variables(asked: Asked) -> None:
    heard: list[dict[str, str]] = []
    asked.ask(ENDS, heard.append)
    assert not heard
    data, _ = passing.receive(asked.process) or (b"", [])
    said = {"BLOCK": "x", "BLOCK_TXT": "a\nb", "BLOCK_IP": "x" * 5000, "ALLOW_0": "", "PATH": "/tmp",
            "TCPREMOTEHOST": "a.example", "IMAPLOGINTAG": "a"}
    passing.send(asked.process, [data[:beside.NUMBER.size], channels.pack(said)])
    asked._answers()
    assert heard == [{"BLOCK": "x", "ALLOW_0": "", "TCPREMOTEHOST": "a.example"}]
    passing.send(asked.process, [data[:beside.NUMBER.size], channels.pack(said)])
    asked._answers()
    assert len(heard) == 1


def test_nobody_waits_for_one_who_has_ended(asked: Asked) -> None:
    heard: list[dict[str, str]] = []
    asked.ask(ENDS, heard.append)
    asked.process.close()
    asked._answers()
    assert not asked.ended(2) and asked.ended(1)
    assert heard == [{}]
    asked.ask(ENDS, heard.append)      # while there is none
    assert heard == [{}, {}]
    asked.tend()
    asked.ask(ENDS, heard.append)
    assert len(asked.open) == 1
