"""IMAP: all that speaks it."""
