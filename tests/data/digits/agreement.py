#!/usr/bin/env python3
"""Runs the digits model on its test set on every device. SPDX-License-Identifier: Apache-2.0

  agreement.py PARE

One line a device: accuracy, latency, and the largest difference of any output to that of the first device. Exits with 1
if a device is less accurate than 0.99 or differs by more than 1e-3.
"""
import array
import json
import os
import subprocess
import sys
import tempfile
import zipfile

LEAST_ACCURACY, MOST_DIFFERENCE, SECONDS = 0.99, 1e-3, 300
FOLDER = os.path.dirname(os.path.abspath(__file__))
MODEL, DATA = os.path.join(FOLDER, "digits.onnx"), os.path.join(FOLDER, "digits_test.npz")


def call(pare, *arguments):
    """What the command prints, or the reason why it failed."""
    try:
        done = subprocess.run([pare, "-q", *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return None, f"no answer after {SECONDS} s"
    if done.returncode == 0:
        return done.stdout, ""
    lines = done.stderr.strip().splitlines()
    return None, lines[0] if lines else f"exit status {done.returncode}"


def read_outputs(path):
    """The f32 elements of each array of an archive, which holds them as they are; a head comes before."""
    outputs = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            start = 10 + int.from_bytes(content[8:10], "little")
            outputs[name] = array.array("f", content[start:])
    return outputs


def largest_difference(a, b):
    return max(abs(x - y) for name in a for x, y in zip(a[name], b[name]))


def try_device(pare, selector, output):
    """(accuracy, milliseconds a batch, images a second, outputs), or a reason."""
    text, reason = call(pare, "-d", selector, "eval", MODEL, "--data", DATA, "--json")
    if text is None:
        return reason
    found = json.loads(text)
    text, reason = call(pare, "-d", selector, "run", MODEL, "-i", DATA, "-o", output)
    if text is None:
        return reason
    return found["accuracy"], found["median_ms"], found["per_second"], read_outputs(output)


def main():
    pare, first, failed = sys.argv[1], None, False
    text, reason = call(pare, "devices", "-d", "all", "--json")
    if text is None:
        sys.exit(f"agreement.py: {reason}")
    devices = [device for device in json.loads(text)["devices"] if device["usable"]]
    with tempfile.TemporaryDirectory() as folder:
        for device in devices:
            label = f"{device['index']}  {device['driver']:<10} {device['name'][:40]:<40}"
            result = try_device(pare, str(device["index"]), os.path.join(folder, "out.npz"))
            if isinstance(result, str):
                print(f"{label}  {result}")
                failed = True
                continue
            accuracy, ms, per_second, outputs = result
            difference = largest_difference(first, outputs) if first else 0.0
            agrees = f"differs from the first by at most {difference:.1e}" if first else "the first"
            print(f"{label}  accuracy {accuracy:.4f}, {ms:.2f} ms a batch of 32, {per_second:.0f} images/s; {agrees}")
            first = first or outputs
            failed = failed or accuracy < LEAST_ACCURACY or not difference <= MOST_DIFFERENCE
    return 1 if failed or not devices else 0


if __name__ == "__main__":
    sys.exit(main())
