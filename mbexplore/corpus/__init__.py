"""Many texts: what every head and neuron does over a corpus, in sketches that can be merged."""
