"""Decisions of the sender, pure: replies to outcomes, outcomes to waits, contents to bytes."""
