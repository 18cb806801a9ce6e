"""Ours against transformers: the same work on the same weights, in turn, each in a process."""
