#!/usr/bin/python3
"""numpy judges .npy and .npz: what it writes is read and written again, and it finds the same arrays.
SPDX-License-Identifier: Apache-2.0

On Debian: apt-get install python3-numpy
"""
import os
import subprocess
import sys
import tempfile

try:
    import numpy
except ImportError:
    print("skipped: apt-get install python3-numpy")
    sys.exit(77)

CONVERT = [os.path.join(os.environ.get("builddir", "."), "tests/test_format_npy"), "convert"]
SHAPES = [(), (1,), (0,), (7,), (3, 5), (2, 0, 3), (2, 3, 4, 5), (1,) * 32]
TYPES = ["?", "i1", "u1", "<i2", ">i2", "<u2", ">u2", "<i4", ">i4", "<u4", "<i8", ">u8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8",
         "<c8", ">c16", "<V2"]
REFUSED = [numpy.array(["text"]), numpy.array([b"bytes"]), numpy.array([None]), numpy.zeros(3, "M8[s]"),
           numpy.zeros(2, [("a", "f4"), ("b", "i4")]), numpy.zeros(2, "V3"), numpy.zeros(2, "g")]
nchecks = nfailures = 0


def check(holds, text):
    global nchecks, nfailures
    nchecks += 1
    if not holds:
        nfailures += 1
        print("FAILED:", text)


def convert(source, target):
    return subprocess.run(CONVERT + [source, target], stdout=subprocess.PIPE, check=False)


def same(a, b):
    return a.shape == b.shape and a.dtype == b.dtype.newbyteorder("<") and a.tobytes() == b.astype(a.dtype).tobytes()


def main():
    numpy.random.seed(1)
    arrays = {}
    for dtype in TYPES:
        for shape in SHAPES:
            values = numpy.random.randint(0, 2 if dtype == "?" else 100, shape)
            array = values.astype("<u2").view("<V2") if dtype == "<V2" else numpy.asarray(values).astype(dtype)
            arrays["%s %s" % (dtype.replace("<", "le ").replace(">", "be "), "x".join(map(str, shape)))] = array
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "a.npy"), os.path.join(folder, "b.npy")
        for name, array in arrays.items():
            for order in "C", "F":
                numpy.save(source, numpy.asarray(array, order=order))
                done = convert(source, target)
                check(done.returncode == 0 and same(numpy.load(target), array), name + " " + order + str(done.stdout))
        for version in (1, 0), (2, 0), (3, 0):
            with open(source, "wb") as file:
                numpy.lib.format.write_array(file, numpy.arange(6.0), version=version)
            done = convert(source, target)
            check(done.returncode == 0 and same(numpy.load(target), numpy.arange(6.0)), "version %d.%d" % version)
        for array in REFUSED:
            numpy.save(source, array, allow_pickle=True)
            check(convert(source, target).returncode == 1, "refused: " + array.dtype.str)
        source, target = os.path.join(folder, "a.npz"), os.path.join(folder, "b.npz")
        names = list(arrays)
        for save in numpy.savez, numpy.savez_compressed:
            for begin in range(0, len(names), 50):
                some = {name: arrays[name] for name in names[begin:begin + 50]}
                save(source, **some)
                done = convert(source, target)
                found = numpy.load(target) if done.returncode == 0 else {}
                check(set(found) == set(some) and all(same(found[name], some[name]) for name in some),
                      "%s %d %s" % (save.__name__, begin, done.stdout))
    print("%d%%: Checks: %d, Failures: %d, Errors: 0" % (100 * (nchecks - nfailures) // nchecks, nchecks, nfailures))
    sys.exit(1 if nfailures else 0)


if __name__ == "__main__":
    main()
