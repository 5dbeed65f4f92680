"""Files of Courier and Dovecot: bytes to values and back."""
