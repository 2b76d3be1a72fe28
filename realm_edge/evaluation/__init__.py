"""A comparison over seeds, held-out sessions, shares of labels and decoders, and studies that vary one thing; both resume.

``tasks``: which session is decoded and which pretrain; ``bench``, ``pretrained``, ``decoders``: the arms; ``cells`` and ``workers``: one
result file a cell, in several processes; ``summary``, ``convergence``, ``blocks``: means and intervals; ``sweep`` and ``table``: the
comparison; ``studies``, ``study``, ``study_output``: the studies; ``zero_phase``: features that no implant can have.
"""
