"""python -m tools.site: the pages and what the docstrings of the library say, as a site in build/site.

``--pages FOLDER`` only puts the pages there from which mkdocs makes it.  Nothing is asked of the network.
"""
from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
PAGES, SITE = HOUSE / "build" / "pages", HOUSE / "build" / "site"
LIBRARY = ("courierpy.maildir", "courierpy.message", "courierpy.model", "courierpy.testing.server",
           "courierpy.testing.account")
_LINK = re.compile(r"!?\[[^]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$|`[^`\n]*`", re.M | re.S)


def documents(house: Path = HOUSE) -> list[Path]:
    """The pages: those beside README and those of docs/."""
    return sorted([*house.glob("*.md"), *(house / "docs").glob("*.md")])


def targets(text: str) -> list[str]:
    """Where the links of a page lead, in their order."""
    return _LINK.findall(_FENCED.sub("", text))


def anchors(text: str) -> set[str]:
    """What ``#`` may name in a page, as far as a forge and mkdocs agree how a heading is spelled there."""
    found = set()
    for heading in re.findall(r"^#{1,6} (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M):
        plain = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).strip().lower()
        forge = re.sub(r"[^\w\s-]", "", plain).replace(" ", "-")
        site = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain)).strip("-")
        if forge == site:
            found.add(forge)
    return found


def dead(house: Path) -> Iterator[str]:
    """A line for each link that leads nowhere within the house."""
    for path in documents(house):
        for target in targets(path.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            there = (path.parent / name).resolve() if name else path
            if not there.exists():
                yield f"{path.relative_to(house)}: {target}: there is no such file"
            elif anchor and anchor not in (anchors(there.read_text(encoding="utf-8"))
                                           if there.suffix == ".md" else ()):
                yield f"{path.relative_to(house)}: {target}: there is no such heading"


def stage(folder: Path, house: Path = HOUSE) -> None:
    """The pages and what they show and lead to, below a folder, as they lie in the house."""
    for path in documents(house):
        copies = [path, *((path.parent / name.partition("#")[0]).resolve() for name in
                          targets(path.read_text(encoding="utf-8")) if not re.match(r"[a-z]+:|#", name))]
        for one in copies:
            if one.is_file() and one.is_relative_to(house):
                copy = folder / one.relative_to(house)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(one, copy)


def menu(text: str, house: Path = HOUSE) -> str:
    """mkdocs.yml with each page in it: a new one stands at the end, until somebody moves it."""
    there = {str(path.relative_to(house)) for path in documents(house)}
    kept = [line for line in text.splitlines()
            if not (found := re.search(r": (\S+\.md)$", line)) or found[1] in there]
    listed = {found[1] for line in kept if (found := re.search(r": (\S+\.md)$", line))}
    new = []
    for name in sorted(there - listed):
        title = (house / name).read_text(encoding="utf-8").partition("\n")[0].lstrip("# ").replace(":", "")
        new.append(f"  - {title}: {name}")
    return "\n".join([*kept, *new]) + "\n"


def main(words: list[str]) -> int:
    if words[:1] == ["--pages"]:
        stage(Path(words[1]))
        return 0
    lines = list(dead(HOUSE))
    if lines:
        print("\n".join(lines), file=sys.stderr)
        return 1
    shutil.rmtree(PAGES, ignore_errors=True)
    stage(PAGES)
    # without -q, which keeps mkdocs from counting what it warns of
    for command in (["mkdocs", "build", "-f", str(HOUSE / "mkdocs.yml")],
                    ["pdoc", "--docformat", "restructuredtext", "-o", str(SITE / "api"), *LIBRARY]):
        status = subprocess.run([sys.executable, "-m", *command], cwd=HOUSE, check=False).returncode
        if status:
            return status
    print(f"{SITE.relative_to(HOUSE)}/index.html, {SITE.relative_to(HOUSE)}/api/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
