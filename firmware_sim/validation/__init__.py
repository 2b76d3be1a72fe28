"""Cycle tables against RTL: programs, test benches, and the error of each."""
