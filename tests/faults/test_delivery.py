"""A delivery by LMTP, killed before every call that changes something, and each call made to fail.

The client hears 250 only for a message that is there, whole; and whatever else it hears, or nothing, it
brings the message again, which comes then.
"""
from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.hook import CHANGES
from tests.faults.nursery import Nursery
from tests.faults.sweep import ERRORS, GROUP_ERRORS, LOOKS, in_turn
from tests.faults.world import text
from tests.lmtp.talk import Post, posted

TEXT = text("L1")                  # larger than a piece that is written at once


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def post(nursery: Nursery) -> Iterator[Post]:
    with posted(nursery) as made:
        yield made


def deliver(post: Post, plan: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """The reply to a message for ann, "" for none; and the calls that were counted, or hit."""
    journal = post.folder / "journal"
    journal.write_bytes(b"")
    journal.chmod(0o666)               # the account writes to it too
    with post.client(journal=str(journal), plan=plan) as client:
        client.hello(b"<ann>")
        client.say(b"FAULT x")                 # from here on calls are counted
        reply, = client.data(TEXT.replace(b"\r\n.", b"\r\n.."))
    return reply, [json.loads(line) for line in journal.read_text().splitlines()]


def copies(post: Post) -> int:
    """How often the message is there; nothing else is, and none in part."""
    found = post.mail("ann")
    for copy in found:
        assert copy.endswith(TEXT.replace(b"\r\n", b"\n")), copy[-80:]
        assert copy.startswith(b"Return-Path: <sender@example.com>\n")
    return len(found)


def cases(calls: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for call in calls:
        kind, number = call["kind"], call["number"]
        faults = list(in_turn(ERRORS.get(kind, ()), number))
        if kind in LOOKS:
            faults = faults[number % len(faults):][:1]
        faults += ["kill"] * (kind in CHANGES) + ["torn"] * (kind == "write")
        yield from ({"kind": kind, "number": number, "fault": fault} for fault in faults)
    for group, errors in GROUP_ERRORS.items():
        yield from ({"kind": group, "number": number, "fault": errors[0]} for number in range(1, 4))


def again(post: Post) -> None:
    for path in (post.folder / "ann" / "Maildir").rglob("*"):
        if path.is_file():
            path.unlink()


def check(post: Post, case: dict[str, Any]) -> bool:
    """Was the fault reached?"""
    reply, hits = deliver(post, case)
    there = copies(post)
    assert reply in ("250 2.1.5", "451 4.3.0", "451 4.2.1", "452 4.3.1", "452 4.2.2"), reply
    if reply.startswith("250"):
        assert there == 1
    elif case["fault"] not in ("kill", "torn"):
        assert there == 0
        # what could not be removed stays, as garbage that is cleaned away
        assert post.left("ann") == [] or case["kind"] in ("unlink", "readonly"), post.left("ann")
    assert "Traceback" not in post.log.read_text()
    if case["kind"] not in CHANGES:
        return bool(hits)
    assert deliver(post, {})[0] == "250 2.1.5"
    # a copy whose line in the list of duplicates was not written comes twice: never is one lost
    assert copies(post) in ((1, 2) if there else (1,))
    return bool(hits)


@pytest.mark.server
def test_no_fault_loses_a_message(post: Post) -> None:
    reply, calls = deliver(post, {})
    assert reply == "250 2.1.5" and copies(post) == 1
    kinds = {call["kind"] for call in calls}
    assert {"create", "write", "fsync", "rename", "stat"} <= kinds
    order = [call["kind"] for call in calls if call["kind"] in ("fsync", "rename")]
    assert order[:3] == ["fsync", "rename", "fsync"]           # the message, its name, the directory
    reached = []
    for case in cases(calls):
        again(post)
        try:
            reached.append(check(post, case))
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}\n{post.log.read_text()[-2000:]}") from error
    assert reached.count(True) > 0.8 * len(reached)


def test_a_carrier_that_is_killed_has_delivered_nothing(post: Post) -> None:
    assert check(post, {"kind": "rename", "number": 1, "fault": "kill"})
    again(post)
    assert check(post, {"kind": "fsync", "number": 2, "fault": "EIO"})
