"""Measures courierpy, Courier and Dovecot side by side, over IMAP on loopback: docs/benchmarks.md."""
