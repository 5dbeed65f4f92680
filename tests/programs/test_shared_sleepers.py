"""Who waits in what others share sleeps too, and wakes when something happens there."""
from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import fill
from tests.programs.hibernating import Running, hibernating
from tests.realtime.windows import deliver

pytestmark = pytest.mark.server


@pytest.fixture
def team() -> Iterator[Path]:
    """A Maildir that the account can reach and write to."""
    top = Path(tempfile.mkdtemp(prefix="courierpy-test-"))
    top.chmod(0o755)
    for folder in ("team", "team/.Pub"):
        fill(top / folder, 0)
        for part in ("", "cur", "new", "tmp"):
            (top / folder / part).chmod(0o777)
    fill(top / "team/.Pub", 2)
    (top / "team/.Pub/courierimapacl").write_text("owner aceilrstwx\nuser=demo eilrstwx\n")
    (top / "index").write_text(f"team\t7\t7\t{top}\t./team\n")
    yield top / "team"
    shutil.rmtree(top)


@pytest.fixture
def running(team: Path) -> Iterator[Running]:
    with hibernating(IMAP_SHAREDINDEXFILE=str(team.parent / "index")) as found:
        (found.server.maildir / "shared-maildirs").write_bytes(b"team\t%s\n" % os.fsencode(team))
        yield found


def test_asleep(running: Running, team: Path) -> None:
    """Twice each: who was woken sleeps again."""
    client = {name: running.sleeper(name) for name in ("#shared.team.Pub", "shared.team.Pub")}
    for count in (3, 4):
        deliver(team / ".Pub", f"170000000{count}.M1P1.host")
        for window in client.values():
            window.until(f"* {count} EXISTS")
        running.wait_asleep()
    next((team / ".Pub/cur").glob("1700000001.*")).unlink()
    for window in client.values():
        window.until("* 1 EXPUNGE")
    running.wait_asleep()
    for window in client.values():
        window.done()
        assert window.do("UID SEARCH ALL") == ["* SEARCH 2 3 4"]
        window.close()
