"""Pure words of all rooms: values without effects.  Imports nothing of ours."""
