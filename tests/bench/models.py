#!/usr/bin/env python3
"""Times models beside ONNX Runtime. SPDX-License-Identifier: Apache-2.0

  models.py PARE FOLDER [--rounds N] [--json FILE] [NAME...]    (FOLDER as tests/models/prepare.py made it)

Each side is a process of its own, on the same two cores, one after the other, A B A B; a figure is the median over the
rounds of a process's median. NAME: encoder, recogniser, classifier.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

import numpy

CASES = [("encoder", (1, 32)), ("encoder", (1, 128)), ("encoder", (32, 32)), ("recogniser", (1, 3, 48, 320)),
         ("classifier", (1, 3, 48, 192)), ("classifier", (16, 3, 48, 192))]
ASKED = 1.0

PEER = """
import sys, time, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
inputs = dict(numpy.load(sys.argv[2]))
taken, until = [], 0
for _ in range(3):
    session.run(None, inputs)
until = time.perf_counter() + float(sys.argv[3])
while time.perf_counter() < until or len(taken) < 3:
    begun = time.perf_counter()
    session.run(None, inputs)
    taken.append(time.perf_counter() - begun)
print(1e3 * sorted(taken)[len(taken) // 2])
"""


def make_inputs(name, shape, path):
    generator = numpy.random.default_rng(1)
    if name == "encoder":
        ones = numpy.ones(shape, numpy.int64)
        inputs = {"input_ids": generator.integers(1000, 20000, shape), "attention_mask": ones, "token_type_ids": 0 * ones}
    else:
        inputs = {"x": generator.random(shape, numpy.float32)}
    numpy.savez(path, **inputs)


def time_pare(pare, model, inputs, seconds):
    out = subprocess.check_output([pare, "bench", model, "-i", inputs, "--duration", f"{seconds}s", "--json", "-q"],
                                  env={**os.environ, "POCL_AFFINITY": "1"})
    return json.loads(out)[0]["median_ms"]


def time_peer(model, inputs, seconds):
    return float(subprocess.check_output([sys.executable, "-c", PEER, model, inputs, str(seconds)]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pare")
    parser.add_argument("folder")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json")
    options = parser.parse_args()
    pare, report = os.path.abspath(options.pare), []
    print(f"load {os.getloadavg()[0]:.1f}; milliseconds a run, medians of {options.rounds} rounds")
    print(f"{'model':<12} {'shape':<18} {'pare':>9} {'ONNX Runtime':>13} {'ratio':>7}")
    for name, shape in CASES:
        if options.names and name not in options.names:
            continue
        model, inputs = os.path.join(options.folder, name + ".onnx"), os.path.join(options.folder, "bench.npz")
        make_inputs(name, shape, inputs)
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(time_pare(pare, model, inputs, options.seconds))
            theirs.append(time_peer(model, inputs, options.seconds))
        a, b = statistics.median(ours), statistics.median(theirs)
        text = "x".join(map(str, shape))
        print(f"{name:<12} {text:<18} {a:>9.2f} {b:>13.2f} {b / a:>6.2f}x{'' if b / a >= ASKED else '  missed'}", flush=True)
        report.append({"model": name, "shape": shape, "pare_ms": ours, "onnxruntime_ms": theirs, "ratio": b / a})
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"load": os.getloadavg(), "cases": report}, file, indent=1)


if __name__ == "__main__":
    main()
