"""Calibration, the integer arithmetic, and float step graph to int8 step graph."""
