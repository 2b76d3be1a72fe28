"""Readers of recordings: :func:`realm_edge.readers.reading.read_recording` opens any of them."""
