#!/usr/bin/env python3
"""Makes model.safetensors, config.json and expected.safetensors. SPDX-License-Identifier: Apache-2.0

  make.py FOLDER

Layers of random weights, quantised in the ways that the package compressed-tensors knows, as it writes them, and the
numbers that it makes of them again. Needs compressed-tensors 0.20.0 with what that needs; the seed is fixed.
"""
import json
import os
import sys

import torch
from compressed_tensors.compressors import ModelCompressor
from compressed_tensors.quantization import (QuantizationArgs, QuantizationConfig, QuantizationScheme,
                                             apply_quantization_config)
from safetensors.torch import save_file


def weights(bits, strategy, symmetric=True, group=None, kind="int"):
    return QuantizationArgs(num_bits=bits, type=kind, strategy=strategy, symmetric=symmetric, group_size=group)


INT8 = QuantizationArgs(num_bits=8, dynamic=True, strategy="token")
FLOAT8 = QuantizationArgs(num_bits=8, type="float", dynamic=True, strategy="token")
# Outputs, inputs, type, weights, activations. With activations of 8 bits codes take a byte each, else they are packed.
LAYERS = {
    "q": (6, 64, torch.bfloat16, weights(4, "group", True, 16), None),
    "k": (10, 32, torch.float16, weights(4, "group", False, 8), None),
    "v": (5, 43, torch.float32, weights(3, "channel"), None),
    "o": (13, 40, torch.float32, weights(5, "group", False, 20), None),
    "up": (7, 24, torch.float16, weights(8, "channel", False), INT8),
    "down": (4, 33, torch.bfloat16, weights(8, "tensor"), INT8),
    "gate": (5, 24, torch.float32, weights(8, "group", False, 12), INT8),
    "one": (3, 9, torch.float32, weights(4, "tensor", False), None),
    "eight": (3, 20, torch.float32, weights(8, "group", True, 10), None),
    "fp8": (3, 8, torch.bfloat16, weights(8, "channel", True, None, "float"), FLOAT8),
    "head": (4, 16, torch.bfloat16, None, None),
}


def calibrate(layer, how):
    """Scales and zero points by the ranges of the weights."""
    values = layer.weight.data.float()
    rows = {"tensor": (1, 1, -1), "channel": (len(values), 1, -1), "group": (len(values), -1, how.group_size)}
    values = values.reshape(rows[how.strategy])
    low, high = values.amin(-1).clamp(max=0), values.amax(-1).clamp(min=0)
    zero = torch.zeros_like(low)
    if how.type == "float":
        scale = values.abs().amax(-1) / 448
    elif how.symmetric:
        scale = values.abs().amax(-1) / (2 ** (how.num_bits - 1) - 0.5)
    else:
        scale = (high - low) / (2 ** how.num_bits - 1)
        zero = (-2 ** (how.num_bits - 1) - low / scale).round()
    for parameter, found in ((layer.weight_scale, scale), (layer.weight_zero_point, zero)):
        parameter.data.copy_(found.reshape(parameter.shape).to(parameter.dtype))


def save(model, path, endings=("",), metadata=None):
    save_file({name: value.contiguous() for name, value in model.state_dict().items() if name.endswith(endings)},
              path, metadata)


def main():
    folder = sys.argv[1]
    torch.manual_seed(1)
    model = torch.nn.Module()
    model.layer = torch.nn.Module()
    groups = {}
    for name, (outputs, inputs, dtype, how, activations) in LAYERS.items():
        model.layer.add_module(name, torch.nn.Linear(inputs, outputs, bias=name == "q", dtype=dtype))
        if how:
            groups[f"group_{len(groups)}"] = QuantizationScheme(
                targets=["Linear"] if name == "q" else [f"re:.*\\.{name}$"], weights=how, input_activations=activations)
    apply_quantization_config(model, QuantizationConfig(config_groups=groups, ignore=["re:.*head"]))
    for name, layer in model.layer.named_children():
        if LAYERS[name][3]:
            calibrate(layer, LAYERS[name][3])
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    save(model, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump({"model_type": "none"}, file)
    compressor.update_config(folder)
    compressor.decompress_model(model)
    save(model, os.path.join(folder, "expected.safetensors"), ("weight", "bias"))


if __name__ == "__main__":
    main()
