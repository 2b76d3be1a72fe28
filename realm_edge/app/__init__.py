"""The application on top of everything: command line, functions for notebooks, run directory, stages and report."""
