#!/usr/bin/env python3
"""Compressed models as foreign readers see them. SPDX-License-Identifier: Apache-2.0

  foreign.py PARE MODEL DATA.npz [ENCODER-FOLDER]

Compresses MODEL in every form, and a file of safetensors, which the package of that name reads and numpy dequantises
by the conventions of compressed-tensors. onnx.checker and ONNX Runtime must take each file, and ONNX Runtime must agree with
pare run. So they must for the real models of the folder (as prepare.py makes it); of the sentence encoder size and cosine to
the f32 embeddings are judged as well.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime
import safetensors
import safetensors.numpy

import check

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
ENCODER = {"int8": (0.9995, 0.26), "int4": (0.975, 0.17),
           "int4, calibrated": (0.988, 0.17), "w8a8": (0.9925, 0.26), "w8a8, calibrated": (0.994, 0.26),
           "f16": (0.9999, 0.51)}
REAL = ("int8", "int4", "w8a8", "f16", "2:4 and int8")  # forms that all real models take
GROUP = 32  # of int4
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


def left_alone(model, small):
    """What no recipe changes is there byte for byte, in the order that it had. What W8A8 divides, so that another's inputs are smaller, it
    says by the names of values: those nodes are changed, and what they add."""
    before, after = onnx.load(model), onnx.load(small)
    old, new = ({tensor.name: tensor.SerializeToString() for tensor in found.graph.initializer} for found in (before, after))
    stayed = [name for name in old if name in new]
    smoothed = [node for node in after.graph.node if any(name.endswith("_smoothed") for name in node.output)]
    divided = {name for node in smoothed for name in (node.name, *node.input)}
    told = {entry.key: entry.value for entry in after.metadata_props}
    nodes = {node.name: node for node in after.graph.node}
    sums = [node for node in before.graph.node if node.op_type == "Add" and node.name in nodes and node.name not in divided]
    return (all(old[name] == new[name] for name in stayed if name not in divided) and [name for name in new if name in old] == stayed and
            all(told.get(entry.key) == entry.value for entry in before.metadata_props) and
            all(nodes[node.name] == node for node in sums if node.name) and
            list(before.graph.input) == list(after.graph.input) and list(before.graph.output) == list(after.graph.output) and
            (before.ir_version, before.producer_name, before.graph.name) ==
            (after.ir_version, after.producer_name, after.graph.name) and
            all(opset in after.opset_import for opset in before.opset_import))


def check_form(pare, model, inputs, form, folder):
    """Pare's outputs, and the size to the original's."""
    name, options, least = form
    small = os.path.join(folder, "small.onnx")
    subprocess.check_call([pare, "-q", "compress", model, small, *options], stdout=subprocess.DEVNULL)
    onnx.checker.check_model(small, full_check=True)
    if "--prune" not in options:
        judge(f"{name}: what is left alone is the same, byte for byte", left_alone(model, small))
    found, expected = run_pare(pare, small, inputs, folder), run_foreign(small, inputs)
    for output, values in expected.items():
        same = cosine(found[output], values)
        judge(f"{name}: {output}: ONNX Runtime and pare agree to {same:.6f}, {least} at least", same >= least)
    return found, os.path.getsize(small) / os.path.getsize(model)


def check_static(pare, model, data, inputs, folder):
    """Scales of activations from calibration, in the file."""
    recipe = os.path.join(folder, "static.json")
    with open(recipe, "w", encoding="utf-8") as file:
        json.dump({"pare": 1, "modifiers": [{"quantize": {"scheme": "W8A8", "dynamic": False}}]}, file)
    form = ("static w8a8", ["--recipe", recipe, "--calibrate", data], 0.99)
    check_form(pare, model, inputs, form, folder)
    nodes = [node.op_type for node in onnx.load(os.path.join(folder, "small.onnx")).graph.node]
    judge("static w8a8: the file quantises activations by fixed scales",
          "QuantizeLinear" in nodes and "DynamicQuantizeLinear" not in nodes)


def unpacked(words, bits, columns):
    """compressed-tensors: low bits first, without gaps, each code with half the range added."""
    spread = numpy.unpackbits(words.view(numpy.uint8), axis=1, bitorder="little")[:, :columns * bits]
    codes = spread.reshape(len(words), columns, bits).astype(numpy.int32) << numpy.arange(bits)
    return codes.sum(2, dtype=numpy.int32) - 2 ** (bits - 1)


def dequantised(tensors, name, bits):
    scale = tensors[name + "_scale"]
    if name + "_packed" not in tensors:
        return tensors[name].astype(numpy.float32) * scale
    rows, columns = tensors[name + "_shape"]
    codes, zeros = unpacked(tensors[name + "_packed"], bits, columns), tensors[name + "_zero_point"]
    if zeros.dtype == numpy.int32:
        zeros = unpacked(numpy.ascontiguousarray(zeros.T), bits, rows).T
    if scale.size > 1:
        zeros, scale = (numpy.repeat(part, -(-columns // scale.shape[1]), 1)[:, :columns] for part in (zeros, scale))
    return (codes - zeros) * scale


def check_safetensors(pare, folder):
    """Names, metadata and what is left alone survive; the weights are what pare diff says they are."""
    source, made = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
    random = numpy.random.default_rng(3)
    weights = {"a.weight": random.standard_normal((96, 128)).astype(numpy.float32),
               "b.weight": random.standard_normal((40, 70)).astype(numpy.float16)}
    bias = random.standard_normal(96).astype(numpy.float32)
    safetensors.numpy.save_file({**weights, "a.bias": bias}, source, {"made": "by numpy"})
    recipe = os.path.join(folder, "recipe.json")
    forms = [("int8", 8, None), ("int4", 4, None)]
    for bits, strategy in ((3, "channel"), (5, "tensor"), (7, "channel")):
        forms.append((f"{bits} bits a {strategy}", bits,
                      {"num_bits": bits, "strategy": strategy, "symmetric": False}))
    for form, bits, fields in forms:
        with open(recipe, "w", encoding="utf-8") as file:
            json.dump({"pare": 1, "modifiers": [{"quantize": fields}]}, file)
        options = ["--recipe", recipe] if fields else ["--quantize", form]
        subprocess.check_call([pare, "-q", "compress", source, made, *options], stdout=subprocess.DEVNULL)
        told = subprocess.run([pare, "-q", "diff", source, made, "--json"], stdout=subprocess.PIPE, check=False).stdout
        errors = {row["name"]: row for row in json.loads(told)}
        with safetensors.safe_open(made, "np") as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
        judge(f"safetensors, {form}: metadata and unrelated tensors survive",
              metadata["made"] == "by numpy" and tensors["a.bias"].tobytes() == bias.tobytes())
        for name, weight in weights.items():
            if form == "int4" and weight.shape[1] % GROUP:
                judge(f"safetensors, {form}: {name} has no whole groups and stays",
                      numpy.array_equal(tensors[name], weight))
                continue
            weight, found = weight.astype(numpy.float32), dequantised(tensors, name, bits)
            mse = float(numpy.mean((found.astype(numpy.float64) - weight) ** 2))
            judge(f"safetensors, {form}: {name} is off by {mse:.3g}, as pare diff says",
                  abs(mse - errors[name]["mse"]) <= 1e-5 * mse)
            if bits == 8:
                scale = numpy.abs(weight).max(1, keepdims=True) / numpy.float32(127)
                judge(f"safetensors, {form}: scales of {name} are numpy's",
                      numpy.allclose(tensors[name + "_scale"], scale, rtol=1.2e-7))
                judge(f"safetensors, {form}: codes of {name} are numpy's bit for bit",
                      numpy.array_equal(numpy.rint(weight / tensors[name + "_scale"]), tensors[name]))


def check_encoder(pare, folder):
    model = os.path.join(folder, "encoder.onnx")
    with numpy.load(os.path.join(HERE, "..", "data", "models", "minilm_golden.npz")) as golden:
        inputs = {name: golden[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        expected = golden["sentence_embedding"]
    calibration = os.path.join(HERE, "..", "data", "models", "minilm_calibration.npz")
    calibrated = [(f"{name}, calibrated", ["--quantize", name, "--calibrate", calibration], 0.95) for name in ("int4", "w8a8")]
    for form in FORMS + calibrated:
        if form[0] not in ENCODER:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            found, size = check_form(pare, model, inputs, (form[0], form[1], 0.95), scratch)
        least, most = ENCODER[form[0]]
        same = cosine(found["sentence_embedding"], expected)
        judge(f"encoder, {form[0]}: cosine {same:.5f} to f32, {least} at least", same >= least)
        judge(f"encoder, {form[0]}: {size:.4f} of the file, {most} at most", size <= most)


def check_real(pare, folder):
    """One case of each published model, and those that are stored; of the encoder the form that check_encoder lacks."""
    cases = {name: (what, inputs) for name, what, inputs in reversed(list(check.published()))}
    cases["classifier.onnx"] = "classifier", check.stored("cls.npz", "x")
    cases["recogniser.onnx"] = "recogniser", check.stored("rec_b.npz", "x")
    cases["encoder.onnx"] = "encoder", check.stored("minilm_golden.npz", "input_ids", "attention_mask", "token_type_ids")
    for name, (what, inputs) in cases.items():
        for form, options, least in FORMS:
            if form not in REAL or (name == "encoder.onnx" and form in ENCODER):
                continue
            with tempfile.TemporaryDirectory() as scratch:
                check_form(pare, os.path.join(folder, name), inputs, (f"{what}, {form}", options, min(least, 0.999)), scratch)


def main():
    pare, model, data = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
    taken = [value.name for value in onnx.load(model).graph.input]
    with numpy.load(data) as arrays:
        inputs = {name: arrays[name] for name in taken}
    for form in FORMS:
        with tempfile.TemporaryDirectory() as scratch:
            check_form(pare, model, inputs, form, scratch)
    with tempfile.TemporaryDirectory() as scratch:
        check_static(pare, model, data, inputs, scratch)
        check_safetensors(pare, scratch)
    if len(sys.argv) > 4:
        check_real(pare, sys.argv[4])
        check_encoder(pare, sys.argv[4])
    print(f"{results['passed']} passed, {results['failed']} failed, 0 skipped")
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
