"""Idle connections without a process: the keeper, and how sessions go to it and come back."""
