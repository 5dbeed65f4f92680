"""The accounts of LMTP's tests, and programs that ask for them."""
from __future__ import annotations

from tests.lmtp.conftest import nursery, post

__all__ = ["nursery", "post"]
