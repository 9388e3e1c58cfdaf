"""Whether a machine, pictures and networks are fit for a study, before hours are spent."""
