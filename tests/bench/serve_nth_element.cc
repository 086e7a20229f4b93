// Benchmark server: std::nth_element on magnitudes, one thread. SPDX-License-Identifier: Apache-2.0
//
// kth: copies n magnitudes and partitions the copy at the middle; the copy is a small part of the time.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>

extern "C" {
#include "serve.h"
}

static size_t count;
static float *values, *copy;
static volatile float found;

static const char *open_kth(const long *arguments) {
  count = (size_t)arguments[0];
  values = bench_floats(count);
  copy = bench_floats(count);
  return values == nullptr || copy == nullptr ? "out of memory" : nullptr;
}

static const char *run_kth(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++) {
    for (size_t j = 0; j < count; j++) copy[j] = std::fabs(values[j]);
    std::nth_element(copy, copy + count / 2, copy + count, std::greater<float>());
    found = copy[count / 2];
  }
  return nullptr;
}

static void close_kth() {
  std::free(values);
  std::free(copy);
  values = copy = nullptr;
}

int main() {
  static const bench_work works[] = {{"kth", 1, open_kth, run_kth, close_kth},
                                     {nullptr, 0, nullptr, nullptr, nullptr}};
  return bench_serve(works, true);
}
