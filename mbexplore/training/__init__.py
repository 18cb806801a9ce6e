"""The masked-language-modelling trainer that made the bundled model, and its measures."""
