"""The other side: transformers on the same weights, and published values."""
