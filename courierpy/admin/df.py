"""courierpy df: how full the file systems are that hold Maildirs, in octets and in inodes."""
from __future__ import annotations

import json
import os
import tempfile

from courierpy.admin import complain, explain, maildirs
from courierpy.admin.progress import say, size_of
from courierpy.maildir.quotacount import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.admin.maildirs import Place
    from courierpy.maildir.store import Store


def main(words: list[str]) -> int:
    parser = maildirs.parser("df", __doc__)
    parser.add_argument("-m", dest="indexes", action="store_true", help="that hold the indexes")
    parser.add_argument("--top", type=int, default=0, metavar="N",
                        help="also the N Maildirs whose messages are largest")
    parser.add_argument("-J", dest="as_json", action="store_true", help="a JSON object a line")
    options = parser.parse_args(words)
    work = maildirs.Maildirs(options, parser)
    # what each of them says, be it from a child: a line of JSON
    with tempfile.TemporaryFile() as said:
        fd = said.fileno()
        work.each(lambda store, place: _work(store, place, fd, options.indexes, options.top > 0),
                  read_only=True)
        said.seek(0)
        rows = [json.loads(line) for line in said]
    systems: dict[int, list[str]] = {}
    for row in rows:
        systems.setdefault(row["device"], []).append(row["path"])
    if rows and not options.as_json:
        print("       Size        Used       Avail  Use%      Inodes       IUsed  IUse%  Maildirs")
    for paths in systems.values():
        try:
            _tell(paths, options.as_json)
        except OSError as error:
            complain(explain(error, paths[0]))
            work.status = max(work.status, maildirs.status_of(error))
    for row in sorted(rows, key=lambda row: (-row["octets"], row["path"]))[:options.top]:
        if options.as_json:
            print(json.dumps({"maildir": row["maildir"], "user": row["user"] or None, "octets": row["octets"],
                              "messages": row["messages"]}))
        else:
            whose = row["user"] or row["maildir"]
            say(f"{size_of(row['octets']):>12}  {row['messages']:>9} messages  {whose}")
    return work.status


def _work(store: Store, place: Place, fd: int, indexes: bool, counts: bool) -> int:
    path = os.path.abspath(store.options.index(store.layout.inbox).path if indexes else store.root)
    while not os.path.exists(path):    # an index that is not there yet
        path = os.path.dirname(path)
    there = count(b".") if counts else None
    row = {"maildir": place.maildir, "user": place.user, "path": path, "device": os.stat(path).st_dev,
           "octets": there.octets if there else 0, "messages": there.messages if there else 0}
    os.write(fd, json.dumps(row).encode() + b"\n")
    return 0


def _tell(paths: list[str], as_json: bool) -> None:
    disk = os.statvfs(paths[0])
    size, free, avail = (blocks * disk.f_frsize for blocks in (disk.f_blocks, disk.f_bfree, disk.f_bavail))
    used, inodes_used = size - free, disk.f_files - disk.f_ffree
    # as df(1): what only root may use counts for neither side
    percent = -(-used * 100 // (used + avail)) if used + avail else 0
    inodes_percent = -(-inodes_used * 100 // disk.f_files) if disk.f_files else 0
    if as_json:
        print(json.dumps({"path": paths[0], "maildirs": len(paths), "octets": size, "used": used,
                          "avail": avail, "percent": percent, "inodes": disk.f_files,
                          "inodes_used": inodes_used, "inodes_percent": inodes_percent}))
        return
    kib = [number // 1024 for number in (size, used, avail)]
    say(f"{kib[0]:11} {kib[1]:11} {kib[2]:11}  {percent:3}% {disk.f_files:11} {inodes_used:11}  "
        f"{inodes_percent:4}%  {len(paths)} ({paths[0]})")
