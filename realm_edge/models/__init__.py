"""Mamba-2, the bidirectional teacher and the causal student."""
