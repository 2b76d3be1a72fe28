"""A comparison over seeds, held-out sessions, shares of labels and decoders, that resumes where it stopped.

``tasks``: which session is decoded and which pretrain; ``decoders``: the arms; ``sweep``: one result file a cell;
``summary`` and ``table``: means, intervals, Markdown, JSON and the plot.
"""
