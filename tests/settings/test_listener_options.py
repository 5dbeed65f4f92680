"""What couriertcpd says of its command line, before it listens."""
from __future__ import annotations

from pathlib import Path

import pytest

from courierpy.listener import children
from courierpy.listener.options import Options, UsageError


@pytest.mark.parametrize(("word", "expected"), [
    ("-haproxy", (15.0, set())), ("-haproxy=2.5", (2.5, set())), ("-haproxy=/port=143", (15.0, {"143"})),
    ("-haproxy=9/143,127.0.0.1.993,", (9.0, {"143", "127.0.0.1.993"})), ("-haproxy=/imap", (15.0, {"143"}))])
def test_ports_behind_a_proxy(word: str, expected: tuple[float, set[str]]) -> None:
    assert Options([word]).haproxy == expected


@pytest.mark.parametrize(("value", "told"), [
    ("/nonsense", "no such service: nonsense"), ("5/0", "bad port: '0'"), ("5/143,99999", "bad port"),
    ("/143-150", "no such service: 143-150"), ("soon", "SECONDS is expected, more than 0, not soon"),
    ("nan/143", "SECONDS is expected, more than 0, not nan"), ("-1", "more than 0, not -1"),
    ("0", "SECONDS is expected, more than 0, not 0"), ("0.0/143", "more than 0, not 0.0"),
    ("1e300", "SECONDS is expected, more than 0, not 1e300")])
def test_a_proxy_that_nobody_understands(value: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        Options([f"-haproxy={value}"])
    assert told in str(caught.value)
    assert str(caught.value).startswith("-haproxy=")


def test_programs_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program\n")
    there = tmp_path / "there"
    there.write_text("#!/bin/sh\n")
    there.chmod(0o755)
    environ = {"PATH": f"/no:{tmp_path}"}
    for sound in (str(there), "there", "imaplogin"):
        children.check_programs(sound, {"stderrlogger": str(there)}, environ)
    for program, told in ((f"{tmp_path}/gone", f"{tmp_path}/gone: No such file or directory; a program"),
                          (str(tmp_path), f"{tmp_path}: not a program that can be run"),
                          (f"{tmp_path}/text", "text: not a program that can be run"),
                          ("text", f"text: there is no such program in /no:{tmp_path}"),
                          ("gone", "gone: there is no such program")):
        with pytest.raises(UsageError) as caught:
            children.check_programs(program, {}, environ)
        assert told in str(caught.value)
    with pytest.raises(UsageError) as caught:
        children.check_programs(str(there), {"stderrlogger": "/no/logger"}, environ)
    assert str(caught.value).startswith("-stderrlogger=/no/logger: No such file or directory")


def test_a_program_behind_the_login_that_is_not_there(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("#!/bin/sh\n")
    there.chmod(0o755)
    environ = {"PATH": f"/no:{tmp_path}"}
    for sound in (["imapd", "./Maildir"], ["authpwd", "authpipe", str(there)], ["there"], ["./in/its/home"]):
        children.check_behind_login("imaplogin", sound, environ)
    for words, told in (([], "imaplogin: the program behind the login was expected"),
                        (["authpwd"], "imaplogin: the program behind the login was expected"),
                        (["authpwd", "/no/imapd"], "imaplogin /no/imapd: No such file or directory"),
                        ([str(tmp_path)], "not a program that can be run"),
                        (["imapdd", "./Maildir"], "imaplogin imapdd: there is no such program in /no:")):
        with pytest.raises(UsageError) as caught:
            children.check_behind_login("imaplogin", words, environ)
        assert str(caught.value).startswith(told) or told in str(caught.value)
