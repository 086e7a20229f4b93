#!/usr/bin/env python3
"""Compressed models as foreign readers see them. SPDX-License-Identifier: Apache-2.0

  foreign.py PARE MODEL DATA.npz [ENCODER-FOLDER]

Compresses MODEL in every form. onnx.checker and ONNX Runtime must take each file, and ONNX Runtime must agree with
pare run. Of the sentence encoder (as prepare.py makes it) size and cosine to the f32 embeddings are judged as well.
"""
import os
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime

HERE = os.path.dirname(os.path.abspath(__file__))
# Name, options, least cosine of ONNX Runtime's outputs with pare's. ONNX Runtime's products of 8 bits saturate on CPUs
# without VNNI, and it may quantise the inputs of int4 products.
FORMS = [
    ("int8", ["--quantize", "int8"], 0.999),
    ("int4", ["--quantize", "int4"], 0.999),
    ("w8a8", ["--quantize", "w8a8"], 0.97),
    ("f16", ["--quantize", "f16"], 0.999999),
    ("2:4", ["--prune", "2:4"], 0.999999),
    ("2:4 and int8", ["--prune", "2:4", "--quantize", "int8"], 0.999),
    ("magnitude and int4", ["--prune", "magnitude:0.3", "--quantize", "int4"], 0.999),
    ("random and f16", ["--prune", "random:0.2", "--quantize", "f16"], 0.999999),
]
# Of the encoder: least mean cosine, largest size to f32.
ENCODER = {"int8": (0.9995, 0.26), "int4": (0.975, 0.17), "w8a8": (0.9925, 0.26), "f16": (0.9999, 0.51)}
results = {"passed": 0, "failed": 0}


def judge(what, right):
    results["passed" if right else "failed"] += 1
    print(f"{'pass' if right else 'FAIL'}  {what}")


def cosine(a, b):
    """The mean over the first dimension."""
    a, b = a.reshape(len(a), -1).astype(numpy.float64), b.reshape(len(b), -1).astype(numpy.float64)
    return float(((a * b).sum(1) / (numpy.linalg.norm(a, axis=1) * numpy.linalg.norm(b, axis=1))).mean())


def run_pare(pare, model, inputs, folder):
    given, made = os.path.join(folder, "in.npz"), os.path.join(folder, "out.npz")
    numpy.savez(given, **inputs)
    subprocess.check_call([pare, "run", model, "-i", given, "-o", made, "--quiet"], stdout=subprocess.DEVNULL)
    with numpy.load(made) as outputs:
        return {name: outputs[name] for name in outputs}


def run_foreign(model, inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def check_form(pare, model, inputs, form, folder):
    """Pare's outputs, and the size to the original's."""
    name, options, least = form
    small = os.path.join(folder, "small.onnx")
    subprocess.check_call([pare, "-q", "compress", model, small, *options], stdout=subprocess.DEVNULL)
    onnx.checker.check_model(small, full_check=True)
    found, expected = run_pare(pare, small, inputs, folder), run_foreign(small, inputs)
    for output, values in expected.items():
        same = cosine(found[output], values)
        judge(f"{name}: {output}: ONNX Runtime and pare agree to {same:.6f}, {least} at least", same >= least)
    return found, os.path.getsize(small) / os.path.getsize(model)


def check_encoder(pare, folder):
    model = os.path.join(folder, "encoder.onnx")
    with numpy.load(os.path.join(HERE, "..", "data", "models", "minilm_golden.npz")) as golden:
        inputs = {name: golden[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        expected = golden["sentence_embedding"]
    for form in FORMS:
        if form[0] not in ENCODER:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            found, size = check_form(pare, model, inputs, (form[0], form[1], 0.95), scratch)
        least, most = ENCODER[form[0]]
        same = cosine(found["sentence_embedding"], expected)
        judge(f"encoder, {form[0]}: cosine {same:.5f} to f32, {least} at least", same >= least)
        judge(f"encoder, {form[0]}: {size:.4f} of the file, {most} at most", size <= most)


def main():
    pare, model, data = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
    taken = [value.name for value in onnx.load(model).graph.input]
    with numpy.load(data) as arrays:
        inputs = {name: arrays[name] for name in taken}
    for form in FORMS:
        with tempfile.TemporaryDirectory() as scratch:
            check_form(pare, model, inputs, form, scratch)
    if len(sys.argv) > 4:
        check_encoder(pare, sys.argv[4])
    print(f"{results['passed']} passed, {results['failed']} failed, 0 skipped")
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
