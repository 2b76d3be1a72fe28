"""Science part of realm-edge: recordings, causal features, models, training, evaluation, report and command line."""

__version__ = "0.1.0"
