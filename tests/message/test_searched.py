"""What SEARCH finds, and what it does not."""
from __future__ import annotations

import pytest

from courierpy.message.message import Message

# -- FROM, TO, CC, BCC: what ENVELOPE tells

FOUND = [
    # comments, white space, quotes and folding between the parts of an address
    ("ann(in Ghent)@(home)example.org", "ann@example.org"),
    ("ann.lee @ example . org", "ann.lee@example.org"),
    ("Ann <ann @ example.org (x)>", "ann@example.org"),
    ('"ann.lee"@example.org', "ann.lee@example.org"),
    ("<@relay,@hub:ann@example.org>", "ann@example.org"),
    ("Ann\n <ann@\n example.org>", "ann@example.org"),
    # names: quoted letters, comments as names, encoded words in them
    ('"Ann \\"Red\\" Lee" <ann@example.org>', 'ann "red" lee'),
    ("ann@example.org (=?utf-8?q?J=C3=B6rg?=)", "j\u00f6rg ann@example.org"),
    ("ann@example.org (Ann (\\(n\\)e) Lee)", "ann@example.org"),
    ('"=?utf-8?q?J=C3=B6rg?=, X" (c) <j@example.org>', "j\u00f6rg, x"),
    # what always was found: the field as it stands
    ("friends: ann@example.org, (c) bob@example.org;", "friends: ann"),
    ("friends: ann@example.org, (c) bob@example.org;", "bob@example.org"),
    ("ann(in Ghent)@example.org", "in ghent"),
    ("Ann Lee <ann@example.org>, bob@example.net", "lee <ann@example.org>, bob"),
]


@pytest.mark.parametrize("field", ["From", "To", "CC", "bcc"])
@pytest.mark.parametrize(("value", "text"), FOUND)
def test_addresses(field: str, value: str, text: str) -> None:
    message = Message(f"X: y\n{field}: {value}\n\n".encode())
    assert message.header_contains(field.lower().encode(), text)
    assert not message.header_contains(b"subject", text)


def test_addresses_are_not_glued_together() -> None:
    message = Message(b"To: a(c)@example.org, b(d)@example.net\n\n")
    for text in ("example.org b@", "a@example.net", "a@b"):
        assert not message.header_contains(b"to", text)
