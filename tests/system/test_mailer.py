"""What a program that gets a message may do."""
from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from courierpy.system import mailer
from courierpy.system.mailer import Failed
from tests.conftest import descriptors

LONG = 30.0                        # seconds that no test takes


def send(script: str, message: list[bytes], seconds: float = LONG, stop: bool = False,
         **environ: str) -> None:
    before = descriptors()
    try:
        mailer.send(["sh", "-c", script, "sh", "-x", "a b"], environ, message, seconds, lambda: stop)
    finally:
        assert descriptors() == before


def test_the_message_comes_whole(tmp_path: Path) -> None:
    message = [b"a" * 100_000, b"", b"\n", b"b" * 300_000, b"end"]
    send(f'echo talks much; cat > {tmp_path}/m; printf "%s|" "$@" $X "$(pwd)" > {tmp_path}/w', message, X="y")
    assert (tmp_path / "m").read_bytes() == b"".join(message)
    assert (tmp_path / "w").read_text() == f"-x|a b|y|{os.getcwd()}|"


def test_what_it_says_between_a_look_and_its_end_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = mailer._Running._ended

    def when_it_has_ended(running: mailer._Running) -> bool:
        os.waitid(os.P_PID, running._pid, os.WEXITED | os.WNOWAIT)
        return ended(running)

    monkeypatch.setattr(mailer._Running, "_ended", when_it_has_ended)
    with pytest.raises(Failed) as failed:
        send("cat > /dev/null; echo sorry; exit 1", [b"x"])
    assert failed.value.said == "sorry"


def test_nothing_but_pipes_leaks(tmp_path: Path) -> None:
    program = "import os; fds = os.listdir('/proc/self/fd'); " \
              f"open('{tmp_path}/fds', 'w').write(' '.join(fds))"
    before = descriptors()
    mailer.send([sys.executable, "-c", program], {}, [b"x"], LONG, lambda: False)
    inherited = {fd for fd in before
                 if os.path.exists(f"/proc/self/fd/{fd}") and os.get_inheritable(int(fd))}
    # one by which it looks
    assert len({*(tmp_path / "fds").read_text().split()} - {"0", "1", "2"} - inherited) <= 1


@pytest.mark.parametrize(("script", "why", "said"), [
    ("cat >/dev/null; echo no such user joe; echo second >&2; exit 75", "exit status 75",
     "no such user joe\nsecond"),
    ("exit 1", "exit status 1", ""), ("kill -9 $$", "signal 9", ""),
    ("printf '\\377\\n'; exit 2", "exit status 2", "\ufffd"),
    ("head -c 100000 /dev/zero | tr '\\0' x; exit 3", "exit status 3", "x" * mailer.SAID_OCTETS)])
def test_a_refusal(script: str, why: str, said: str) -> None:
    with pytest.raises(Failed, match=why) as caught:
        send(script, [b"x" * 200_000])
    assert caught.value.said == said


def test_a_program_that_reads_nothing_and_is_content() -> None:
    send("exec <&-; exit 0", [b"x" * 200_000])
    send("exit 0", [])


def test_no_program() -> None:
    for name in ("/no/such/program", "no-such-program", __file__):
        with pytest.raises(Failed, match="No such file|Permission denied"):
            mailer.send([name, "-t"], {}, [b"x"], LONG, lambda: False)


@pytest.mark.parametrize("script", ["sleep 100", "exec >&- 2>&-; sleep 100",
                                    "cat >/dev/null; sleep 100 & wait",
                                    "trap '' TERM PIPE; while :; do sleep 1; done"])
def test_one_that_hangs_is_ended_with_what_it_started(script: str, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with pytest.raises(Failed, match="to end"):
        mailer.send(["sh", "-c", f"echo $$ > {tmp_path}/made; mv {tmp_path}/made {file}; {script}"], {},
                    [b"x" * 200_000], LONG, file.exists)
    assert not os.path.exists(f"/proc/{file.read_text().strip()}")


def test_one_that_takes_too_long() -> None:
    with pytest.raises(Failed, match="too long"):
        send("sleep 100", [b"x"], seconds=0.3)


def test_a_session_that_is_to_end() -> None:
    with pytest.raises(Failed, match="to end"):
        send("sleep 100", [b"x"], stop=True)


def test_what_it_leaves_behind_is_not_waited_for() -> None:
    """As a sendmail that delivers in the background."""
    send("cat >/dev/null; sleep 40 & exit 0", [b"x"])
