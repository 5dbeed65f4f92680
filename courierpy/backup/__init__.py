"""Copies of Maildirs: how they are made, where they are, and how messages come back from them."""
