"""Science part of realm-edge: recordings, causal features, models, training, evaluation, report and command line."""

from realm_edge import environment

__version__ = "0.1.0"

environment.settle()  # whichever module is imported first, this one is before it
