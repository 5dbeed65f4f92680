"""The man pages that are made of docs/: one for each program, in what man(1) takes."""
from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import plain_environ
from tools import manual

pytestmark = pytest.mark.source

MACROS = {".TH", ".nh", ".ad", ".SH", ".SS", ".PP", ".TP", ".IP", ".RS", ".RE", ".nf", ".fi"}


def test_each_program_has_a_page(tmp_path: Path) -> None:
    programs = manual.programs()
    assert {"couriertcpd", "imapd", "courierpy"} < programs
    assert manual.main([str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.8" for name in programs}
    for path in tmp_path.iterdir():
        if (text := path.read_text()).startswith(".so "):
            leads = re.fullmatch(r"\.so man8/(\w+\.8)\n", text)
            assert leads is not None
            path = tmp_path / leads[1]
        assert path.read_text().startswith(".TH ")


@pytest.mark.parametrize("page", manual.PAGES)
def test_a_page_is_what_man_takes(page: str) -> None:
    (name, text), *_ = manual.pages(page, manual.PAGES[page])
    assert text.isascii()
    lines = text.splitlines()
    for line in lines:
        if line.startswith((".", "'")):
            assert line.split(" ")[0] in MACROS, line
    assert [line for line in lines if line.startswith(".SH")][0] == ".SH NAME"
    assert text.count(".nf\n") == text.count(".fi\n")
    after = lines[lines.index(".SH NAME") + 1:]
    assert re.match(rf"{name}(, \w+)* \\- \S", next(line for line in after if line != ".PP"))
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-Tutf8", "-P-cbou"], input=text, text=True, check=False,
                              capture_output=True, timeout=60, env=plain_environ())
        assert (done.returncode, done.stderr) == (0, "")
        assert "DESCRIPTION" in done.stdout


@pytest.mark.parametrize(("said", "made"), [
    ("a `b-c` d", r"a \fBb\-c\fR d"), ("**x**: *y* z", r"\fBx\fR: \fIy\fR z"), (".x", r"\&.x"),
    ("'x", r"\&'x"),
    ("`x|y -|`", r"\fBx|\:y \-|\fR"),
    ("[imapd](imapd.md), [x](https://x.example/)", r"imapd, x <https://x.example/>"), (r"a\b", r"a\eb"),
    ("`\\xNN` ~ ä", r"\fB\exNN\fR \(ti \[u00E4]"), ("2 * 3 * 4", "2 * 3 * 4")])
def test_a_paragraph(said: str, made: str) -> None:
    assert manual.troff(("x",), f"# x\n\n## Name\n{said}\n").splitlines()[-1] == made
