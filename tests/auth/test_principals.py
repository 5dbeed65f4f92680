"""EXTERNAL_MAP: names of certificates and the users that they stand for."""
from __future__ import annotations

from pathlib import Path

import pytest

from courierpy.admin import config
from courierpy.auth import Account, Rejected, Request, TemporaryFailure, sasl
from courierpy.auth.principals import Principals, read, user_of

MAP = """# krb.equiv's form
ann@EXAMPLE.ORG ann
Ann Example, Dept. 7\tann.example
  bob@example.org   bob

alone
bob@example.org carol
e\x07vil dave
ü@example.org ü
"""


def test_lines() -> None:
    found = Principals(MAP)
    assert found.users == {"ann@EXAMPLE.ORG": "ann", "Ann Example, Dept. 7": "ann.example",
                           "bob@example.org": "bob", "ü@example.org": "ü"}
    assert [line.partition(":")[0] for line in found.wrong] == ["line 6", "line 7", "line 8"]


def asked(path: Path, name: str, said: bytes | None = b"") -> tuple[str, str | None]:
    """Whom the modules are asked for, and the user of the log.  Raises Rejected, TemporaryFailure."""
    context = sasl.Context("imap", {"EXTERNAL_MAP": str(path)}, name)
    steps = sasl.external(context, said)
    request = next(steps)
    if request == b"":
        request = steps.send(b"")
    assert isinstance(request, Request)
    with pytest.raises(StopIteration):
        steps.send(Account("x", 1, 1, "/"))
    return request.user, context.user


def test_external(tmp_path: Path) -> None:
    path = tmp_path / "map"
    path.write_text(MAP)
    path.chmod(0o600)
    assert asked(path, "ann@EXAMPLE.ORG") == ("ann", "ann")
    assert asked(path, "ann@EXAMPLE.ORG", b"ann") == ("ann", "ann")
    assert asked(path, "Ann Example, Dept. 7", None) == ("ann.example", "ann.example")
    assert asked(path, "nobody@example.org") == ("nobody@example.org", "nobody@example.org")
    for name, said in (("ann@EXAMPLE.ORG", b"ann@EXAMPLE.ORG"), ("ann@EXAMPLE.ORG", b"bob"), ("", b""),
                       ("ann@example.org", b"ann")):
        with pytest.raises(Rejected):
            asked(path, name, said)


def test_what_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    """Not even by the name itself: whom it stands for nobody knows."""
    path = tmp_path / "map"
    path.write_text("other x\n")
    for odd in (tmp_path, tmp_path / "none", path):
        path.chmod(0o666)
        with pytest.raises(TemporaryFailure, match="EXTERNAL_MAP"):
            user_of("ann", str(odd))
    assert user_of("ann", "") == "ann"


def test_config_tells_bad_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, file = tmp_path / "map", tmp_path / "imapd-ssl"
    path.write_text(MAP)
    path.chmod(0o600)
    file.write_text(f"EXTERNAL_MAP={path}\n")
    assert config.main(["-C", str(file), "--lint"]) == 1
    told = capsys.readouterr().out
    assert all(f"{path}: line {number}: " in told for number in (6, 7, 8)) and "line 2" not in told
    path.write_text("a b\n")
    assert read(str(path)).users == {"a": "b"}
    config.main(["-C", str(file), "--lint"])
    assert "EXTERNAL_MAP" not in capsys.readouterr().out
    path.unlink()
    assert config.main(["-C", str(file), "--lint"]) == 1
    assert "EXTERNAL_MAP" in capsys.readouterr().out
