"""The table of comparisons: what is timed, against whom, and the ratio asked for. SPDX-License-Identifier: Apache-2.0

A side is (server, work). Sides of a problem are timed in turns; rates are amount / seconds, where the amount
(operations or bytes) of each side is that of its own work. A ratio is our rate over the peer's; a group's ratio is the
median, the geometric mean or the least of those of its problems."""

from dataclasses import dataclass, field

GIB_FLOATS = 1 << 26  # elements of the streaming rows: 256 MiB, far over every cache


@dataclass
class Side:
    server: str  # a key of SERVERS in bench.py
    work: str  # as serve.h says, without the seconds
    amount: float
    role: str = ""  # "" is ours; else the peer's name in the table


@dataclass
class Problem:
    name: str
    sides: list  # the first is ours
    quick: bool = False


@dataclass
class Group:
    name: str
    title: str
    unit: str  # "GFLOPS", "GB/s"
    problems: list
    targets: dict = field(default_factory=dict)  # peer -> ratio asked for
    aggregate: str = "median"  # or "geometric mean" or "least"


def sgemm():
    problems = []
    for n in (512, 1024, 2048, 4096):
        work, flops = f"gemm {n} {n} {n}", 2.0 * n**3
        sides = [
            Side("pare", work, flops),
            Side("openblas", work, flops, "OpenBLAS"),
            Side("clblast", work, flops, "CLBlast"),
        ]
        problems.append(Problem(f"{n}x{n}x{n}", sides, quick=n in (512, 1024)))
    return Group("sgemm", "sgemm, square", "GFLOPS", problems, {"OpenBLAS": 1.05, "CLBlast": 8.0})


def transformer_shapes():
    for m in (32, 64, 128, 256, 512, 1024):
        for k in (384, 1536):
            for n in (384, 1536):
                yield m, n, k, m == 128 and (k, n) in ((384, 1536), (1536, 384))


def packed_gemm():
    problems = []
    for m, n, k, quick in transformer_shapes():
        shape, flops = f"{m} {n} {k}", 2.0 * m * n * k
        sides = [
            Side("pare", f"gemm_packed {shape}", flops),
            Side("openblas", f"gemm {shape}", flops, "OpenBLAS"),
            Side("onnxruntime", f"gemm {shape}", flops, "ONNX Runtime"),
        ]
        problems.append(Problem(f"M={m} K={k} N={n}", sides, quick))
    return Group(
        "gemm-packed",
        "gemm, f32 weights packed once",
        "GFLOPS",
        problems,
        {"OpenBLAS": 1.1, "ONNX Runtime": 0.97},
        "geometric mean",
    )


def int8_gemm(vnni):
    problems = []
    for m, n, k, quick in transformer_shapes():
        shape, flops = f"{m} {n} {k}", 2.0 * m * n * k
        sides = [
            Side("pare", f"gemm_int8 {shape}", flops),
            Side("pare", f"gemm_packed {shape}", flops, "our f32"),
            Side("onnxruntime", f"gemm_int8 {shape}", flops, "ONNX Runtime"),
        ]
        problems.append(Problem(f"M={m} K={k} N={n}", sides, quick))
    targets = {"ONNX Runtime": 0.95} if vnni else {"our f32": 1.4}
    return Group(
        "gemm-int8", "gemm, int8 weights and dynamic int8 activations", "GOPS", problems, targets, "geometric mean"
    )


def int4_gemm(vnni):
    """Weights of 4 bits, with activations rounded to 8 and as they are; M = 1 is read from memory or the last cache."""
    groups = []
    for kind, title, targets in (
        ("gemm_int4_int8", "int8 activations", {"ONNX Runtime": 2.0 if vnni else 1.0}),
        ("gemm_int4", "float activations", {}),
    ):
        problems = []
        for m, n, k in ((1, 4096, 4096), (1, 384, 1536), (32, 384, 1536), (128, 1536, 384), (128, 4096, 4096)):
            shape, flops = f"{m} {n} {k}", 2.0 * m * n * k
            sides = [
                Side("pare", f"{kind} {shape}", flops),
                Side("pare", f"gemm_packed {shape}", flops, "our f32"),
                Side("onnxruntime", f"{kind} {shape}", flops, "ONNX Runtime"),
            ]
            problems.append(Problem(f"M={m} K={k} N={n}", sides, quick=(m, k) in ((1, 4096), (128, 384))))
        name = kind.replace("_", "-")
        groups.append(Group(name, f"gemm, 4-bit weights and {title}", "GOPS", problems, targets, "geometric mean"))
    return groups


def streaming():
    n = GIB_FLOATS
    copy = Side("memory", f"copy {n}", 8.0 * n, "C copy")
    plane = "64 1024 1024"
    return [
        Group(
            "elementwise",
            "streaming elementwise",
            "GB/s",
            [
                Problem("copy", [Side("pare", f"copy {n}", 8.0 * n), copy], quick=True),
                Problem("relu", [Side("pare", f"relu {n}", 8.0 * n), copy]),
                Problem("add", [Side("pare", f"add {n}", 12.0 * n), copy]),
            ],
            {"C copy": 1.0},
        ),
        Group(
            "permute",
            "permute of the two last axes",
            "GB/s",
            [Problem("[64,1024,1024]", [Side("pare", f"permute {plane}", 8.0 * n), copy], quick=True)],
            {"C copy": 0.7},
        ),
    ]


def rows():
    n, values, count = GIB_FLOATS, 10**8, 4096 * 1024
    read = Side("memory", f"read {values}", 4.0 * values, "C read")
    copy = Side("memory", f"copy {n}", 8.0 * n, "C copy")
    return [
        Group(
            "reduce",
            "reductions over 10^8 values",
            "GB/s",
            [
                Problem("sum", [Side("pare", f"sum {values}", 4.0 * values), read], quick=True),
                Problem("max", [Side("pare", f"max {values}", 4.0 * values), read]),
            ],
            {"C read": 0.9},
            "least",
        ),
        Group(
            "rows",
            "rows of [4096, 1024]",
            "GB/s",
            [
                Problem("softmax", [Side("pare", "softmax 4096 1024", 8.0 * count), copy], quick=True),
                Problem("layer norm", [Side("pare", "layer_norm 4096 1024", 8.0 * count), copy]),
            ],
            {"C copy": 0.7},
            "least",
        ),
    ]


def compression():
    n, values = GIB_FLOATS, 10**8
    read = Side("memory", f"read {values}", 4.0 * values, "C read")
    copy = Side("memory", f"copy {n}", 8.0 * n, "C copy")
    return [
        Group(
            "threshold",
            "exact threshold of magnitude, half of 10^8 values kept",
            "GB/s",
            [
                Problem(
                    "one tensor",
                    [
                        Side("pare", f"kth {values}", 4.0 * values),
                        read,
                        Side("nth_element", f"kth {values}", 4.0 * values, "nth_element"),
                    ],
                    quick=True,
                ),
                Problem("ten tensors", [Side("pare", f"selection {values}", 4.0 * values), read]),
            ],
            {"C read": 0.5, "nth_element": 30.0},
            "least",
        ),
        Group(
            "prune",
            "2:4 pruning",
            "GB/s",
            [
                Problem("rows", [Side("pare", f"prune_2_4 {n}", 8.0 * n), copy], quick=True),
                Problem("columns", [Side("pare", "prune_columns 65536 1024", 8.0 * n), copy]),
            ],
            {"C copy": 0.9},
            "least",
        ),
        *(
            Group(
                f"quantise-q{bits}",
                f"quantise to {bits} bits, groups of 32",
                "GB/s",
                [
                    Problem(
                        "min-max",
                        [
                            Side("pare", f"quantise_q{bits} {n}", 4.0 * n),
                            Side("ggml", f"quantise_q{bits} {n}", 4.0 * n, "ggml"),
                        ],
                        quick=True,
                    )
                ],
                {"ggml": target},
            )
            for bits, target in ((8, 1.0), (4, 3.0))
        ),
    ]


def all_groups(vnni):
    return [
        sgemm(),
        packed_gemm(),
        int8_gemm(vnni),
        *int4_gemm(vnni),
        *streaming(),
        *rows(),
        *compression(),
    ]


# Timed alone, in seconds at most: (name, title, seconds asked for).
LATENCIES = {
    "chain": ("1000 dependent operations on 1024 floats, each", 10e-6),
    "first-cold": ("first result in a fresh home folder", 3.0),
    "first-warm": ("first result the next time", 0.15),
}
