"""Roots in a forest that changes, against walking up; and that no References make threading slow."""
from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from courierpy.message import threads
from courierpy.message.roots import Roots
from courierpy.message.threads import Mail


def walked(parent: list[int], node: int) -> int:
    while parent[node] >= 0:
        node = parent[node]
    return node


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=60))
def test_against_walking_up(known: int, steps: list[tuple[int, int]]) -> None:
    """Each step links a root below a node of another tree, or takes a node off."""
    parent = [-1] * 12
    roots = Roots(parent[:known])      # the others are first seen when they are linked
    for node, child in steps:
        if parent[child] >= 0:
            roots.cut(child)
            parent[child] = -1
        elif walked(parent, node) != child:
            roots.link(node, child)
            parent[child] = node
        assert [roots.find(one) for one in range(12)] == [walked(parent, one) for one in range(12)]


def test_a_chain_that_is_closed_again_and_again_costs_no_squares() -> None:
    """The time limit of the tests would tell: by walking up it were 10^10 steps."""
    count = 100_000
    chain = [b"%d" % number for number in range(count)]
    around = [ref for number in range(count) for ref in (chain[-1 - number % 1000], chain[0])]
    mails = [Mail(1, 0.0, "", own=b"first", refs=chain + around),
             Mail(2, 0.0, "", own=chain[count // 2], refs=[b"elsewhere"]),         # takes half of it off
             Mail(3, 0.0, "", own=b"last", refs=around)]
    assert sorted(set(str(threads.references(mails))) & set("123")) == ["1", "2", "3"]


def test_many_that_leave_one_parent_cost_no_squares() -> None:
    count = 60_000
    children = [b"%d" % number for number in range(count)]
    mails = [Mail(1, 0.0, "", own=b"m", refs=[ref for child in children for ref in (b"parent", child)])]
    random.Random(1).shuffle(children)
    mails += [Mail(2 + at, 0.0, "", own=child, refs=[b"other"]) for at, child in enumerate(children)]
    assert len(str(threads.references(mails))) > count
