"""The doors to the kernel: one for each effect."""
