/* pare: neural networks, pared down and run on every OpenCL device. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_H
#define PARE_H

#include <pare/arrays.h>
#include <pare/cache.h>
#include <pare/compress.h>
#include <pare/context.h>
#include <pare/convolve.h>
#include <pare/device.h>
#include <pare/diff.h>
#include <pare/dtype.h>
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/grid.h>
#include <pare/index.h>
#include <pare/inspect.h>
#include <pare/kernel.h>
#include <pare/model.h>
#include <pare/move.h>
#include <pare/normalise.h>
#include <pare/operation.h>
#include <pare/pool.h>
#include <pare/project.h>
#include <pare/prune.h>
#include <pare/quantise.h>
#include <pare/random.h>
#include <pare/reduce.h>
#include <pare/resample.h>
#include <pare/schedule.h>
#include <pare/select.h>
#include <pare/simulate.h>
#include <pare/sparse.h>
#include <pare/status.h>
#include <pare/task.h>
#include <pare/tensor.h>
#include <pare/verify.h>

#endif
