#!/usr/bin/env python3
"""Real models against stored outputs and against ONNX Runtime. SPDX-License-Identifier: Apache-2.0

  check.py PARE FOLDER    (FOLDER as prepare.py made it; run with its venv/bin/python)

The worst error may be 1e-4 of the output's range; of one number's magnitude where the output is one number.
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
        low = float(expected.min()) if expected.size > 1 else 0.0
        span = max(abs(float(expected.max()) - low), 1e-30)
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


def page(height, width):
    """Rows of dark marks on paper, for the detector of text."""
    random = numpy.random.default_rng(1)
    image = numpy.ones((1, 3, height, width), numpy.float32)
    for y in range(20, height - 20, 30):
        for x in range(20, width - 20, 12):
            if random.random() < 0.8:
                image[:, :, y : y + 14, x : x + 8] = random.random((1, 1, 14, 8)) * 2 - 1
    return image


def published():
    """Models as their authors publish them: control flow and states, bytes, images of any size. File, what, inputs."""
    random = numpy.random.default_rng(2)
    for batch, samples, rate in ((1, 576, 16000), (3, 512, 16000), (1, 288, 8000)):
        inputs = {"input": (random.standard_normal((batch, samples)) * 0.1).astype(numpy.float32),
                  "state": random.standard_normal((2, batch, 128)).astype(numpy.float32),
                  "sr": numpy.array(rate, numpy.int64)}
        yield "speech.onnx", f"speech, {batch} x {samples} at {rate} Hz", inputs
    for batch in (1, 4):
        yield "filetype.onnx", f"file types, {batch} files", {"bytes": random.integers(0, 257, (batch, 2048), numpy.int32)}
    for height, width in ((320, 320), (256, 416)):
        yield "detector.onnx", f"text detector, {height} x {width}", {"x": page(height, width)}


def stored(name, *inputs):
    """Inputs that lie beside the outputs that they give."""
    with numpy.load(os.path.join(DATA, name)) as golden:
        return {name: golden[name] for name in inputs}


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
    for name, what, inputs in published():
        against_runtime(pare, os.path.join(folder, name), what, inputs)
    print(f"{results['passed']} passed, {results['failed']} failed, 0 skipped")
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
