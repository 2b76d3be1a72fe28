"""Decoders that the student is held against: Kalman filter, GRU, LSTM, causal transformer, and the student without distillation.

All are causal, see the student's standardised inputs, and are scored like it: over the whole held-out session with the state
carried. A module has ``fit(...)``, or ``build(...)`` for what :func:`realm_edge.baselines.sequence.train` trains step by step, and
each model a ``predict`` that gives (bins, dims) in target units. The Wiener filter is in :mod:`realm_edge.wiener`. ``autoencoded`` and
``bidirectional`` are no competitors: what masked autoencoding alone buys, and what the future would add.
"""
