#!/usr/bin/env python3
"""Real models against stored outputs and against ONNX Runtime. SPDX-License-Identifier: Apache-2.0

  check.py PARE FOLDER    (FOLDER as prepare.py made it; run with its venv/bin/python)

The worst error may be 1e-4 of the output's range.
"""
import os
import subprocess
import sys
import tempfile

import numpy
import onnxruntime

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "models")
TOLERANCE = 1e-4
results = {"passed": 0, "failed": 0}


def judge(what, found, expected):
    found, expected = numpy.asarray(found, numpy.float64), numpy.asarray(expected, numpy.float64)
    worst = numpy.inf
    if found.shape == expected.shape:
        span = max(float(expected.max() - expected.min()), 1e-30)
        worst = float(numpy.abs(found - expected).max()) / span
    right = worst <= TOLERANCE
    results["passed" if right else "failed"] += 1
    print(f"{'pass' if right else 'FAIL'}  {what}: worst error {worst:.2g} of the range")


def run_pare(pare, model, inputs):
    with tempfile.TemporaryDirectory() as folder:
        given, made = os.path.join(folder, "in.npz"), os.path.join(folder, "out.npz")
        numpy.savez(given, **inputs)
        subprocess.check_call([pare, "run", model, "-i", given, "-o", made, "--quiet"], stdout=subprocess.DEVNULL)
        with numpy.load(made) as outputs:
            return {name: outputs[name] for name in outputs}


def against_runtime(pare, path, what, inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found, expected = run_pare(pare, path, inputs), dict(zip(names, session.run(names, inputs)))
    for name in names:
        judge(f"{what}: {name} against ONNX Runtime", found[name], expected[name])
    return found


def main():
    pare, folder = os.path.abspath(sys.argv[1]), sys.argv[2]
    with numpy.load(os.path.join(DATA, "minilm_golden.npz")) as golden:
        inputs = {name: golden[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        found = against_runtime(pare, os.path.join(folder, "encoder.onnx"), "encoder, 64 sentences", inputs)
        judge("encoder: stored embeddings", found["sentence_embedding"], golden["sentence_embedding"])
        judge("encoder: stored hidden states", found["last_hidden_state"][golden["last_hidden_state_rows"]],
              golden["last_hidden_state"])
        one = {name: values[:1, :7] for name, values in inputs.items()}
        against_runtime(pare, os.path.join(folder, "encoder.onnx"), "encoder, one short sentence", one)
    with numpy.load(os.path.join(DATA, "rec_b.npz")) as golden:
        path = os.path.join(folder, "recogniser.onnx")
        found = against_runtime(pare, path, "recogniser, 4 lines", {"x": golden["x"]})
        (scores,) = found.values()
        judge("recogniser: stored characters", scores.argmax(axis=-1), golden["argmax"])
    with numpy.load(os.path.join(DATA, "cls.npz")) as golden:
        path = os.path.join(folder, "classifier.onnx")
        found = against_runtime(pare, path, "classifier, 16 images", {"x": golden["x"]})
        judge("classifier: stored outputs", next(iter(found.values())), golden["y"])
    print(f"{results['passed']} passed, {results['failed']} failed, 0 skipped")
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
