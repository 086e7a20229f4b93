#!/usr/bin/env python3
"""Writes the node cases of the onnx package that runs this, in the layout of the ONNX backend suite.
SPDX-License-Identifier: Apache-2.0

  generate.py FOLDER

Each case is FOLDER/NAME/model.onnx and FOLDER/NAME/test_data_set_N/{input,output}_K.pb. Inputs and outputs that are
sequences, optionals or maps are left out: such models are refused when they are opened.
"""
import os
import sys
import warnings

import numpy
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases


def as_tensor(value, name):
    """None where the value is no tensor."""
    if isinstance(value, onnx.TensorProto):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(value)
        tensor.name = name
        return tensor
    if value is None or isinstance(value, (list, dict, str)):
        return None
    return numpy_helper.from_array(numpy.asarray(value), name=name)


def write_case(folder, case):
    os.makedirs(folder)
    with open(os.path.join(folder, "model.onnx"), "wb") as file:
        file.write(case.model.SerializeToString())
    for number, (inputs, outputs) in enumerate(case.data_sets):
        data_set = os.path.join(folder, f"test_data_set_{number}")
        os.makedirs(data_set)
        for kind, values, infos in (("input", inputs, case.model.graph.input), ("output", outputs, case.model.graph.output)):
            for k, (value, info) in enumerate(zip(values, infos)):
                tensor = as_tensor(value, info.name)
                if tensor is not None:
                    with open(os.path.join(data_set, f"{kind}_{k}.pb"), "wb") as file:
                        file.write(tensor.SerializeToString())


def main():
    warnings.filterwarnings("ignore")
    numpy.random.seed(0)
    count = 0
    for case in collect_testcases(None):
        if case.model is not None:
            write_case(os.path.join(sys.argv[1], case.name), case)
            count += 1
    print(f"onnx {onnx.__version__}: {count} cases")


if __name__ == "__main__":
    main()
