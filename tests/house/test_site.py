"""The pages as a site: links and anchors, its menu, the page of all settings, the forms of reports."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from courierpy.system.settings import TABLE
from tests.conftest import REPO, plain_environ
from tools import settings_page, site

pytestmark = pytest.mark.source


def test_links_and_anchors_lead_somewhere() -> None:
    assert list(site.dead(REPO)) == []


@pytest.mark.parametrize(("link", "found"), [
    ("docs/a.md#first-part", True), ("#first-part", True), ("docs/a.md", True), ("docs/a.svg", True),
    ("https://example.org/none", True), ("mailto:x@example.org", True),
    ("docs/a.md#second-part", False), ("#a-b", False), ("a.md", False), ("docs/a.svg#x", False),
    ("docs/none.md#first-part", False)])
def test_what_leads_nowhere_is_found(link: str, found: bool, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# First `part`\n\n```\n# Second part\n[x](none.md)\n```\n")
    (tmp_path / "docs" / "a.svg").write_text("")
    (tmp_path / "README.md").write_text("## First part\n## A - b\n"
                                        f"`[x](none.md)` [one]({link}), ![two]({link})\n")
    told = [line.split(": ")[:2] for line in site.dead(tmp_path)]
    assert told == ([] if found else [["README.md", link]] * 2)


def test_headings_that_a_forge_and_the_site_spell_alike() -> None:
    assert site.anchors("# df, quota\n## `IMAP_ACL`\n### See [x](y.md)!\n#no\n# a  b\n") == {
        "df-quota", "imap_acl", "see-x"}


def test_the_menu_has_each_page_once() -> None:
    text = (REPO / "mkdocs.yml").read_text()
    listed = re.findall(r": (\S+\.md)$", text, re.M)
    assert sorted(listed) == sorted(str(path.relative_to(REPO)) for path in site.documents())
    assert listed[:4] == ["README.md", "docs/new-server.md", "docs/from-courier.md", "docs/over-ssh.md"]
    assert re.findall(r"^  (\w+): warn$", text, re.M) == [
        "omitted_files", "absolute_links", "unrecognized_links", "anchors"]
    assert "\nstrict: true\n" in text


def test_mkdocs_takes_all_pages_and_refuses_a_dead_anchor(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pages = tmp_path / "build" / "pages"
    site.stage(pages)
    planted = pages / "docs" / "faq.md"
    planted.write_text(planted.read_text() + "\n[there](imapd.md#no-such-heading)\n")
    (tmp_path / "mkdocs.yml").write_text((REPO / "mkdocs.yml").read_text())
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build"], cwd=tmp_path, text=True, check=False,
                          capture_output=True, timeout=100, env=plain_environ())
    told = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("WARNING")]
    assert done.returncode == 1
    assert len(told) == 1 and "no-such-heading" in told[0], told


# -- all settings

def test_each_setting_is_told_once_with_what_the_table_and_the_files_say() -> None:
    text = (REPO / "docs" / "settings.md").read_text()
    assert text == settings_page.page(), "make index writes it"
    entries = dict(re.findall(r"^### (\w+)\n\n(.*?)(?=^##|\Z)", text, re.M | re.S))
    assert sorted(re.findall(r"^### (.+)", text, re.M)) == sorted(setting.name for setting in TABLE)
    for setting in TABLE:
        told = entries[setting.name]
        assert (f"default: `{setting.default}`" if setting.default else "default: empty") in told
        for choice in setting.choices:
            assert f"`{choice}`" in told
        assert len(told.split("\n\n")) >= 2
    assert "default: `143`, of POP3 `110`. In `etc/imapd`, `etc/pop3d`." in entries["PORT"]
    assert "from 0 to 64" in entries["IMAP_LOGIN_PROCESSES"]
    assert "TLS\\_CERTFILE" not in text and "mailto:\\[" not in text


def test_paragraphs_of_a_file() -> None:
    text = ("##VERSION: 1\n#\n#  Head.\n\n##NAME: A:0\n#\n#  One\n#  two.\n#\n#  Three.\n#\n# A=\"x\"\n\n"
            "##NAME: B_C:1\n#\n#  Four *_x.\n\nB_C=1\n")
    assert settings_page.paragraphs(text) == {"A": ["One two.", "Three."], "B_C": ["Four *_x."]}


# -- forms

def test_forms_of_reports() -> None:
    folder = REPO / ".github" / "ISSUE_TEMPLATE"
    forms = sorted(path.name for path in folder.iterdir())
    assert forms == ["bug.yml", "config.yml", "idea.yml"]
    for name in ("bug.yml", "idea.yml"):
        text = (folder / name).read_text()
        assert re.match(r"name: .+\ndescription: .+\n", text) and "required: true" in text
        for path in re.findall(r"\b(?:docs/)?[\w-]+\.md\b", text):
            assert (REPO / path).is_file(), path
        for command in re.findall(r"label: \"courierpy (\w+)", text):
            assert (REPO / "courierpy" / "admin" / f"{command}.py").is_file()
