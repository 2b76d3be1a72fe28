"""A bundle in the projects of others: what lies in it for their build systems, libraries for Linux, and samples that build as they are."""
