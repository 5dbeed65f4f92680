"""LMTP: an MTA hands over mail for several recipients, and is told of each.  RFC 2033."""
