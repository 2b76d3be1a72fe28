"""The application on top of everything: command line, run directory, stages and report."""
