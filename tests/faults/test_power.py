"""What was answered is on stable storage: the order of writes, fsyncs and renames.

The calls of a command are played to a model of the disk that forgets, when the power
goes, data that was not synced since it was written and names that came into a directory
not synced since.
"""
from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from courierpy.system import settings
from tests.faults.operations import BY_NAME, OPERATIONS, Added, Moved
from tests.faults.sweep import Ground

pytestmark = pytest.mark.server

# but replace-selected, whose uiddb is written once more without the one that went: the disk may forget that
BRINGS = [operation.name for operation in OPERATIONS
          if operation.name.startswith(("append-", "copy-", "move-", "replace-other", "rename-inbox"))]
CHANGES = [operation.name for operation in OPERATIONS
           if operation.name.split("-")[0] in ("append", "copy", "move", "store", "create", "rename",
                                               "subscribe", "unsubscribe")]
HAS_SETTING = any(setting.name == "IMAP_FSYNC" for setting in settings.TABLE)
needs_setting = pytest.mark.skipif(not HAS_SETTING, reason="there is no setting IMAP_FSYNC")


class Disk:
    """``dirty``: files with data that is not synced.  ``loose``: names not synced in
    their directory.  ``early``: files that got their names before their data was synced."""

    def __init__(self) -> None:
        self.dirty: set[str] = set()
        self.loose: set[str] = set()
        self.early: list[str] = []

    def play(self, calls: list[dict[str, Any]]) -> None:
        """All calls up to the answer."""
        for call in calls:
            if call["kind"] == "answer":
                return
            getattr(self, "_" + call["kind"].replace("-", "_"), self._nothing)(*call["paths"])
        raise AssertionError("no answer was written")

    def _nothing(self, *paths: str) -> None:
        """It changes nothing that power loss could undo."""

    def _create(self, path: str) -> None:
        self.loose.add(path)

    def _mkdir(self, path: str) -> None:
        self.loose.add(path)

    def _write(self, path: str, *source: str) -> None:
        self.dirty.add(path)

    def _truncate(self, path: str) -> None:
        self.dirty.add(path)

    def _fsync(self, path: str) -> None:
        self.dirty.discard(path)
        self.loose = {name for name in self.loose if (os.path.dirname(name) or ".") != path}

    def _link(self, old: str, new: str) -> None:
        if old in self.dirty:
            self.early.append(new)
            self.dirty.add(new)
        self.loose.add(new)

    def _rename(self, old: str, new: str) -> None:
        self._link(old, new)
        self._unlink(old)
        # a directory takes along what is in it
        for names in (self.dirty, self.loose):
            below = {name for name in names if name.startswith(old + "/")}
            names -= below
            names |= {new + name.removeprefix(old) for name in below}

    def _unlink(self, path: str) -> None:
        self.dirty.discard(path)
        self.loose.discard(path)

    _rmdir = _unlink


def is_message(path: str) -> bool:
    return os.path.basename(os.path.dirname(path)) in ("cur", "new")


def check(disk: Disk, covered: Callable[[str], bool]) -> None:
    assert [path for path in disk.early if covered(path)] == [], "named before their data was synced"
    assert sorted(path for path in disk.dirty if covered(path)) == [], "data not synced"
    assert sorted(path for path in disk.loose if covered(path)) == [], "names not synced in the directory"


def played(ground: Ground, name: str, **environ: str) -> Disk:
    disk = Disk()
    calls = ground.record(BY_NAME[name], **environ)
    assert any(call["kind"] in ("rename", "link") for call in calls)
    disk.play(calls)
    return disk


@pytest.mark.parametrize("policy", [pytest.param("", id="default"),
                                    pytest.param("optimized", marks=needs_setting),
                                    pytest.param("always", marks=needs_setting)])
@pytest.mark.parametrize("name", BRINGS)
def test_a_message_is_on_stable_storage_before_its_ok(ground: Ground, name: str, policy: str) -> None:
    disk = played(ground, name, **({"IMAP_FSYNC": policy} if policy else {}))

    effect = BY_NAME[name].effects[-1]
    assert isinstance(effect, Added | Moved)
    target = (effect.target if isinstance(effect, Moved) else effect.box).removeprefix("INBOX")

    def covered(path: str) -> bool:
        """The messages, and the numbers of the folder that they are in now."""
        return is_message(path) or path == os.path.normpath(os.path.join(target, "courierimapuiddb"))

    check(disk, covered)


def test_a_short_message_is_waited_for_behind_its_number(ground: Ground) -> None:
    """Then the file system writes its journal once for both; and it is seen by nobody before."""
    calls = [(call["kind"], call["paths"]) for call in ground.record(BY_NAME["append-other"])]
    [numbers] = [at for at, (kind, paths) in enumerate(calls) if kind == "fsync" and "imapuid" in paths[0]]
    [seen] = [at for at, (kind, paths) in enumerate(calls) if kind == "rename" and is_message(paths[1])]
    message = calls[seen][1][0]
    assert numbers < calls.index(("fsync", [message])) < seen


@needs_setting
@pytest.mark.parametrize("name", CHANGES)
def test_always_covers_keywords_flags_folders_and_subscriptions(ground: Ground, name: str) -> None:
    disk = played(ground, name, IMAP_FSYNC="always")
    # what can be made anew from the rest need not be safe
    check(disk, lambda path: not {"tmp", "courierpyindex"} & set(path.split("/")))


@needs_setting
@pytest.mark.parametrize("name", [operation.name for operation in OPERATIONS])
def test_never_syncs_nothing(ground: Ground, name: str) -> None:
    assert [call["paths"] for call in ground.record(BY_NAME[name], IMAP_FSYNC="never")
            if call["kind"] == "fsync"] == []


def test_the_disk_forgets_what_was_not_synced() -> None:
    """The model itself: a message renamed before its fsync, and into a directory without one."""
    def call(kind: str, *paths: str) -> dict[str, Any]:
        return {"kind": kind, "paths": list(paths)}

    disk = Disk()
    disk.play([call("create", "tmp/a"), call("write", "tmp/a"), call("rename", "tmp/a", "cur/a"),
               call("create", "tmp/b"), call("write", "tmp/b"), call("fsync", "tmp/b"),
               call("rename", "tmp/b", "new/b"), call("fsync", "new"), call("answer")])
    assert (disk.early, disk.dirty, disk.loose) == (["cur/a"], {"cur/a"}, {"cur/a"})


def test_a_message_of_many_is_on_stable_storage_with_its_number(ground: Ground) -> None:
    """A session that appends again and again puts the lines behind those that are in the uiddb, whose name is
    on the disk by then."""
    operation = BY_NAME["append-other"]
    calls = ground.record(replace(operation, name="append-again", before=(operation.command,) * 3))
    uiddb = os.path.join(".Other", "courierimapuiddb")
    kinds = [call["kind"] for call in calls if uiddb in call["paths"]]
    assert [kind for kind in kinds if kind not in ("stat", "open", "close-read")] \
        == ["write", "write", "fsync", "close"]
    disk = Disk()
    disk.play(calls)
    check(disk, lambda path: is_message(path) or path == uiddb)
    # a number that a power loss leaves half is that of no message
    [written] = [at for at, call in enumerate(calls) if call["kind"] == "fsync" and uiddb in call["paths"]]
    [seen] = [at for at, call in enumerate(calls)
              if call["kind"] == "rename" and is_message(call["paths"][1])]
    assert written < seen
