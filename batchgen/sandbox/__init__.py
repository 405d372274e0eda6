"""A make-believe generation service that charges make-believe money."""
