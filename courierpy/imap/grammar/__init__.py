"""The IMAP grammar: bytes to values and back.  Pure: no files, no sockets."""
