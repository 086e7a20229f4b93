#!/bin/bash
# A kernel of a user's own gives the same on one device and on several. SPDX-License-Identifier: Apache-2.0
set -u
example=${builddir:-.}/doc/examples/task
one=${PARE_DEVICE:-cpu}
[[ $one == */* || $one == *,* ]] && { echo "skipped: several devices are selected already"; exit 77; }
status=0
for devices in "$one" "$one/1+1"; do
  got=$(PARE_DEVICE=$devices "$example") || { echo "FAIL: $devices"; status=1; }
  [ "$got" = "the mean square of a row is 1.0000" ] || { echo "FAIL: $devices: $got"; status=1; }
done
exit $status
