/* The `kept` largest elements of each block of the rows of [outer][length], in order, with their indices.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   topk_scan   elements in any order: those beyond a threshold go to a buffer in local memory; a full buffer is sorted
 *               and cut to its best, the last of which is the new threshold. In random order few get that far.
 *   topk_merge  a block is two runs in order: every item, or group, finds where its part of the result begins in both
 *               (merge path: Green, McColl & Bader, "GPU Merge Path", 2012).
 *
 * Equal elements stay in the order of their positions. CPU: one item takes whole blocks, or a part of a merge. GPU: a
 * group takes a block, or a tile of a merge. Passes of either kernel over what is left end the job. */
#include "select_key.cl"

#ifndef GROUP
#define GROUP 1
#endif

#define ARGUMENTS                                                                                                   \
  __global const STORE(T0) *x, long x_from, __global const long *x_index, long x_index_from, __global STORE(T2) *y, \
      long y_from, __global long *y_index, long y_index_from, long outer, long length, long block, long kept,       \
      long run, long x_outer, long y_outer, long position
#define KEY_AT(i) KEY_OF(T0, LOAD(T0, x, i))

/* To block b of row o; `first` is where it begins in the row, n its length. */
#define BEGIN_BLOCK(o, b)                                    \
  long first = (b)*block, n = min(block, length - first);    \
  x += x_from + (o)*x_outer + first;                         \
  x_index += FIRST ? 0 : x_index_from + (o)*x_outer + first; \
  y += y_from + (o)*y_outer + (b)*kept;                      \
  y_index += y_index_from + (o)*y_outer + (b)*kept

#if FIRST
#define INDEX_AT(i) (position + first + (i))
#else
#define INDEX_AT(i) x_index[i]
#endif
#define PUT(to, from)                   \
  {                                     \
    SAVE(T2, y, to, LOAD(T0, x, from)); \
    y_index[to] = INDEX_AT(from);       \
  }

#if MERGE

/* How many of the first d elements of the result come from the first of two runs; of equal ones it comes first. */
#define PATH_DEFINE(name, space, key_of)                           \
  static long name(space, long na, long second, long nb, long d) { \
    long low = max(0L, d - nb), high = min(d, na);                 \
    while (low < high) {                                           \
      long middle = (low + high) / 2;                              \
      if (key_of(middle) >= key_of(second + d - 1 - middle))       \
        low = middle + 1;                                          \
      else                                                         \
        high = middle;                                             \
    }                                                              \
    return low;                                                    \
  }
PATH_DEFINE(path, __global const STORE(T0) *x, KEY_AT)

#if GROUP == 1

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void topk_merge(ARGUMENTS, int part) {
  BEGIN_BLOCK((long)get_global_id(2), (long)get_global_id(1));
  long na = min(run, n), nb = n - na, d = (long)get_global_id(0) * part, end = min(d + part, min(kept, n));
  if (d >= end) return;
  long a = path(x, na, na, nb, d), b = na + d - a;
  for (; d < end; d++) {
    KEY key_a = KEY_AT(min(a, na - 1)), key_b = KEY_AT(min(b, n - 1));
    bool second = (a == na) | ((b < n) & (key_b > key_a));
    long from = second ? b : a;
    PUT(d, from);
    a += !second;
    b += second;
  }
}

#else

#define EACH 8 /* results of an item */
#define TILE (GROUP * EACH)
#define LOCAL_KEY(i) keys[i]
PATH_DEFINE(local_path, __local const KEY *keys, LOCAL_KEY)

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void topk_merge(ARGUMENTS) {
  __local KEY keys[TILE];
  __local int source[TILE];
  BEGIN_BLOCK((long)get_global_id(2), (long)get_global_id(1));
  int item = get_local_id(0);
  long na = min(run, n), nb = n - na, most = min(kept, n);
  long from = min((long)get_group_id(0) * TILE, most), end = min(from + TILE, most);
  long a = path(x, na, na, nb, from), b = na + from - a;
  int count_a = (int)(path(x, na, na, nb, end) - a), count = (int)(end - from);
  for (int t = item; t < count; t += GROUP) keys[t] = KEY_AT(t < count_a ? a + t : b + t - count_a);
  barrier(CLK_LOCAL_MEM_FENCE);
  int d = min(item * EACH, count), stop = min(d + EACH, count);
  int i = (int)local_path(keys, count_a, count_a, count - count_a, d), j = count_a + d - i;
  for (; d < stop; d++) {
    bool second = i == count_a || (j < count && keys[j] > keys[i]);
    source[d] = second ? j : i;
    i += !second;
    j += second;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int t = item; t < count; t += GROUP) {
    long s = source[t] < count_a ? a + source[t] : b + source[t] - count_a;
    PUT(from + t, s);
  }
}
#endif

#elif GROUP == 1

#define SHORT_RUN 8

static void sort_short_runs(__local KEY *keys, __local int *places, int n) {
  for (int from = 0; from < n; from += SHORT_RUN) {
    int end = min(from + SHORT_RUN, n);
    for (int i = from + 1; i < end; i++) {
      KEY key = keys[i];
      int place = places[i], j = i;
      for (; j > from && keys[j - 1] < key; j--) {
        keys[j] = keys[j - 1];
        places[j] = places[j - 1];
      }
      keys[j] = key;
      places[j] = place;
    }
  }
}

/* Sorts n entries, the largest first, equal ones as they are; there is room for twice `capacity`. Returns where they
 * are: 0 or capacity. */
static int sort_entries(__local KEY *keys, __local int *places, int n, int capacity) {
  int from = 0;
  sort_short_runs(keys, places, n);
  for (int run = SHORT_RUN; run < n; run *= 2) {
    int to = capacity - from;
    for (int first = 0; first < n; first += 2 * run) {
      int middle = min(first + run, n), end = min(first + 2 * run, n), a = first, b = middle;
      for (int i = first; i < end; i++) {
        KEY key_a = keys[from + min(a, middle - 1)], key_b = keys[from + min(b, end - 1)];
        bool second = (a == middle) | ((b < end) & (key_b > key_a));
        keys[to + i] = second ? key_b : key_a;
        places[to + i] = places[from + (second ? b : a)];
        a += !second;
        b += second;
      }
    }
    from = to;
  }
  return from;
}

/* Sorts the entries and keeps the best at the beginning. Returns how many. */
static int cut_entries(__local KEY *keys, __local int *places, int count, int kept, int capacity) {
  int from = sort_entries(keys, places, count, capacity), most = min(count, kept);
  for (int i = 0; from > 0 && i < most; i++) {
    keys[i] = keys[from + i];
    places[i] = places[from + i];
  }
  return most;
}

static int scan_block(__global const STORE(T0) *x, int n, int kept, __local KEY *keys, __local int *places,
                      int capacity) {
  int count = min(n, capacity);
  for (int i = 0; i < count; i++) {
    keys[i] = KEY_AT(i);
    places[i] = i;
  }
  int i = count;
  count = cut_entries(keys, places, count, kept, capacity);
  while (i < n) {
    KEY threshold = keys[kept - 1]; /* here the buffer was full: it holds `kept` */
    int stop = i + 1;
#if WIDTH > 1
    if (i + WIDTH <= n) {
      KEYV(WIDTH) wide = KEYV_OF(T0, WIDTH, LOADV(T0, WIDTH, x, i));
      stop = ANY(WIDTH, wide > threshold) ? i + WIDTH : i;
      if (stop == i) {
        i += WIDTH;
        continue;
      }
    }
#endif
    for (; i < stop; i++) {
      KEY key = KEY_AT(i);
      if (key <= threshold) continue;
      keys[count] = key;
      places[count++] = i;
      if (count == capacity) {
        count = cut_entries(keys, places, count, kept, capacity);
        threshold = keys[kept - 1];
      }
    }
  }
  return count > kept ? cut_entries(keys, places, count, kept, capacity) : count;
}

/* keys and places have room for twice `capacity`, which is more than `kept`, or all of a block. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
topk_scan(ARGUMENTS, long blocks, int capacity, int blocks_per_item, __local KEY *keys, __local int *places) {
  long at = (long)get_global_id(0) * blocks_per_item, end = min(at + blocks_per_item, outer * blocks);
  __global const STORE(T0) *all_x = x;
  __global STORE(T2) *all_y = y;
  __global const long *all_x_index = x_index;
  __global long *all_y_index = y_index;
  for (; at < end; at++) {
    x = all_x;
    y = all_y;
    x_index = all_x_index;
    y_index = all_y_index;
    BEGIN_BLOCK(at / blocks, at % blocks);
    int count = scan_block(x, (int)n, (int)kept, keys, places, capacity);
    for (int i = 0; i < count; i++) PUT(i, places[i]);
  }
}

#else

/* Bitonic sort (Batcher 1968) of the first n entries, the best first; up to the next power of two, the rest is filled
 * with the worst. */
static void sort_entries(__local KEY *keys, __local int *places, int n, int item) {
  int size = 1;
  while (size < n) size *= 2;
  for (int i = n + item; i < size; i += GROUP) {
    keys[i] = 0;
    places[i] = INT_MAX;
  }
  for (int span = 2; span <= size; span *= 2)
    for (int step = span / 2; step > 0; step /= 2) {
      barrier(CLK_LOCAL_MEM_FENCE);
      for (int pair = item; pair < size / 2; pair += GROUP) {
        int a = pair / step * 2 * step + pair % step, b = a + step;
        KEY key_a = keys[a], key_b = keys[b];
        int place_a = places[a], place_b = places[b];
        bool in_order = key_a > key_b || (key_a == key_b && place_a < place_b);
        if (in_order == ((a & span) == 0)) continue;
        keys[a] = key_b;
        keys[b] = key_a;
        places[a] = place_b;
        places[b] = place_a;
      }
    }
  barrier(CLK_LOCAL_MEM_FENCE);
}

/* capacity: a power of two; all of a block, or at least kept + GROUP. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void topk_scan(ARGUMENTS, int capacity, __local KEY *keys,
                                                                           __local int *places) {
  __local int shared;
  int item = get_local_id(0), count = 0;
  bool cut = false;
  KEY threshold = 0;
  BEGIN_BLOCK((long)get_global_id(1), (long)get_group_id(0));
  if (item == 0) shared = 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int from = 0; from < n; from += GROUP) {
    if (from + item < n) {
      KEY key = KEY_AT(from + item);
      if (!cut || key > threshold) {
        int at = atomic_inc(&shared);
        keys[at] = key;
        places[at] = from + item;
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    count = shared;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (count + GROUP > capacity && from + GROUP < n) {
      sort_entries(keys, places, count, item);
      cut = true;
      threshold = keys[kept - 1];
      count = (int)kept;
      if (item == 0) shared = count;
      barrier(CLK_LOCAL_MEM_FENCE);
    }
  }
  sort_entries(keys, places, count, item);
  for (int i = item; i < min(count, (int)kept); i += GROUP) PUT(i, places[i]);
}
#endif
