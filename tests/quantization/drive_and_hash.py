"""Drives an int8 step graph over rows and prints the SHA-256 of all outputs and states. Usage: drive_and_hash.py MODEL.onnx ROWS.npy"""

import hashlib
import json
import sys

import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
states = json.loads(session.get_modelmeta().custom_metadata_map["states"])
values = {s["in"]: np.zeros(s["shape"], s["dtype"]) for s in states}
data = next(i.name for i in session.get_inputs() if i.name not in values)
names = [o.name for o in session.get_outputs()]
digest = hashlib.sha256()
for row in np.load(sys.argv[2]):
    results = dict(zip(names, session.run(None, {data: row, **values}), strict=True))
    values = {s["in"]: results[s["out"]] for s in states}
    for name in sorted(names):
        digest.update(results[name].tobytes())
print(digest.hexdigest())
