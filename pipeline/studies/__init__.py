"""The studies that come with the package, each a lab note: data alone."""
