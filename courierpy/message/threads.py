"""Threads of messages.  RFC 5256 BASE.6.4.THREAD.  Pure; depth costs no Python calls.

A message comes as a ``Mail``; a thread goes out as nested lists of numbers:
``[3, 6, [[4, 23], [44, 7, 96]]]`` is 3, answered by 6, answered by 4 and by 44.
"""
from __future__ import annotations

import re

from courierpy.message.roots import Roots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

PARTS_AT_ONCE = 8192           # of the text of threads, that are put together
_ID = re.compile(rb'<\s*("(?:[^"\\]|\\.)*"|[^<>@"\s]+)\s*@\s*([^<>\s]+)\s*>')
_ESCAPE = re.compile(rb"\\(.)")


class Mail:
    """A message, as far as threads go by it.

    ``number``: sequence number or UID.  ``date``: sent date, seconds.  ``subject``: key
    of the base subject; ``reply``: was it one.  ``own``, ``refs``: message IDs."""

    __slots__ = ("date", "number", "own", "refs", "reply", "subject")

    def __init__(self, number: int, date: float, subject: str, reply: bool = False,
                 own: bytes | None = None, refs: Iterable[bytes] = ()) -> None:
        self.number = number
        self.date = date
        self.subject = subject
        self.reply = reply
        self.own = own
        self.refs = list(refs)


def message_ids(value: bytes) -> list[bytes]:
    """The valid message IDs of a header, each in one form however it is quoted."""
    found = []
    for match in _ID.finditer(value):
        local = match[1]
        if local.startswith(b'"'):
            local = _ESCAPE.sub(rb"\1", local[1:-1])
        found.append(local + b"@" + match[2])
    return found


def references(mails: Iterable[Mail]) -> list[object]:
    """REFERENCES; ``mails`` in the order of their sequence numbers."""
    mails = list(mails)
    return [*by_references([mail.number for mail in mails], [mail.date for mail in mails],
                           [mail.subject for mail in mails], [mail.reply for mail in mails],
                           [mail.own for mail in mails], [mail.refs for mail in mails])]


def by_references(numbers: Sequence[int], dates: Sequence[float], subjects: Sequence[str | bytes],
                  replies: Sequence[object], owns: Sequence[Hashable | None],
                  refs: Sequence[Iterable[Hashable]]) -> Iterator[list[object]]:
    """REFERENCES of messages given as columns, ``numbers`` ascending; see ``Mail`` for the rest.  A message
    ID may be any value that is equal for equal IDs: an interned number, say.  A thread is made when
    it is asked for."""
    forest = _Forest(owns, refs)                               # (1)
    roots = forest.prune()                                     # (2), (3)
    key = forest.ranks(dates)
    forest.sort([node for node in roots if key[node] < 0], key)        # (4)
    roots.sort(key=key.__getitem__)
    roots = forest.merge(roots, key, subjects, replies)        # (5)
    forest.sort(forest.below(roots), key)                      # (6)
    roots.sort(key=key.__getitem__)
    return forest.lists(roots, numbers)


def by_latest(numbers: Sequence[int], dates: Sequence[float], owns: Sequence[Hashable | None],
              refs: Sequence[Iterable[Hashable]]) -> Iterator[list[object]]:
    """REFS: as by_references, but subjects bring nothing together, and the threads are in the order of
    the latest message of each."""
    forest = _Forest(owns, refs)
    roots = forest.prune()
    key = forest.ranks(dates)
    latest = list(key)
    order = forest.below(roots)
    for node in reversed(order):
        latest[node] = max(latest[node], *[latest[child] for child in forest.children[node]])
    forest.sort(order, key)
    roots.sort(key=latest.__getitem__)
    return forest.lists(roots, numbers)


class _Forest:
    """Messages and places for messages that are not there, as nodes 0, 1, 2, ...

    ``mail``: the message's place in the columns, -1 for a dummy.  ``parent``: a
    node, -1 for none.  ``group``: union-find over nodes that were ever linked; ``parted``: which
    groups are more than one tree, as something was taken off; ``roots``: once that matters.
    """

    def __init__(self, owns: Iterable[Hashable | None], refs: Iterable[Iterable[Hashable]]) -> None:
        """(1) parents and children by message ID."""
        self.mail: list[int] = []
        self.parent: list[int] = []
        self.group: list[int] = []
        self.parted: set[int] = set()
        self.roots: Roots | None = None
        known: dict[Hashable, int] = {}
        mail, parent, group, new, adopt = self.mail, self.parent, self.group, self._new, self._adopt
        for at, (own, references) in enumerate(zip(owns, refs, strict=True)):
            node = -1 if own is None else known.get(own, -1)
            if node < 0 or mail[node] >= 0:        # a new ID, none, or one that is taken
                node = len(mail)                   # as _new()
                mail.append(at)
                parent.append(-1)
                group.append(node)
                if own is not None:
                    known.setdefault(own, node)
            else:
                mail[node] = at
            before = -1
            for ref in references:                 # (A)
                there = known.get(ref, -1)
                if there < 0:
                    there = known[ref] = new(-1)
                if before >= 0 and parent[there] < 0:
                    adopt(before, there)
                before = there
            if before < 0 or parent[node] != before:        # (B)
                if parent[node] >= 0:
                    self._take_off(node)
                if before >= 0:
                    adopt(before, node)
        self.children: list[list[int]] = [[] for _ in parent]
        for node, above in enumerate(parent):
            if above >= 0:
                self.children[above].append(node)

    def _new(self, mail: int) -> int:
        node = len(self.mail)
        self.mail.append(mail)
        self.parent.append(-1)
        self.group.append(node)
        return node

    def _find(self, node: int) -> int:
        group = self.group
        while group[node] != node:
            group[node] = node = group[group[node]]
        return node

    def _adopt(self, node: int, child: int) -> None:
        """Make ``child``, which has no parent, a child of ``node``, unless that would be a loop."""
        one, two = self._find(node), self._find(child)
        if one != two:
            self.group[two] = one
            if two in self.parted:
                self.parted.add(one)
        elif one not in self.parted:
            return                     # they are one tree, and ``child`` is its root
        else:
            if self.roots is None:
                self.roots = Roots(self.parent)
            if self.roots.find(node) == child:
                return
        self.parent[child] = node
        if self.roots is not None:
            self.roots.link(node, child)

    def _take_off(self, node: int) -> None:
        """Part it from its parent."""
        self.parted.add(self._find(node))
        self.parent[node] = -1
        if self.roots is not None:
            self.roots.cut(node)

    def ranks(self, dates: Sequence[float]) -> list[int]:
        """For each node the place of its message by date, -1 for a dummy; equal dates stay in the order of
        the messages."""
        rank = [0] * len(dates)
        for place, at in enumerate(sorted(range(len(dates)), key=dates.__getitem__)):
            rank[at] = place
        return [rank[mail] if mail >= 0 else -1 for mail in self.mail]

    def below(self, roots: Iterable[int]) -> list[int]:
        """The nodes of the trees that have children, parents before children."""
        children = self.children
        order = [node for node in roots if children[node]]
        for node in order:             # grows while it is walked
            for child in children[node]:
                if children[child]:
                    order.append(child)
        return order

    def prune(self) -> list[int]:
        """(2) The nodes without a parent.  (3) Dummies go; their children take their
        place, at the top only a single one."""
        mail, children = self.mail, self.children
        roots = [node for node, parent in enumerate(self.parent) if parent < 0]
        for node in reversed(self.below(roots)):
            kept: list[int] = []
            for child in children[node]:
                if mail[child] >= 0:
                    kept.append(child)
                else:
                    kept += children[child]
            children[node] = kept
        top: list[int] = []
        for node in roots:
            if mail[node] >= 0 or len(children[node]) > 1:
                top.append(node)
            else:
                top += children[node]
        return top

    def sort(self, order: list[int], key: list[int]) -> None:
        """The children of these nodes by their keys, the last nodes first; the key of a
        dummy becomes that of its first child."""
        for node in reversed(order):
            children = self.children[node]
            if len(children) > 1:
                children.sort(key=key.__getitem__)
            if self.mail[node] < 0:
                key[node] = key[children[0]]

    def merge(self, roots: list[int], key: list[int], subjects: Sequence[str | bytes],
              replies: Sequence[object]) -> list[int]:
        """(5) Threads of one subject come together."""
        mail, children = self.mail, self.children
        said = [mail[node] if mail[node] >= 0 else mail[children[node][0]] for node in roots]
        table: dict[str | bytes, tuple[int, int]] = {}     # subject -> (node, message that has the subject)
        for node, at in zip(roots, said, strict=True):         # (B)
            subject = subjects[at]
            if not subject:
                continue
            held = table.get(subject)
            if held is None or (mail[held[0]] >= 0
                                and (mail[node] < 0 or (replies[held[1]] and not replies[at]))):
                table[subject] = node, at
        gone: set[int] = set()
        dummies: dict[int, int] = {}
        for node, at in zip(roots, said, strict=True):         # (C)
            subject = subjects[at]
            held = table.get(subject)
            if held is None or held[0] == node:
                continue
            first = held[0]
            if mail[first] < 0 and mail[node] < 0:
                children[first] += children[node]
            elif mail[first] < 0 or (replies[at] and mail[node] >= 0 and not replies[held[1]]):
                children[first].append(node)
            else:
                both = self._new(-1)
                key.append(-1)
                children.append([first, node])
                table[subject] = both, held[1]
                dummies[first] = both
            gone.add(node)
        return [dummies.get(node, node) for node in roots if node not in gone]

    def lists(self, roots: list[int], numbers: Sequence[int]) -> Iterator[list[object]]:
        """The nested lists of the threads."""
        mail, children = self.mail, self.children
        stack: list[tuple[int, list[object]]] = []
        for root in roots:
            if not children[root]:         # most often
                yield [numbers[mail[root]]]
                continue
            thread: list[object] = []
            stack.append((root, thread))
            while stack:
                node, here = stack.pop()
                if mail[node] >= 0:
                    here.append(numbers[mail[node]])
                below = children[node]
                while len(below) == 1:
                    [node] = below
                    here.append(numbers[mail[node]])
                    below = children[node]
                if below:
                    tails: list[object] = []
                    here.append(tails)
                    for child in below:
                        tail: list[object] = []
                        tails.append(tail)
                        stack.append((child, tail))
            yield thread


def ordered_subject(mails: Iterable[Mail]) -> list[object]:
    """ORDEREDSUBJECT: by base subject, then by date; no grandchildren."""
    groups: dict[str, list[Mail]] = {}
    for mail in sorted(mails, key=lambda mail: (mail.date, mail.number)):
        groups.setdefault(mail.subject, []).append(mail)
    threads: list[object] = []
    for first, *rest in groups.values():           # in the order of their first messages
        if len(rest) == 1:
            threads.append([first.number, rest[0].number])
        else:
            threads.append([first.number, [[mail.number] for mail in rest]] if rest else [first.number])
    return threads


def render(threads: Iterable[object]) -> Iterator[bytes]:
    """``(1 2)(3 (4)(5))``, in pieces."""
    for form, numbers in shapes(threads):
        yield form % tuple(numbers)


def shapes(threads: Iterable[object]) -> Iterator[tuple[bytes, list[int]]]:
    """(``(%d %d)(%d (%d)(%d))``, the numbers that stand there), in pieces."""
    parts: list[bytes] = []
    numbers: list[int] = []
    ends, heads = _Chains(b"(%s)"), _Chains(b"(%s ")
    for thread in threads:
        stack = [thread]
        while stack:
            item = stack.pop()
            if isinstance(item, bytes):
                parts.append(item)
                continue
            assert isinstance(item, list)
            below = item[-1] if item else 0
            if not isinstance(below, list):        # most often
                parts.append(ends[len(item)])
                numbers += item
            else:
                parts.append(heads[len(item) - 1] if len(item) > 1 else b"(")
                numbers += item[:-1]
                stack.append(b")")
                stack.extend(reversed(below))
            if len(parts) > PARTS_AT_ONCE or len(numbers) > PARTS_AT_ONCE:
                yield b"".join(parts), numbers
                parts.clear()
                numbers = []
    yield b"".join(parts), numbers


class _Chains(dict[int, bytes]):
    """The form of so many messages that answer one another."""

    def __init__(self, around: bytes) -> None:
        self._around = around

    def __missing__(self, count: int) -> bytes:
        form = self._around.replace(b"%s", b" ".join([b"%d"] * count))
        if count <= PARTS_AT_ONCE:
            self[count] = form
        return form
