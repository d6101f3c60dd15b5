"""Losses that torch has not, or has only as a mean: each a function on tensors."""
