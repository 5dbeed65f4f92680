"""Requests in pieces and in a row, and what is none; each answer as its protocol has it."""
from __future__ import annotations

import pytest

from courierpy.lmtp.grammar import Reply
from courierpy.mta import policy, socketmap, tongues
from courierpy.mta.question import Broken, Question
from courierpy.mta.verdict import address

OK = Reply(250, "2.1.5", "x")
UNKNOWN = Reply(550, "5.1.1", "x")
NO_MAILBOX = Reply(550, "5.2.1", "x")
FULL, FULL_FOR_GOOD = Reply(452, "4.2.2", "full"), Reply(552, "5.2.2", "full")
LATER = Reply(451, "4.3.0", "later")
TOO_LARGE = Reply(552, "5.3.4", "large")
ASK = b"request=smtpd_access_policy\nrecipient=ann@x\nsize=7\n\n"


@pytest.mark.parametrize(("data", "asked"), [
    (b"8:m ann@x.y,", None), (b"9:m ann@x.y,", b"ann@x.y"), (b"2:m ,", b""), (b"1:m,", b""), (b"0:,", b""),
    (b"11:m a b@x.y.z,", b"a b@x.y.z"), (ASK, b"ann@x"), (ASK.replace(b"\n", b"\r\n"), b"ann@x"),
    (b"request=other\nrecipient=ann\n\n", b""), (b"\n", b""), (b"no line\n\n", b""), (b"=\n\n", b""),
    (b"recipient=ann\n\n", b""), (b"request=smtpd_access_policy\nrecipient=\n\n", b"")])
def test_a_request_whole_in_pieces_and_with_a_tail(data: bytes, asked: bytes | None) -> None:
    tongue = tongues.of(data)
    if asked is None:
        with pytest.raises(Broken):
            tongue.cut(data)
        return
    for size in range(len(data)):
        assert tongue.cut(data[:size]) == (None, 0)
    for tail in (b"", data, b"x"):
        question, used = tongue.cut(data + tail)
        assert question is not None and (question.address, used) == (asked, len(data))
        assert repr(Question.of(question.data())) == repr(question)


def test_what_is_asked() -> None:
    question, _ = policy.cut(ASK)
    assert question is not None and (question.octets, question.only_exists) == (7, False)
    for size in (b"", b"-1", b"x", b"9" * 30):
        question, _ = policy.cut(ASK.replace(b"size=7", b"size=" + size))
        assert question is not None and question.octets == 0
    question, _ = socketmap.cut(b"10:exists ann,")
    assert question is not None and question.only_exists


@pytest.mark.parametrize("data", [
    b"x", b"5;", b":", b"10001:", b"9999999999:", b"1:xx", b"-1:", b"01234567890:"])
def test_what_is_no_netstring(data: bytes) -> None:
    with pytest.raises(Broken) as found:
        socketmap.cut(data)
    assert b":PERM " in found.value.answer


def test_a_request_has_an_end() -> None:
    with pytest.raises(Broken):
        policy.cut(b"a=" + b"x" * 70000)
    with pytest.raises(Broken):
        policy.cut(b"a=" + b"x" * 70000 + b"\n\n")
    assert policy.cut(b"a=" + b"x" * 60000) == (None, 0)


@pytest.mark.parametrize(("reply", "by_map", "by_policy", "counted"), [
    (OK, b"6:OK ann,", b"DUNNO", "yes"), (None, b"9:NOTFOUND ,", b"DUNNO", "none"),
    (UNKNOWN, b"9:NOTFOUND ,", b"DUNNO", "unknown"), (NO_MAILBOX, b"9:NOTFOUND ,", b"550 5.2.1 x", "no"),
    (FULL, b"15:TEMP 4.2.2 full,", b"452 4.2.2 full", "full"),
    (FULL_FOR_GOOD, b"15:PERM 5.2.2 full,", b"552 5.2.2 full", "full"),
    (LATER, b"16:TEMP 4.3.0 later,", b"DEFER_IF_PERMIT 4.3.0 later", "later"),
    (TOO_LARGE, b"16:PERM 5.3.4 large,", b"552 5.3.4 large", "no")])
def test_answers(reply: Reply | None, by_map: bytes, by_policy: bytes, counted: str) -> None:
    question = Question(b"ann")
    assert socketmap.answer(question, reply) == by_map
    assert policy.answer(question, reply) == b"action=" + by_policy + b"\n\n"
    assert tongues.result(reply) == counted


@pytest.mark.parametrize(("octets", "local", "domain"), [
    (b"ann@X.example", "ann", "x.example"), (b"ann", "ann", ""), (b'"a b"@x', "a b", "x"),
    (b"a b@x", "a b", "x"), (b'a"b\\@x', 'a"b\\', "x"), (b"a@b@x", "a@b", "x"), (b"a b", "a b", ""),
    ("\u00fc@x".encode(), "\u00fc", "x")])
def test_an_address_with_its_quotes_and_without(octets: bytes, local: str, domain: str) -> None:
    found = address(octets)
    assert (found.local, found.domain) == (local, domain)


@pytest.mark.parametrize("octets", [b"@x", b"", b"\xff@x", b"a\0b", b"a\nb@x", b"a@x y", b"x" * 2000])
def test_what_is_nobodys_address(octets: bytes) -> None:
    with pytest.raises(Reply) as found:
        address(octets)
    assert found.value.status == "5.1.1"
