"""Other implementations of ModernBERT beside ours, and the faults by which they part."""
