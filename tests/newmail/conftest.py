"""One nursery, and accounts that lmtpd brings mail to: as in the dialogues of LMTP."""
from tests.lmtp.conftest import client, nursery, post

__all__ = ["client", "nursery", "post"]
