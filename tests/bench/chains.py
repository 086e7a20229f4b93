#!/usr/bin/env python3
"""Chains of convolution layers as ONNX models, for tests/bench/models.py. SPDX-License-Identifier: Apache-2.0

  chains.py FOLDER    writes one file a chain into FOLDER
"""
import os
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 8


class Chain:
    """A graph under construction: each method appends a layer to the last value and returns the new one's name."""

    def __init__(self, channels):
        self.nodes, self.weights, self.count = [], [], 0
        self.channels, self.last = channels, "x"
        self.random = numpy.random.default_rng(1)

    def node(self, op_type, inputs, **attributes):
        self.count += 1
        name = f"v{self.count}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attributes))
        self.last = name
        return name

    def convolution(self, outputs, size=1, stride=1, depthwise=False):
        group = self.channels if depthwise else 1
        shape = (outputs, self.channels // group, size, size)
        fan_in = shape[1] * size * size
        w, b = f"w{self.count}", f"b{self.count}"
        values = self.random.standard_normal(shape).astype(numpy.float32) * (2 / fan_in) ** 0.5
        self.weights.append(numpy_helper.from_array(values, w))
        self.weights.append(numpy_helper.from_array(numpy.zeros(outputs, numpy.float32), b))
        self.channels = outputs
        return self.node("Conv", [self.last, w, b], group=group, kernel_shape=[size, size], strides=[stride, stride],
                         pads=[size // 2] * 4)

    def activation(self, name="Relu"):
        return self.node(name, [self.last])

    def add(self, other):
        return self.node("Add", [self.last, other])

    def model(self, shape):
        graph = helper.make_graph(self.nodes, "chain", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                                  [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, None)], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def three_by_three(channels, layers=6):
    chain = Chain(channels)
    for _ in range(layers):
        chain.convolution(channels, 3)
        chain.activation()
    return chain


def bottlenecks(channels, blocks=3):
    """ResNet-50's: 1x1 to a quarter, 3x3, 1x1 back, and the sum with the input."""
    chain = Chain(channels)
    for _ in range(blocks):
        before = chain.last
        chain.convolution(channels // 4)
        chain.activation()
        chain.convolution(channels // 4, 3)
        chain.activation()
        chain.convolution(channels)
        chain.add(before)
        chain.activation()
    return chain


def pointwise(channels, pairs=3):
    chain = Chain(channels)
    for _ in range(pairs):
        chain.convolution(channels // 4)
        chain.activation()
        chain.convolution(channels)
        chain.activation()
    return chain


def separable(channels, size, activation, blocks=5):
    """Depthwise and pointwise in turns."""
    chain = Chain(channels)
    for _ in range(blocks):
        chain.convolution(channels, size, depthwise=True)
        chain.activation(activation)
        chain.convolution(channels)
        chain.activation(activation)
    return chain


# name: chain, shape of x, how much faster than ONNX Runtime it is to be
CHAINS = {
    "3x3-56": (lambda: three_by_three(64), (1, 64, 56, 56), 1.6),
    "3x3-28": (lambda: three_by_three(128), (1, 128, 28, 28), 1.6),
    "3x3-14": (lambda: three_by_three(256), (1, 256, 14, 14), 1.6),
    "bottleneck-56": (lambda: bottlenecks(256), (1, 256, 56, 56), 1.1),
    "bottleneck-28": (lambda: bottlenecks(512), (1, 512, 28, 28), 1.1),
    "bottleneck-14": (lambda: bottlenecks(1024), (1, 1024, 14, 14), 1.1),
    "1x1-56": (lambda: pointwise(256), (1, 256, 56, 56), 0.95),
    "1x1-28": (lambda: pointwise(512), (1, 512, 28, 28), 0.95),
    "1x1-14": (lambda: pointwise(1024), (1, 1024, 14, 14), 0.95),
    "mobile-56": (lambda: separable(128, 3, "Relu"), (1, 128, 56, 56), 1.0),
    "mobile-14": (lambda: separable(512, 3, "Relu"), (1, 512, 14, 14), 1.0),
    "ocr-12x80": (lambda: separable(240, 5, "HardSwish"), (1, 240, 12, 80), 1.0),
}


def write_chains(folder):
    os.makedirs(folder, exist_ok=True)
    for name, (make, shape, _) in CHAINS.items():
        path = os.path.join(folder, name + ".onnx")
        if not os.path.exists(path):
            onnx.save(make().model(shape), path + ".part")
            os.rename(path + ".part", path)


def write_towers(path, rows=64, width=768, towers=2, layers=6):
    """A layer, so many chains of layers of what it makes, and their sum: each layer a product and Tanh. Softmax goes over the rows,
    so that they are no samples. Returns which part of the layers is on the longest way."""
    chain = Chain(width)

    def layer(value):
        w = f"w{chain.count}"
        values = chain.random.standard_normal((width, width)).astype(numpy.float32) * 0.05
        chain.weights.append(numpy_helper.from_array(values, w))
        return chain.node("Tanh", [chain.node("MatMul", [value, w])])
    stem, ends = layer("x"), []
    for _ in range(towers):
        value = stem
        for _ in range(layers):
            value = layer(value)
        ends.append(value)
    chain.node("Softmax", [chain.node("Sum", ends)], axis=0)
    onnx.save(chain.model((rows, width)), path)
    return (1 + layers) / (1 + towers * layers)


def write_large(path, layers=16, width=4096):
    """A model of 1 GiB whose weights lie in a file beside it."""
    if os.path.exists(path):
        return
    data = os.path.basename(path) + ".data"
    nbytes = 4 * width * width
    with open(os.path.join(os.path.dirname(path), data), "wb") as file:
        row = numpy.random.default_rng(1).standard_normal((width, width)).astype(numpy.float32)
        for _ in range(layers):
            file.write(row.tobytes())
    nodes, weights = [], []
    for i in range(layers):
        tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[width, width],
                             data_location=TensorProto.EXTERNAL)
        for key, value in (("location", data), ("offset", i * nbytes), ("length", nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        weights.append(tensor)
        nodes.append(helper.make_node("MatMul", [f"h{i}" if i else "x", f"w{i}"], [f"h{i + 1}"]))
    graph = helper.make_graph(nodes, "large", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, width])],
                              [helper.make_tensor_value_info(f"h{layers}", TensorProto.FLOAT, [1, width])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION), path)


if __name__ == "__main__":
    write_chains(sys.argv[1])
