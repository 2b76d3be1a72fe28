"""Firmware, core timing models, and the implant: sensing, radio, sleep, components and budgets."""
