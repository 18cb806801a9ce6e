"""Many texts: what every head and neuron does over a corpus, in sketches that can be merged."""

VARIABLE = "MBEXPLORE_CORPUS"
"""Names the corpus that is looked at where none is given; of several models, one each with the
separator of $PATH between them."""
