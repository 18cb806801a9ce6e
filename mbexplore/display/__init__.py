"""Blocks, and one renderer each for terminal, figure, data and browser."""
