"""SMAP1, Courier's second protocol: another way to speak to the same store.  See docs/smap.md."""
