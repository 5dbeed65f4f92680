"""New mail, told to who wants to hear: what is told, the queue on disk, and the ways to tell it."""
