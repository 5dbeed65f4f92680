"""What is kept of values that come again changes nothing of what they mean."""
from __future__ import annotations

import pytest

from courierpy.message import decode, mime, parameters

TYPES = [b"text/plain; charset=utf-8", b"TEXT/HTML; Charset=\"x\"", b"multipart/mixed; boundary=b", b"",
         b"text", b"text/plain; charset=utf-8; format=flowed; delsp=yes; x=" + b"y" * mime.USUAL_OCTETS]


@pytest.mark.parametrize("said", TYPES)
def test_a_type_that_comes_again_is_the_same(said: bytes) -> None:
    data = b"Content-Type: " + said + b"\n\ntext\n"
    told = [(part.kind, part.subkind, part.params) for part in (mime.parse(data) for _ in range(3))]
    kind, subkind, params = parameters.content_type(said)
    assert told == [(kind, subkind, params)] * 3


def test_a_part_that_says_nothing_is_us_ascii_whatever_came_before() -> None:
    for _ in range(2):
        mime.parse(b"Content-Type: text/plain\n\nx")
        assert mime.parse(b"\nx").params == [(b"charset", b"us-ascii")]
        assert mime.parse(b"Content-Type: text/plain\n\nx").params == []


@pytest.mark.parametrize("language", [b"", b"*en", b"*" + b"x" * decode.LABEL_OCTETS])
def test_a_label_that_comes_again_is_the_same(language: bytes) -> None:
    for _ in range(2):
        assert decode.words(b"=?iso-8859-2" + language + b"?Q?=B1?= =?iso-8859-2?Q?=E6?=") == "\u0105\u0107"
        assert decode.words(b"=?utf-8" + language + b"?Q?=C4?= =?utf-8?Q?=85?=") == "\u0105"
