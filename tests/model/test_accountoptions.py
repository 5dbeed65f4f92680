"""Options of an account: the first of a name counts, blanks do not."""
from __future__ import annotations

import pytest

from courierpy.model.accountoptions import option, says_yes


@pytest.mark.parametrize(("options", "value", "yes"), [
    ("", "", False), ("a", "", False), ("a=", "", False), ("a=0", "0", False), ("a=1", "1", True),
    ("a=25", "25", True), ("a=t", "t", True), ("a=Yes", "Yes", True), ("a=no", "no", False),
    ("a=-1", "-1", False),
    ("b=1,a=0,a=1", "0", False), ("a=1,a=0", "1", True), (" a = y , b", "y", True), ("aa=1", "", False),
    ("b=a=1", "", False), ("a=x=1", "x=1", False)])
def test_the_first_counts(options: str, value: str, yes: bool) -> None:
    assert option(options, "a") == value
    assert says_yes(options, "a") is yes
