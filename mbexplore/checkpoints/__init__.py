"""From a name to files, tensors and a tokenizer."""
