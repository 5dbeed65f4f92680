"""What certificates of other hosts are checked by."""
from __future__ import annotations

from pathlib import Path

import pytest

from courierpy.admin import mkcert
from courierpy.system import tlsclient


def test_a_folder_is_read_ahead_where_no_file_can_be_read_later(
        tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Those names count that the library would look for; a file that is none shuts nobody out."""
    mkcert.make(str(tmp_path / "0123abcd.0"), "mail2.example.org")
    mkcert.make(str(tmp_path / "another.pem"), "mail3.example.org")
    (tmp_path / "89abcdef.12").write_text("no certificate\n")
    assert tlsclient.context(str(tmp_path)).get_ca_certs() == []
    found, = tlsclient.context(str(tmp_path), at_once=True).get_ca_certs()
    assert "mail2.example.org" in str(found["subject"])
    assert "89abcdef.12" in capfd.readouterr().err
    with pytest.raises(OSError):
        tlsclient.context(str(tmp_path / "nowhere"), at_once=True)
    assert tlsclient.context("", at_once=True).verify_mode == tlsclient.context("").verify_mode
