#!/bin/bash
# Puts Intel's OpenCL runtime for CPUs, from its Python wheels, into a folder: intel-runtime.sh FOLDER. Prints nothing if it is there already.
# Afterwards: OCL_ICD_VENDORS=FOLDER/vendors/ LD_LIBRARY_PATH=FOLDER/lib PROGRAM
# FOLDER/vendors/ holds this driver alone; FOLDER/both/ holds it and PoCL. SPDX-License-Identifier: Apache-2.0
set -eu
[ $# -eq 1 ] || { echo "usage: intel-runtime.sh FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
[ -e "$folder/complete" ] && exit 0

work=$(mktemp -d "$folder/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$work/wheels" \
  intel-opencl-rt intel-cmplr-lib-rt tbb tcmlib </dev/null
for wheel in "$work"/wheels/*.whl; do
  "$work/venv/bin/python" -m zipfile -e "$wheel" "$work/unpacked"
done

rm -rf "${folder:?}/lib" "$folder/vendors" "$folder/both"
mkdir -p "$folder/lib" "$folder/vendors" "$folder/both"
for lib in "$work"/unpacked/*.data/data/lib; do cp -a "$lib/." "$folder/lib/"; done
rm -f "$folder"/lib/libOpenCL.so* # the loader is the system's
driver=$(find "$folder/lib" -name 'libintelocl.so' | head -n 1)
[ -n "$driver" ] || { echo "intel-runtime.sh: the wheels hold no libintelocl.so" >&2; exit 1; }
echo "$driver" >"$folder/vendors/intel.icd"
cp "$folder/vendors/intel.icd" "$folder/both/"
[ ! -e /etc/OpenCL/vendors/pocl.icd ] || cp /etc/OpenCL/vendors/pocl.icd "$folder/both/"
touch "$folder/complete"
