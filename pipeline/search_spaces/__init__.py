"""Search spaces of the shipped studies: data alone."""
