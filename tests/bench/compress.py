#!/usr/bin/env python3
"""Times compressed models beside the dense one and ONNX Runtime. SPDX-License-Identifier: Apache-2.0

  compress.py PARE FOLDER [--rounds N] [--json FILE] [FORM...]    (FOLDER as tests/models/prepare.py made it)

`pare compress` writes the sentence encoder in each form (int4, w8a8, int8, f16) into FOLDER. Each side is a process of its
own on the same two cores, one after the other, A B A B; a figure is the median over the rounds of a process's median.
"""
import argparse
import json
import os
import statistics
import subprocess

import models

FORMS = ["int4", "w8a8", "int8", "f16"]
SHAPES = [(1, 32), (1, 128), (32, 32)]


def asked(form, shape, vnni):
    """The least ratio to (ONNX Runtime on the same file, our f32); None: none is asked for."""
    if form == "int4":
        return {(1, 32): 1.0, (32, 32): 1.8 if vnni else 1.0}.get(shape), None
    if form == "w8a8":
        return ((0.9 if shape == (1, 32) else 1.0), 1.8) if vnni else (None, 1.25)
    return None, None


def has_vnni():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return any("vnni" in line for line in lines)


def verdict(ratio, least):
    return f"{ratio:>6.2f}x" + ("" if least is None or ratio >= least else " missed")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pare")
    parser.add_argument("folder")
    parser.add_argument("forms", nargs="*", default=FORMS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json")
    options = parser.parse_args()
    pare, dense, vnni = os.path.abspath(options.pare), os.path.join(options.folder, "encoder.onnx"), has_vnni()
    inputs, report = os.path.join(options.folder, "bench.npz"), []
    print(f"load {os.getloadavg()[0]:.1f}; milliseconds a run, medians of {options.rounds} rounds")
    print(f"{'form':<6} {'shape':<8} {'pare':>9} {'ONNX Runtime':>13} {'ratio':>7} {'our f32':>9} {'ratio':>7}")
    for form in options.forms or FORMS:
        small = os.path.join(options.folder, f"encoder_{form}.onnx")
        if not os.path.exists(small):
            subprocess.check_call([pare, "compress", dense, small, "--quantize", form, "--no-verify", "-q"])
        for shape in SHAPES:
            models.make_inputs("encoder", shape, inputs)
            times = {"pare": [], "onnxruntime": [], "dense": []}
            for _ in range(options.rounds):
                times["pare"].append(models.time_pare(pare, small, inputs, options.seconds))
                times["onnxruntime"].append(models.time_peer(small, inputs, options.seconds))
                times["dense"].append(models.time_pare(pare, dense, inputs, options.seconds))
            ours, peer, full = (statistics.median(times[side]) for side in ("pare", "onnxruntime", "dense"))
            least = asked(form, shape, vnni)
            text = "x".join(map(str, shape))
            print(f"{form:<6} {text:<8} {ours:>9.2f} {peer:>13.2f} {verdict(peer / ours, least[0])} {full:>9.2f} "
                  f"{verdict(full / ours, least[1])}", flush=True)
            report.append({"form": form, "shape": shape, "bytes": os.path.getsize(small), **times})
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"load": os.getloadavg(), "vnni": vnni, "cases": report}, file, indent=1)


if __name__ == "__main__":
    main()
