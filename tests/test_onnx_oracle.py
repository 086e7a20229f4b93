#!/usr/bin/python3
"""Holds the ONNX reader and writer against the parser that protoc generates from the installed schema: every file of the
ONNX backend tests, and mutations of them. SPDX-License-Identifier: Apache-2.0

    tests/test_onnx_oracle.py [MUTATIONS [SEED]]

Both sides print what they found (tests/onnx_dump.c here), and the texts are compared; what the writer wrote has to give
the same again. On Debian: apt-get install libonnx-dev libonnx-testdata protobuf-compiler python3-protobuf
"""
import glob
import importlib
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib

SCHEMA = "/usr/include/onnx/onnx.proto"
SUITE = "/usr/share/libonnx-testdata/data"
BUILD = os.environ.get("builddir", ".")
DUMP = [os.path.join(BUILD, "tests/onnx_dump"), "-r"]

# What newer schemas have: added to the installed one, so that both sides know the same fields.
NEWER = [
    ("AttributeProto", "repeated TypeProto type_protos = 15;"),
    ("ValueInfoProto", "repeated StringStringEntryProto metadata_props = 4;"),
    ("NodeProto", "optional string overload = 8;"),
    ("NodeProto", "repeated StringStringEntryProto metadata_props = 9;"),
    ("GraphProto", "repeated StringStringEntryProto metadata_props = 16;"),
    ("TensorProto", "repeated StringStringEntryProto metadata_props = 16;"),
    ("FunctionProto", "repeated AttributeProto attribute_proto = 11;"),
    ("FunctionProto", "repeated ValueInfoProto value_info = 12;"),
    ("FunctionProto", "optional string overload = 13;"),
    ("FunctionProto", "repeated StringStringEntryProto metadata_props = 14;"),
]
# What pare leaves in its unknown fields.
LEFT_OUT = {("ModelProto", "training_info")}
OPAQUE = "message Opaque { optional string domain = 1; optional string name = 2; }\n"
BYTES_FIELDS = {"s", "strings", "raw_data", "string_data"}
PACKED = {"float_data", "int32_data", "int64_data", "double_data", "uint64_data"}


def skip(why):
    print("skipped:", why)
    sys.exit(77)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def make_oracle(folder):
    """Compiles the schema with text as bytes: the encoding is the same, and text may then be anything."""
    schema = re.sub(r"//[^\n]*", "", read(SCHEMA).decode())
    for message, line in NEWER:
        head = re.search(r"\bmessage %s \{" % message, schema)
        body = schema[head.end():].split("\nmessage ")[0]
        if not re.search(r"\b%s\b" % line.split()[2], body):
            schema = schema[:head.end()] + "\n  " + line + schema[head.end():]
    begin = re.search(r"\bmessage TypeProto \{", schema).end()
    head, body = schema[:begin], schema[begin:]
    if "Opaque opaque_type" not in body:
        schema = head + "\n" + OPAQUE + body.replace("oneof value {", "oneof value { Opaque opaque_type = 7;", 1)
    schema = re.sub(r"\bstring (\w+ =)", r"bytes \1", schema)
    with open(os.path.join(folder, "oracle.proto"), "w") as file:
        file.write(schema)
    subprocess.run(["protoc", "-I" + folder, "--python_out=" + folder, "oracle.proto"], check=True, cwd=folder)
    sys.path.insert(0, folder)
    return importlib.import_module("oracle_pb2")


def bytes_text(path, data):
    if len(data) > 64:
        return "%s=#%d:%08x" % (path, len(data), zlib.crc32(data))
    return path + "=" + data.hex()


def packed_text(path, field, values):
    if field.cpp_type == field.CPPTYPE_FLOAT:
        words = [struct.unpack("<I", struct.pack("<f", v))[0] if v == v else 0x7FC00000 for v in values]
        return bytes_text(path, struct.pack("<%dQ" % len(words), *words))
    if field.cpp_type == field.CPPTYPE_DOUBLE:
        return bytes_text(path, struct.pack("<%dd" % len(values), *values))
    return bytes_text(path, struct.pack("<%dQ" % len(values), *(v & 0xFFFFFFFFFFFFFFFF for v in values)))


def value_text(path, field, value, lines):
    if field.cpp_type == field.CPPTYPE_MESSAGE:
        lines.append(path)
        message_text(path, value, lines)
    elif field.cpp_type == field.CPPTYPE_STRING:
        if field.name not in BYTES_FIELDS and b"\0" in value:
            raise ValueError("NUL")
        lines.append(bytes_text(path, value))
    elif field.cpp_type == field.CPPTYPE_FLOAT:
        bits = struct.unpack("<I", struct.pack("<f", value))[0] if value == value else 0x7FC00000
        lines.append("%s=%08x" % (path, bits))
    else:
        lines.append("%s=%d" % (path, value))


def message_text(path, message, lines):
    for field, value in sorted(message.ListFields(), key=lambda item: item[0].number):
        if (message.DESCRIPTOR.name, field.name) in LEFT_OUT:
            continue
        name = path + "." + field.name if path else field.name
        if field.name in PACKED:
            lines.append(packed_text(name, field, value))
        elif field.label == field.LABEL_REPEATED:
            for i, item in enumerate(value):
                value_text("%s[%d]" % (name, i), field, item, lines)
        else:
            value_text(name, field, value, lines)


def oracle_dump(oracle, name, data):
    """The lines, or None if the oracle, or what pare asks for besides, refuses the file."""
    message = oracle.TensorProto() if name.endswith(".pb") else oracle.ModelProto()
    lines = []
    try:
        message.ParseFromString(data)
        message_text("", message, lines)
    except Exception:  # the decoders raise several kinds
        return None, None
    if not data or (not name.endswith(".pb") and not message.HasField("graph")):
        return None, None
    return lines, message


def pare_dumps(names):
    """The lines for each file, None if refused; and why."""
    found = {}
    for begin in range(0, len(names), 500):
        run = subprocess.run(DUMP + names[begin:begin + 500], stdout=subprocess.PIPE, check=True)
        for part in run.stdout.decode().split("file /")[1:]:
            lines = part.splitlines()
            refused = [line for line in lines if line.startswith("refused ")]
            found["/" + lines[0]] = (None, refused[0]) if refused else (lines[1:], "")
    return found


def compare(oracle, names):
    nwrong = 0
    dumps = pare_dumps(names)
    for name in names:
        expected, message = oracle_dump(oracle, name, read(name))
        found, why = dumps.get(name, (None, ""))
        if "holds a NUL" in why:  # also in text that is given again, which the oracle then no longer has
            continue
        again = None
        if expected is not None and found == expected and os.path.exists(name + ".rewritten"):
            rewritten = type(message)()
            rewritten.ParseFromString(read(name + ".rewritten"))
            again = rewritten.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)
        external = found and any(".data_location=1" in "." + line for line in found)
        if found == expected and (again or external or expected is None):
            continue
        nwrong += 1
        kept = os.path.join(BUILD, "tests", "oracle-" + os.path.basename(name))
        shutil.copy(name, kept)
        print("differs: %s (pare %s, the oracle %s, rewritten %s) %s" % (
            kept, "refuses" if found is None else "accepts", "refuses" if expected is None else "accepts", again, why))
        for a, b in zip(found or [], expected or []):
            if a != b:
                print("  pare:   %s\n  oracle: %s" % (a[:200], b[:200]))
                break
    return nwrong


def mutate(data, other):
    data = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        at = random.randrange(len(data) + 1)
        length = random.choice([1, 2, 4, 16])
        kind = random.randrange(7)
        if kind == 0 and data:
            data[at % len(data)] = random.randrange(256)
        elif kind == 1 and data:
            data[at % len(data)] ^= 1 << random.randrange(8)
        elif kind == 2:
            del data[at:at + length]
        elif kind == 3:
            data[at:at] = bytes(random.randrange(256) for _ in range(length))
        elif kind == 4:
            begin = random.randrange(len(other))
            data[at:at] = other[begin:begin + random.randrange(1, 64)]
        elif kind == 5:
            data += data[at:]  # fields again: merged
        else:
            del data[at:]
    return bytes(data)


def main():
    nmutations = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    warnings.simplefilter("error")  # the only sign of a message that ends before its file does
    random.seed(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    if not shutil.which("protoc") or not os.path.exists(SCHEMA) or not os.path.isdir(SUITE):
        skip("apt-get install libonnx-dev libonnx-testdata protobuf-compiler python3-protobuf")
    try:
        importlib.import_module("google.protobuf")
    except ImportError:
        skip("apt-get install python3-protobuf")
    suite = sorted(glob.glob(SUITE + "/**/*.onnx", recursive=True) + glob.glob(SUITE + "/**/*.pb", recursive=True))
    with tempfile.TemporaryDirectory() as folder:
        oracle = make_oracle(folder)
        names = []
        for i, name in enumerate(suite):
            names.append(os.path.join(folder, "%05d%s" % (i, os.path.splitext(name)[1])))
            shutil.copy(name, names[-1])
        nwrong = compare(oracle, names)
        print("%d files of the suite, %d differ" % (len(names), nwrong))
        small = [name for name in names if 0 < os.path.getsize(name) < 20000]
        mutants = []
        for i in range(nmutations):
            name = random.choice(small)
            mutants.append(os.path.join(folder, "m%05d%s" % (i, os.path.splitext(name)[1])))
            with open(mutants[-1], "wb") as file:
                file.write(mutate(read(name), read(random.choice(small))))
        nmutants_wrong = compare(oracle, mutants)
        print("%d mutations, %d differ" % (nmutations, nmutants_wrong))
    total, failed = len(names) + nmutations, nwrong + nmutants_wrong
    print("%d%%: Checks: %d, Failures: %d, Errors: 0" % (100 * (total - failed) // total, total, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
