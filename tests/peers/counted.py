"""Quotas as Courier's own tools keep them."""
from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import need


def maildirmake(*words: str | Path) -> None:
    subprocess.run([need("/usr/bin/maildirmake.courier"), *words], check=True, timeout=60)


def make(maildir: Path, limits: str) -> Path:
    maildirmake(maildir)
    maildirmake("-q", limits, maildir)
    return maildir


def recounted(maildir: Path) -> bytes:
    """What Courier counts."""
    limits = (maildir / "maildirsize").read_text().partition("\n")[0]
    # one of other limits, so that it counts
    for text in ("123456789S", limits):
        maildirmake("-q", text, maildir)
    return (maildir / "maildirsize").read_bytes()


def deliver(maildir: Path, text: bytes) -> int:
    """Exit code of Courier's deliverquota."""
    return subprocess.run([need("/usr/bin/deliverquota.courier"), str(maildir)], timeout=60, check=False,
                          input=text, capture_output=True).returncode
