#!/usr/bin/env python3
"""Makes digits.onnx, digits_test.npz and digits_calibration.npz. SPDX-License-Identifier: Apache-2.0

A convolutional network of 38,282 parameters, trained by numpy alone on 1437 of the 1797 handwritten digits that
scikit-learn brings along; the other 360 are the test set. Everything random comes from one seed.

  python3 -m venv venv && venv/bin/pip install numpy scikit-learn onnx && venv/bin/python train.py
"""
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

SEED, NTRAIN, NCALIBRATION, EPOCHS, BATCH, RATE, DECAY = 20, 1437, 256, 60, 32, 2e-3, 1e-4
SHAPES = {
    "conv1.weight": (16, 1, 3, 3), "conv1.bias": (16,),
    "conv2.weight": (32, 16, 3, 3), "conv2.bias": (32,),
    "hidden.weight": (64, 512), "hidden.bias": (64,),
    "output.weight": (10, 64), "output.bias": (10,),
}


def initial(random):
    """He et al. 2015: normal with variance 2 / fan-in; biases 0."""
    return {name: (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
            if len(shape) > 1 else np.zeros(shape, np.float32) for name, shape in SHAPES.items()}


def patches(x):
    """[n, c, 8, 8] to [n * 64, c * 9]: the 3x3 neighbourhood of each pixel, zeros around the image."""
    n, c = x.shape[:2]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * 64, c * 9)


def gather(gradient, n, c):
    """The transpose of patches."""
    out = np.zeros((n, c, 10, 10), np.float32)
    gradient = gradient.reshape(n, 8, 8, c, 3, 3).transpose(0, 3, 4, 5, 1, 2)
    for i in range(3):
        for j in range(3):
            out[:, :, i:i + 8, j:j + 8] += gradient[:, :, i, j]
    return out[:, :, 1:9, 1:9]


def convolve(x, weight, bias):
    columns = patches(x)
    y = columns @ weight.reshape(len(weight), -1).T + bias
    return columns, y.reshape(len(x), 8, 8, -1).transpose(0, 3, 1, 2)


def forward(p, x, random=None):
    """Logits, and what the gradient needs. With random: dropout before the last layer."""
    columns1, a1 = convolve(x, p["conv1.weight"], p["conv1.bias"])
    h1 = np.maximum(a1, 0)
    columns2, a2 = convolve(h1, p["conv2.weight"], p["conv2.bias"])
    h2 = np.maximum(a2, 0).reshape(len(x), 32, 4, 2, 4, 2).transpose(0, 1, 2, 4, 3, 5).reshape(len(x), 32, 4, 4, 4)
    winner = h2.argmax(-1)[..., None]
    flat = np.take_along_axis(h2, winner, -1).reshape(len(x), 512)
    a3 = flat @ p["hidden.weight"].T + p["hidden.bias"]
    keep = np.float32(2) * (random.random(a3.shape) < 0.5) if random else np.float32(1)
    h3 = np.maximum(a3, 0) * keep
    logits = h3 @ p["output.weight"].T + p["output.bias"]
    return logits, (columns1, a1, columns2, a2, winner, flat, a3, keep, h3)


def gradients(p, x, labels, random):
    logits, (columns1, a1, columns2, a2, winner, flat, a3, keep, h3) = forward(p, x, random)
    n = len(x)
    d = np.exp(logits - logits.max(1, keepdims=True))
    d = d / d.sum(1, keepdims=True)
    d[np.arange(n), labels] -= 1
    d /= n
    g = {"output.weight": d.T @ h3, "output.bias": d.sum(0)}
    d = (d @ p["output.weight"]) * keep * (a3 > 0)
    g["hidden.weight"], g["hidden.bias"] = d.T @ flat, d.sum(0)
    d = (d @ p["hidden.weight"]).reshape(n, 32, 4, 4, 1)
    spread = np.zeros((n, 32, 4, 4, 4), np.float32)
    np.put_along_axis(spread, winner, d, -1)
    d = spread.reshape(n, 32, 4, 4, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, 32, 8, 8) * (a2 > 0)
    d = d.transpose(0, 2, 3, 1).reshape(n * 64, 32)
    g["conv2.weight"], g["conv2.bias"] = (d.T @ columns2).reshape(SHAPES["conv2.weight"]), d.sum(0)
    d = gather(d @ p["conv2.weight"].reshape(32, -1), n, 16) * (a1 > 0)
    d = d.transpose(0, 2, 3, 1).reshape(n * 64, 16)
    g["conv1.weight"], g["conv1.bias"] = (d.T @ columns1).reshape(SHAPES["conv1.weight"]), d.sum(0)
    return g


def shifted(x, random):
    """Each image moved by up to one pixel each way."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    moves = random.integers(0, 3, (len(x), 2))
    return np.stack([image[:, i:i + 8, j:j + 8] for image, (i, j) in zip(padded, moves)])


def train(x, labels, random):
    """Adam (Kingma & Ba 2015) with a cosine schedule."""
    p = initial(random)
    mean = {name: np.zeros_like(v) for name, v in p.items()}
    square = {name: np.zeros_like(v) for name, v in p.items()}
    step, nsteps = 0, EPOCHS * -(-len(x) // BATCH)
    for _ in range(EPOCHS):
        order = random.permutation(len(x))
        for start in range(0, len(x), BATCH):
            chosen = order[start:start + BATCH]
            g = gradients(p, shifted(x[chosen], random), labels[chosen], random)
            step += 1
            rate = RATE * 0.5 * (1 + np.cos(np.pi * step / nsteps))
            for name in p:
                g[name] += DECAY * p[name]
                mean[name] += 0.1 * (g[name] - mean[name])
                square[name] += 0.001 * (g[name] ** 2 - square[name])
                corrected = np.sqrt(square[name] / (1 - 0.999 ** step)) + 1e-8
                p[name] = (p[name] - rate * mean[name] / (1 - 0.9 ** step) / corrected).astype(np.float32)
    return p


def write_model(p, path):
    nodes = [
        helper.make_node("Conv", ["image", "conv1.weight", "conv1.bias"], ["conv1"], "conv1", pads=[1, 1, 1, 1],
                         kernel_shape=[3, 3]),
        helper.make_node("Relu", ["conv1"], ["relu1"], "relu1"),
        helper.make_node("Conv", ["relu1", "conv2.weight", "conv2.bias"], ["conv2"], "conv2", pads=[1, 1, 1, 1],
                         kernel_shape=[3, 3]),
        helper.make_node("Relu", ["conv2"], ["relu2"], "relu2"),
        helper.make_node("MaxPool", ["relu2"], ["pool"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"], "flat", axis=1),
        helper.make_node("Gemm", ["flat", "hidden.weight", "hidden.bias"], ["hidden"], "hidden", transB=1),
        helper.make_node("Relu", ["hidden"], ["relu3"], "relu3"),
        helper.make_node("Gemm", ["relu3", "output.weight", "output.bias"], ["logits"], "output", transB=1),
    ]
    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(value, name) for name, value in p.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="train.py")
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)


def main():
    folder = os.path.dirname(os.path.abspath(__file__))
    digits = load_digits()
    order = np.random.RandomState(SEED).permutation(len(digits.target))
    x = (digits.images[order] / 16).astype(np.float32)[:, None]
    labels = digits.target[order].astype(np.int64)
    p = train(x[:NTRAIN], labels[:NTRAIN], np.random.default_rng(SEED))
    logits, _ = forward(p, x[NTRAIN:])
    print("parameters", sum(v.size for v in p.values()))
    print("accuracy on the test set", np.mean(logits.argmax(1) == labels[NTRAIN:]))
    write_model(p, os.path.join(folder, "digits.onnx"))
    np.savez_compressed(os.path.join(folder, "digits_test.npz"), image=x[NTRAIN:], labels=labels[NTRAIN:],
                        logits=logits.astype(np.float32))
    np.savez_compressed(os.path.join(folder, "digits_calibration.npz"), image=x[:NCALIBRATION])


if __name__ == "__main__":
    main()
