"""What users write and read: the four kinds, their names, and the generator of their CRDs."""
