"""Files that come with the package: the bundled model, samples, pictures of the README."""
