"""The store: a Maildir with Courier's files.  Knows nothing of IMAP or clients."""
