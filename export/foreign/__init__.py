"""Step graphs of other people: which tensors are input, output and states, and the same graph in this project's own operators.

A graph is not rewritten node by node. It is traced: a tensor is an array of the numbers of its elements, so that whatever only moves
elements (reshape, slice, transpose, concatenate, expand) is done to that array and costs nothing on the implant, and what computes makes
new elements. What was traced (:mod:`export.foreign.tape`) is then written down as a float step graph (:mod:`export.foreign.emit`).
"""
