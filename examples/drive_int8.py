"""Decode with a run's int8 files: onnxruntime and numpy only. Usage: python drive_int8.py RUN_DIRECTORY SAMPLES.npy > decoded.csv"""

import json
import sys

import numpy as np
import onnxruntime


def open_step_graph(path):
    session = onnxruntime.InferenceSession(path)
    properties = session.get_modelmeta().custom_metadata_map
    states, io = json.loads(properties["states"]), json.loads(properties["io"])
    return session, states, io, {s["in"]: np.zeros(s["shape"], s["dtype"]) for s in states}


def step(graph, **inputs):
    session, states, _, values = graph
    results = dict(zip([o.name for o in session.get_outputs()], session.run(None, {**inputs, **values}), strict=True))
    values.update({s["in"]: results[s["out"]] for s in states})
    return results


frontend, decoder = (open_step_graph(f"{sys.argv[1]}/{name}.int8.onnx") for name in ("frontend", "decoder"))
scale, offset = (np.array(decoder[2]["decoded"][key]) for key in ("scale", "offset"))
for sample in np.load(sys.argv[2]):  # (samples, channels) int16: ADC counts at the front end's rate
    tick = step(frontend, sample=sample)
    if tick["valid"][0]:
        print(*(step(decoder, features=tick["features"])["decoded"] * scale + offset), sep=",")
