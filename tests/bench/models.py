#!/usr/bin/env python3
"""Times models beside ONNX Runtime. SPDX-License-Identifier: Apache-2.0

  models.py PARE FOLDER [--rounds N] [--json FILE] [NAME...]    (FOLDER as tests/models/prepare.py made it)

Each side is a process of its own, on the same two cores, one after the other, A B A B; a figure is the median over the
rounds of a process's median. NAME: encoder, recogniser, classifier; chains, or one of those of tests/bench/chains.py; start
(process start to first output), memory (peak of the process), large (opening a model of 1 GiB).
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

import chains

MODELS = [("encoder", (1, 32)), ("encoder", (1, 128)), ("encoder", (32, 32)), ("recogniser", (1, 3, 48, 320)),
          ("classifier", (1, 3, 48, 192)), ("classifier", (16, 3, 48, 192))]
ASKED = 1.0
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "digits")
DIGITS, INPUT = os.path.join(DATA, "digits.onnx"), os.path.join(DATA, "digits_test.npz")

PEER = """
import sys, time, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
inputs = dict(numpy.load(sys.argv[2]))
taken, until = [], 0
for _ in range(3):
    session.run(None, inputs)
until = time.perf_counter() + float(sys.argv[3])
while time.perf_counter() < until or len(taken) < 3:
    begun = time.perf_counter()
    session.run(None, inputs)
    taken.append(time.perf_counter() - begun)
print(1e3 * sorted(taken)[len(taken) // 2])
"""


def make_inputs(name, shape, path):
    generator = numpy.random.default_rng(1)
    if name == "encoder":
        ones = numpy.ones(shape, numpy.int64)
        inputs = {"input_ids": generator.integers(1000, 20000, shape), "attention_mask": ones, "token_type_ids": 0 * ones}
    else:
        inputs = {"x": generator.random(shape, numpy.float32)}
    numpy.savez(path, **inputs)


def environment(**more):
    return {**os.environ, "POCL_AFFINITY": "1", **more}


def time_pare(pare, model, inputs, seconds):
    out = subprocess.check_output([pare, "bench", model, "-i", inputs, "--duration", f"{seconds}s", "--json", "-q"],
                                  env=environment())
    return json.loads(out)[0]["median_ms"]


def time_peer(model, inputs, seconds):
    return float(subprocess.check_output([sys.executable, "-c", PEER, model, inputs, str(seconds)]))


def run_process(command, env):
    """Seconds and peak memory in MB of a process."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}: status {status}")
    return time.perf_counter() - begun, usage.ru_maxrss / 1024


def time_to_file(command, env, path):
    """Seconds until a process has written a file."""
    if os.path.exists(path):
        os.remove(path)
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists(path) and process.poll() is None:
        time.sleep(0.002)
    taken = time.perf_counter() - begun
    if process.wait() != 0:
        sys.exit(f"{' '.join(command)}: status {process.returncode}")
    return taken


class Report:
    def __init__(self):
        self.rows = []

    def row(self, name, shape, ours, theirs, asked):
        a, b = statistics.median(ours), statistics.median(theirs)
        text = "x".join(map(str, shape))
        print(f"{name:<14} {text:<18} {a:>9.2f} {b:>13.2f} {b / a:>6.2f}x {asked:>5}x"
              f"{'' if b / a >= asked else '  missed'}", flush=True)
        self.rows.append({"model": name, "shape": shape, "pare_ms": ours, "onnxruntime_ms": theirs, "ratio": b / a,
                          "asked": asked})

    def limit(self, name, unit, found, limit):
        value = statistics.median(found)
        print(f"{name:<44} {value:>9.3f} {unit:<3} asked: {limit:.3f}{'' if value <= limit else '  missed'}", flush=True)
        self.rows.append({"model": name, "unit": unit, "found": found, "limit": limit})


def bench_models(options, report, cases):
    for name, model, shape, asked in cases:
        inputs = os.path.join(options.folder, "bench.npz")
        make_inputs(name, shape, inputs)
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(time_pare(options.pare, model, inputs, options.seconds))
            theirs.append(time_peer(model, inputs, options.seconds))
        report.row(name, shape, ours, theirs, asked)


def bench_start(options, report):
    """The bundled model, from the start of the process until its output is written: warm, and with every cache empty."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.npz")
        command = [options.pare, "run", DIGITS, "-i", INPUT, "-q", "-o", out]
        cold = []
        for i in range(max(1, options.rounds // 2)):
            env = environment(XDG_CACHE_HOME=os.path.join(folder, f"pare{i}"), POCL_CACHE_DIR=os.path.join(folder, f"pocl{i}"))
            os.makedirs(env["POCL_CACHE_DIR"])
            cold.append(time_to_file(command, env, out))
        warm = [time_to_file(command, env, out) for _ in range(options.rounds)]
    report.limit("digits, start to first output, warm", "s", warm, 0.3)
    report.limit("digits, start to first output, all cold", "s", cold, 5)


def bench_memory(options, report):
    model, inputs = os.path.join(options.folder, "encoder.onnx"), os.path.join(options.folder, "bench.npz")
    make_inputs("encoder", (1, 32), inputs)
    ours_command = [options.pare, "run", model, "-i", inputs, "-q", "-o", os.path.join(options.folder, "out.npz")]
    ours, theirs = [], []
    run_process(ours_command, environment())
    for _ in range(options.rounds):
        ours.append(run_process(ours_command, environment())[1])
        theirs.append(run_process([sys.executable, "-c", PEER, model, inputs, "0"], environment())[1])
    print(f"{'encoder 1x32, peak memory of ONNX Runtime':<44} {statistics.median(theirs):>9.1f} MB")
    report.limit("encoder 1x32, peak memory", "MB", ours, 1.2 * statistics.median(theirs))


def bench_large(options, report):
    """How much the resident memory of a process grows by opening 1 GiB of weights without running."""
    model = os.path.join(options.folder, "large.onnx")
    chains.write_large(model)
    large = [run_process([options.pare, "inspect", model], environment())[1] for _ in range(options.rounds)]
    small = [run_process([options.pare, "inspect", DIGITS], environment())[1] for _ in range(options.rounds)]
    report.limit("1 GiB of external data, opening, growth", "MB", [statistics.median(large) - statistics.median(small)], 50)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pare")
    parser.add_argument("folder")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json")
    options = parser.parse_intermixed_args()
    options.pare = shutil.which(os.path.abspath(options.pare)) or options.pare
    folder = os.path.join(options.folder, "chains")
    chains.write_chains(folder)
    cases = [(name, os.path.join(options.folder, name + ".onnx"), shape, ASKED) for name, shape in MODELS]
    cases += [(name, os.path.join(folder, name + ".onnx"), shape, asked)
              for name, (_, shape, asked) in chains.CHAINS.items()]
    wanted = set(options.names)
    if "chains" in wanted:
        wanted |= set(chains.CHAINS)
    report = Report()
    print(f"load {os.getloadavg()[0]:.1f}; milliseconds a run, medians of {options.rounds} rounds")
    print(f"{'model':<14} {'shape':<18} {'pare':>9} {'ONNX Runtime':>13} {'ratio':>7} {'asked':>6}")
    bench_models(options, report, [case for case in cases if not wanted or case[0] in wanted])
    for name, bench in (("start", bench_start), ("memory", bench_memory), ("large", bench_large)):
        if not wanted or name in wanted:
            bench(options, report)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"load": os.getloadavg(), "cases": report.rows}, file, indent=1)


if __name__ == "__main__":
    main()
