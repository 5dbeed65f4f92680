"""The root of each node of a forest that changes, in logarithmic time: link/cut trees.

Sleator and Tarjan, Journal of Computer and System Sciences 26 (1983).  A path of the forest
is a splay tree in the order of depth; the topmost node of such a tree has the node above the
path as ``_up``, which does not have it as ``_left`` or ``_right``.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Roots:
    """Of nodes 0, 1, 2, ...; a node that was never linked is its own root."""

    def __init__(self, parent: Sequence[int]) -> None:
        """``parent``: of each node, -1 for none."""
        self._up = list(parent)        # each node is a path of its own
        self._left = [-1] * len(parent)
        self._right = [-1] * len(parent)

    def find(self, node: int) -> int:
        """The root of the tree that ``node`` is in."""
        self._access(node)
        while self._left[node] >= 0:
            node = self._left[node]
        self._splay(node)              # so that it is found sooner the next time
        return node

    def link(self, node: int, child: int) -> None:
        """Put ``child``, a root, below ``node`` of another tree."""
        self._grow(node)
        self._access(child)
        self._up[child] = node

    def cut(self, child: int) -> None:
        """Make ``child`` a root."""
        self._access(child)
        above = self._left[child]
        if above >= 0:
            self._left[child] = self._up[above] = -1

    def _grow(self, node: int) -> None:
        more = node + 1 - len(self._up)
        if more > 0:
            for column in (self._up, self._left, self._right):
                column += [-1] * more

    def _access(self, node: int) -> None:
        """Make the way from the root to ``node`` one path, with ``node`` at the top of its splay tree."""
        self._grow(node)
        last, at = -1, node
        while at >= 0:
            self._splay(at)
            self._right[at] = last     # what was below leaves the path
            last, at = at, self._up[at]
        self._splay(node)

    def _splay(self, node: int) -> None:
        up = self._up
        while self._inner(node):
            parent = up[node]
            if self._inner(parent):
                same = (self._left[parent] == node) == (self._left[up[parent]] == parent)
                self._rotate(parent if same else node)
            self._rotate(node)

    def _inner(self, node: int) -> bool:
        """Is something above it in its splay tree?"""
        parent = self._up[node]
        return parent >= 0 and node in (self._left[parent], self._right[parent])

    def _rotate(self, node: int) -> None:
        """Change places with the one above."""
        up, parent = self._up, self._up[node]
        above = up[parent]
        inner = self._inner(parent)
        near, far = (self._left, self._right) if self._left[parent] == node else (self._right, self._left)
        moved = near[parent] = far[node]
        if moved >= 0:
            up[moved] = parent
        far[node] = parent
        up[parent] = node
        up[node] = above
        if inner:
            side = self._left if self._left[above] == parent else self._right
            side[above] = node
