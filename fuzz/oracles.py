"""What must hold of any answer, whatever was asked about."""
from __future__ import annotations

import re

_VALUE = re.compile(rb'\(|\)| |NIL|\d+(?![^ )])|"(?:[^"\\\r\n\0]|\\["\\])*"|\{(\d+)\}\r\n')


def read_back(data: bytes) -> int:
    """How many values these octets are; an assertion fails where they are no IMAP data."""
    depth, count, at = 0, 0, 0
    while at < len(data):
        match = _VALUE.match(data, at)
        assert match is not None, data[at:at + 80]
        at = match.end() + int(match[1] or 0)
        depth += (match[0] == b"(") - (match[0] == b")")
        assert depth >= 0
        count += depth == 0
    assert depth == 0
    return count


def groups_are_closed(addresses: list[tuple[bytes | None, bytes | None, bytes | None, bytes | None]]) -> None:
    """A group ends before another begins, and what stands between has a mailbox and a host."""
    inside = False
    for _, _, local, host in addresses:
        if local is None:
            assert inside
            inside = False
        elif host is None:
            assert not inside
            inside = True
    assert not inside
