#!/usr/bin/env python3
"""Benchmark server: ONNX Runtime on the CPU, the same lines as serve.h. SPDX-License-Identifier: Apache-2.0

gemm M N K: MatMul with the weights as an initialiser, which MLAS packs once. gemm_int8 M N K: DynamicQuantizeMatMul
with int8 weights. gemm_int4 and gemm_int4_int8 M N K: MatMulNBits in blocks of 32, of accuracy level 1 and 4. Runs in a virtual environment that bench.py makes (onnxruntime, onnx, numpy)."""

import os
import sys
import time

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

RUN_SECONDS = 0.005
# A model holds several products of the same operands, so that the cost of calling from Python does not count.
MODEL_FLOPS = 1e9
MAX_NODES = 16
KINDS = ("gemm", "gemm_int8", "gemm_int4", "gemm_int4_int8")
BLOCK = 32


def product_node(kind, index, n, k):
    if kind == "gemm":
        return helper.make_node("MatMul", ["a", "b"], [f"c{index}"])
    if kind.startswith("gemm_int4"):
        return helper.make_node(
            "MatMulNBits",
            ["a", "b", "b_scale", "b_zero"],
            [f"c{index}"],
            domain="com.microsoft",
            K=k,
            N=n,
            bits=4,
            block_size=BLOCK,
            accuracy_level=4 if kind == "gemm_int4_int8" else 1,
        )
    return helper.make_node(
        "DynamicQuantizeMatMul", ["a", "b", "b_scale", "b_zero"], [f"c{index}"], domain="com.microsoft"
    )


def make_model(kind, m, n, k, nnodes):
    random = numpy.random.default_rng(1)
    if kind == "gemm":
        weights = [("b", (random.random((k, n)) - 0.5).astype(numpy.float32))]
    elif kind.startswith("gemm_int4"):
        blocks = k // BLOCK
        weights = [
            ("b", random.integers(0, 256, (n, blocks, BLOCK // 2)).astype(numpy.uint8)),
            ("b_scale", numpy.full((n, blocks), 0.01, numpy.float32)),
            ("b_zero", random.integers(0, 256, (n, (blocks + 1) // 2)).astype(numpy.uint8)),
        ]
    else:
        weights = [
            ("b", random.integers(-127, 128, (k, n)).astype(numpy.int8)),
            ("b_scale", numpy.full(n, 0.01, numpy.float32)),
            ("b_zero", numpy.zeros(n, numpy.int8)),
        ]
    graph = helper.make_graph(
        [product_node(kind, i, n, k) for i in range(nnodes)],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [m, k])],
        [helper.make_tensor_value_info(f"c{i}", TensorProto.FLOAT, [m, n]) for i in range(nnodes)],
        [numpy_helper.from_array(value, name) for name, value in weights],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


class Work:
    def __init__(self, kind, m, n, k):
        self.nnodes = int(min(MAX_NODES, max(1, MODEL_FLOPS // (2 * m * n * k))))
        cores = sorted(os.sched_getaffinity(0))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(cores)
        # The products are equal: an optimiser would keep one of them. Packing weights is not its work.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if len(cores) > 1:
            others = ";".join(str(core + 1) for core in cores[1:])
            options.add_session_config_entry("session.intra_op_thread_affinities", others)
        session = onnxruntime.InferenceSession(
            make_model(kind, m, n, k, self.nnodes), options, providers=["CPUExecutionProvider"]
        )
        os.sched_setaffinity(0, {cores[0]})  # this thread only: the others exist by now
        self.restore = set(cores)
        binding = session.io_binding()
        activations = (numpy.random.default_rng(2).random((m, k)) - 0.5).astype(numpy.float32)
        self.values = [onnxruntime.OrtValue.ortvalue_from_numpy(activations)]
        binding.bind_ortvalue_input("a", self.values[0])
        for i in range(self.nnodes):
            self.values.append(onnxruntime.OrtValue.ortvalue_from_numpy(numpy.zeros((m, n), numpy.float32)))
            binding.bind_ortvalue_output(f"c{i}", self.values[-1])
        self.session, self.binding = session, binding
        self.repeats = 1
        self.run()
        while (seconds := self.run()) < RUN_SECONDS:
            self.repeats *= 4 if seconds * 8 < RUN_SECONDS else 2

    def run(self):
        start = time.perf_counter()
        for _ in range(self.repeats):
            self.session.run_with_iobinding(self.binding)
        return time.perf_counter() - start

    def time_runs(self, seconds):
        times, start = [], time.perf_counter()
        while not times or time.perf_counter() - start < seconds:
            times.append(self.run() / (self.repeats * self.nnodes))
        times.sort()
        return f"{times[len(times) // 2]:.9g} {times[0]:.9g} {len(times)}"

    def close(self):
        os.sched_setaffinity(0, self.restore)


def main():
    last, work = None, None
    for line in sys.stdin:
        words = line.split()
        if len(words) != 5 or words[0] not in KINDS:
            print("none no such work", flush=True)
            continue
        if line != last:
            if work:
                work.close()
            work = Work(words[0], *map(int, words[2:]))
            last = line
        print(work.time_runs(float(words[1])), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--version"]:
        print(onnxruntime.__version__)
    else:
        main()
