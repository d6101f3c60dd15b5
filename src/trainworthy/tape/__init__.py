"""The tape: the record of training steps, virtual or real, as plain data."""
