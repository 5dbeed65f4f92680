"""What strangers write, mutated, is fed to what reads it: by the suite briefly, by ``make fuzz`` for long."""
