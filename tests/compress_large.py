#!/usr/bin/env python3
"""Compresses files that are larger than memory may be. SPDX-License-Identifier: Apache-2.0

  compress_large.py PARE

A sparse safetensors file of 4 GiB within 512 MiB of device memory, and as much resident memory beyond what a small file
takes; one tensor of 1 GiB, which has one scale, or of which exactly so many are kept, likewise, and a [K, N] weight of
an ONNX model, whose rows lie across the file. Weights of models over 1 GiB go to a file of their own, in compact storage,
too, which comes back as the portable one bit for bit. Needs 8 GiB of free space where temporary files go, and says so
if there is less. Uses nothing but Python itself.
"""
import filecmp
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

MIB, GIB = 1 << 20, 1 << 30
NEEDED = 8 * GIB


def write_safetensors(path, ntensors, rows, columns):
    """Zeros that take no space on the disk."""
    size = rows * columns * 4
    head = {f"layer{i}.weight": {"dtype": "F32", "shape": [rows, columns], "data_offsets": [i * size, (i + 1) * size]}
            for i in range(ntensors)}
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + ntensors * size)


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def value_info(name, dims):
    shape = b"".join(text(1, text(2, dim) if isinstance(dim, str) else number(1, dim)) for dim in dims)
    return text(1, name) + text(2, text(1, number(1, 1) + text(2, shape)))


def write_onnx(path, inputs, outputs, pattern=b""):
    """y = x w, w of zeros that take no space on the disk, or of the pattern: what follows a message's length is last."""
    size = inputs * outputs * 4
    node = text(1, "x") + text(1, "w") + text(2, "y") + text(3, "product") + text(4, "MatMul")
    tensor = number(1, inputs) + number(1, outputs) + number(2, 1) + text(8, "w") + varint(9 << 3 | 2) + varint(size)
    graph = (text(1, node) + text(2, "large") + text(11, value_info("x", ["n", inputs])) +
             text(12, value_info("y", ["n", outputs])) + varint(5 << 3 | 2) + varint(len(tensor) + size) + tensor)
    model = (number(1, 8) + text(8, text(1, "") + number(2, 17)) + varint(7 << 3 | 2) + varint(len(graph) + size) +
             graph)
    with open(path, "wb") as file:
        file.write(model)
        for _ in range(size // len(pattern) if pattern else 0):
            file.write(pattern)
        file.truncate(len(model) + size)


def run(pare, *arguments):
    """Runs it and returns the largest resident memory in bytes."""
    child = subprocess.Popen([pare, "-q", *arguments], stdout=subprocess.DEVNULL,
                             env={**os.environ, "PARE_MEMORY": "512MiB"})
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"FAIL: pare {' '.join(arguments)}: exit {child.returncode}")
    return usage.ru_maxrss * 1024


def compress(pare, source, target, *options):
    return run(pare, "compress", source, target, *options)


def check_safetensors(pare, folder):
    large, small = os.path.join(folder, "large.safetensors"), os.path.join(folder, "small.safetensors")
    out = os.path.join(folder, "out.safetensors")
    write_safetensors(small, 1, 64, 4096)
    write_safetensors(large, 32, 8192, 4096)
    own = compress(pare, small, out, "--quantize", "int4")
    peak = compress(pare, large, out, "--quantize", "int4")
    print(f"4 GiB: {peak / MIB:.0f} MiB resident, {(peak - own) / MIB:.0f} more than for 1 MiB; "
          f"{os.path.getsize(out) / MIB:.0f} MiB written")
    os.unlink(large)
    if peak - own > 512 * MIB:
        sys.exit("FAIL: more than 512 MiB")


def check_tensor(pare, folder):
    """What needs a look at all of a tensor that is larger than the memory."""
    large, small = os.path.join(folder, "tensor.safetensors"), os.path.join(folder, "small.safetensors")
    out, recipe = os.path.join(folder, "out.safetensors"), os.path.join(folder, "recipe.json")
    write_safetensors(large, 1, 65536, 4096)
    for modifier in ({"quantize": {"num_bits": 8, "strategy": "tensor", "observer": "mse"}},
                     {"prune": {"sparsity": 0.5, "scope": "tensor"}}):
        with open(recipe, "w", encoding="utf-8") as file:
            json.dump({"pare": 1, "modifiers": [modifier]}, file)
        own = compress(pare, small, out, "--recipe", recipe)
        peak = compress(pare, large, out, "--recipe", recipe)
        name = next(iter(modifier))
        print(f"a tensor of 1 GiB, {name}: {peak / MIB:.0f} MiB resident, {(peak - own) / MIB:.0f} more than for 1 MiB")
        if peak - own > 512 * MIB:
            sys.exit("FAIL: more than 512 MiB")
    os.unlink(large)


def check_onnx(pare, folder):
    """Without a verification, which has both models in the device's memory."""
    source, small, target = (os.path.join(folder, name) for name in ("large.onnx", "small.onnx", "out.onnx"))
    write_onnx(source, 16384, 17408)
    write_onnx(small, 64, 4096)
    for options in (["--prune", "2:4"], ["--quantize", "f16"], ["--quantize", "w8a8"], ["--quantize", "int4"]):
        own = compress(pare, small, target, *options, "--no-verify")
        peak = compress(pare, source, target, *options, "--no-verify")
        print(f"a [K, N] weight of 1.06 GiB, {options[1]}: {peak / MIB:.0f} MiB resident, {(peak - own) / MIB:.0f} more "
              "than for 1 MiB")
        if peak - own > 512 * MIB:
            sys.exit("FAIL: more than 512 MiB")
        if options[0] == "--prune":
            beside = target + ".data"
            print(f"1.06 GiB: {os.path.getsize(target)} bytes of graph, {os.path.getsize(beside)} beside it")
            if os.path.getsize(target) > MIB or os.path.getsize(beside) < 16384 * 17408 * 4:
                sys.exit("FAIL: the weights are not in a file of their own")
    os.unlink(source)


def same_model(one, other):
    return all(filecmp.cmp(one + end, other + end, shallow=False) for end in ("", ".data"))


def check_compact(pare, folder):
    """3:4 of 1.4 GiB takes 1.1 GiB: both have a file of their own, named after the model."""
    source = os.path.join(folder, "large.onnx")
    write_onnx(source, 16384, 22528, struct.pack("<4f", 1, -2, 3, 0.5) * (1 << 16))
    models = {}
    for name in ("portable", "compact", "at-once", "again"):
        os.mkdir(os.path.join(folder, name))
        models[name] = os.path.join(folder, name, "out.onnx")
    prune = ("--prune", "3:4", "--no-verify")
    compress(pare, source, models["portable"], *prune)
    compress(pare, source, models["at-once"], *prune, "--storage", "compact")
    os.unlink(source)
    run(pare, "convert", models["portable"], models["compact"], "--storage", "compact")
    run(pare, "convert", models["compact"], models["again"], "--storage", "portable")
    portable, compact = (os.path.getsize(models[name] + ".data") for name in ("portable", "compact"))
    print(f"{portable / GIB:.2f} GiB beside the portable model, {compact / GIB:.2f} beside the compact one")
    if not GIB < compact < 0.8 * portable:
        sys.exit("FAIL: compact weights are not in a file of their own")
    if not same_model(models["portable"], models["again"]) or not same_model(models["compact"], models["at-once"]):
        sys.exit("FAIL: compact storage does not come back bit for bit")


def main():
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < NEEDED:
        print(f"skipped: {tempfile.gettempdir()} has {free / GIB:.1f} GiB free, and 8 are needed")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        check_safetensors(os.path.abspath(sys.argv[1]), folder)
        check_tensor(os.path.abspath(sys.argv[1]), folder)
        check_onnx(os.path.abspath(sys.argv[1]), folder)
        check_compact(os.path.abspath(sys.argv[1]), folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
