"""POP3: the dialogue before the login, and the session over a Maildir's INBOX.  RFC 1939, RFC 2449."""
