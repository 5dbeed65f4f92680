"""What is told of usual messages without a tree of their parts is what the tree tells."""
from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from courierpy.message import mime, rendered, straight
from courierpy.message.mime import Limits
from tests.message.test_quick import LIMITS, MESSAGES

TEXT = b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nOne.\nTwo: %s\n"
PAGE = (b"Subject: odd here\ncontent-type: text/html;\n charset=\"x%y\"\nContent-Language: en, de\n"
        b"Content-Description: \xc3\xa9\n\n<p>\n")
FILE = (b"Content-Type: image/png; name=\"a b.png\"\nContent-Transfer-Encoding: BASE64\nContent-ID: <a@b>\n"
        b"Content-MD5: Q2hlY2s=\nContent-Location: http://example.org/\n"
        b"Content-Disposition: attachment; filename*=utf-8''%C3%A9.png\n\nQUJD\nREVG\n")
REPORT = b"Content-Type: message/delivery-status\n\nAction: failed\n"
NOTHING, BARE = b"\nno header\n", b"\n\n"
LEAVES = st.sampled_from([TEXT, TEXT % b"100%", PAGE, FILE, REPORT, NOTHING, BARE])


def multipart(kind: bytes, boundary: bytes, parts: list[bytes], closed: bytes = b"--\nEpilogue.\n") -> bytes:
    head = b"Content-Type: multipart/%s;\n boundary=\"%s\"\n\nPreamble.\n" % (kind, boundary)
    return head + b"".join([b"--%s\n%s\n" % (boundary, part) for part in parts]) + b"--" + boundary + closed


def message(inside: bytes, encoding: bytes = b"7bit") -> bytes:
    return (b"Content-Type: message/rfc822\nContent-Transfer-Encoding: %s\n\n"
            b"From: Ann <a@example.org>\nTo: b@example.org,\n c@example.org\nSubject: inside\n%s"
            % (encoding, inside))


def holding(parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    made: Callable[..., bytes] = multipart
    return st.builds(made, st.sampled_from([b"mixed", b"alternative", b"Digest"]),
                     st.sampled_from([b"b", b"bb", b"b--", b"=_1"]), st.lists(parts, max_size=4),
                     st.sampled_from([b"--\n", b"--", b"-- \n", b"\n", b"--x\n", b"--\n--b\n\nmore\n--b--\n"])
                     ) | st.builds(message, parts, st.sampled_from([b"7bit", b"base64"]))


USUAL = st.recursive(LEAVES, holding, max_leaves=8)


def assert_same(data: bytes, limits: Limits) -> bool:
    """Was it a usual one?"""
    told = [straight.structure(data, limits, extended, utf8) for extended in (True, False)
            for utf8 in (True, False)]
    tree = [rendered.structure(mime.parse(data, limits), extended, utf8) for extended in (True, False)
            for utf8 in (True, False)]
    assert told in (tree, [None] * 4)
    return None not in told


@settings(max_examples=400)
@given(USUAL, st.booleans())
@example(multipart(b"mixed", b"b", [TEXT, b"X: y\n"]), False)
@example(multipart(b"mixed", b"b", [TEXT, multipart(b"mixed", b"b", [PAGE])]), False)
def test_of_shapes(data: bytes, returns: bool) -> None:
    assert_same(data, mime.DEFAULT)
    if returns:
        assert_same(data.replace(b"\n", b"\r\n", 3), mime.DEFAULT)


@settings(max_examples=300)
@given(MESSAGES, LIMITS)
def test_of_anything(data: bytes, limits: Limits | None) -> None:
    assert_same(data, limits or mime.DEFAULT)


@settings(max_examples=200)
@given(USUAL, st.integers(1, 12), st.integers(1, 12), st.integers(100, 3000))
def test_within_limits(data: bytes, parts: int, depth: int, header: int) -> None:
    assert_same(data, Limits(parts, depth, header))


@pytest.mark.parametrize("data", [
    TEXT, PAGE, FILE, REPORT, NOTHING, multipart(b"alternative", b"b", [TEXT, PAGE]),
    multipart(b"mixed", b"a", [
        multipart(b"related", b"b", [multipart(b"alternative", b"c", [TEXT, PAGE]), FILE]),
        FILE, message(multipart(b"mixed", b"d", [TEXT, FILE]))]),
    multipart(b"mixed", b"b", [TEXT] * straight.PARTS)])
def test_what_most_mail_looks_like_is_usual(data: bytes) -> None:
    assert assert_same(data, mime.DEFAULT)


@pytest.mark.parametrize("data", [
    TEXT.replace(b"\n", b"\r\n"), b"Subject: x\n", multipart(b"digest", b"b", [TEXT]),
    multipart(b"mixed", b"b", [TEXT], closed=b"\n"), multipart(b"mixed", b"b", [TEXT] * (straight.PARTS + 1)),
    message(TEXT, b"base64"), TEXT + b"x" * (mime.DEFAULT.header // 2)])
def test_what_may_need_the_tree_is_not(data: bytes) -> None:
    assert not assert_same(data, mime.DEFAULT)
