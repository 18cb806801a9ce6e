"""The model and nothing else: configuration, rotation, attention, products, layers and heads."""
