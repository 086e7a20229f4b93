#!/usr/bin/env python3
"""The node cases of a pinned ONNX: all pass but those that a list names with the reason, and those do not.
SPDX-License-Identifier: Apache-2.0

  check.py PARE FOLDER    (FOLDER keeps a virtual environment and the cases between runs)
"""
import json
import os
import subprocess
import sys
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
LIST = os.path.join(HERE, "onnx-1.23.tsv")
FEWEST = 1800  # fewer cases than this: something was not generated
# Where the reference rounds to f16 or bf16 after each of its steps, and pare at the end: four units in the last place.
SMALL_FLOATS = {"fp16": 2.0 ** -8, "bf16": 2.0 ** -5}


def prepare(folder):
    python = os.path.join(folder, "venv", "bin", "python")
    if not os.path.exists(os.path.join(folder, "venv", "complete")):
        venv.create(os.path.join(folder, "venv"), with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.check_call(install + ["numpy", "ml_dtypes", "protobuf", "typing_extensions"])
        subprocess.check_call(install + ["--no-deps", "--require-hashes", "--only-binary=:all:", "-r",
                                         os.path.join(HERE, "onnx-1.23.txt")])
        open(os.path.join(folder, "venv", "complete"), "w").close()
    cases = os.path.join(folder, "cases")
    if not os.path.isdir(cases):
        subprocess.check_call([python, os.path.join(HERE, "generate.py"), cases + ".part"])
        os.rename(cases + ".part", cases)
    return cases


def read_list():
    with open(LIST) as file:
        return dict(line.rstrip("\n").split("\t") for line in file if not line.startswith("#"))


def verify(pare, paths, *options):
    """The results by case; None if pare did not come to an end."""
    ended = subprocess.run([pare, "verify", "--json", *options, *paths], stdout=subprocess.PIPE, check=False)
    if ended.returncode > 1:
        print(f"pare verify ended with status {ended.returncode}")
        return None
    return {result["case"]: result for result in json.loads(ended.stdout)}


def verify_all(pare, cases):
    found = verify(pare, [cases])
    for kind, tolerance in SMALL_FLOATS.items() if found else ():
        again = [os.path.join(cases, name) for name, result in found.items()
                 if result["status"] == "fail" and "attention_" in name and f"_{kind}" in name]
        results = verify(pare, again, "--rtol", str(tolerance), "--atol", str(tolerance / 8)) if again else {}
        if results is None:
            return None
        found.update(results)
    return found


def main():
    pare, folder = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    os.makedirs(folder, exist_ok=True)
    cases, listed = prepare(folder), read_list()
    found = verify_all(pare, cases)
    if found is None:
        return 1
    passed = {name for name, result in found.items() if result["status"] == "pass"}
    wrong = 0
    for name in sorted(found):
        if name not in passed and name not in listed:
            print(f"FAIL  {name}: {found[name]['status']}: {found[name]['reason']}")
            wrong += 1
    for name in sorted(listed):
        if name in passed or name not in found:
            what = "passes" if name in passed else "is no case"
            print(f"FAIL  {name} {what}, though {os.path.basename(LIST)} names it")
            wrong += 1
    if len(found) < FEWEST:
        print(f"FAIL  only {len(found)} cases")
        wrong += 1
    print(f"{len(passed)} of {len(found)} cases passed, {len(listed)} listed, {wrong} not as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
