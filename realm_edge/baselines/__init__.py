"""Decoders that the student is held against: Kalman filter, GRU, LSTM, causal transformer, and the student without distillation.

All are causal, see the student's standardised inputs, and are scored like it: over the whole held-out session with the state
carried. Each module has ``fit(...)``, which returns the model (and its :class:`realm_edge.training.loop.History` where it is
trained step by step), and each model a ``predict`` that gives (bins, dims) in target units. The Wiener filter is in
:mod:`realm_edge.wiener`.
"""
