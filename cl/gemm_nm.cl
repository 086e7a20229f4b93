/* B of a matrix product as it lies where it is N:M sparse: what its readers know. SPDX-License-Identifier: Apache-2.0
 *
 * -D NM_N, NM_M: of each NM_M steps of k a column keeps NM_N values. Units of NM_UNIT_GROUPS groups lie one after
 * another in each panel, the last one filled up with zeros:
 *
 *   B[panel][unit][group][s][column]      values of T1, in the order of k
 *   places[panel][unit][word][column]     ints: value p = group * NM_N + s of the unit lies at step
 *                                         (word[p / NM_WORD] >> p % NM_WORD * NM_BITS) & NM_MASK of its group
 *
 * b = value * scale[column], or the value itself where scale is NULL. Included by gemm_blocks.cl, in whose place it
 * serves the same kernels. T5 is the dtype of scale; places are its `zero`. */
#ifndef GEMM_NM_CL
#define GEMM_NM_CL

#define NM_BITS (NM_M <= 4 ? 2 : 4)
#define NM_MASK ((1 << NM_BITS) - 1)
#define NM_WORD (32 / NM_BITS) /* places in a word */
#define NM_UNIT_GROUPS (NM_N >= NM_WORD ? 1 : NM_WORD / NM_N)
#define NM_UNIT_WORDS ((NM_N + NM_WORD - 1) / NM_WORD)
#define NM_UNITS(k) (((k) / NM_M + NM_UNIT_GROUPS - 1) / NM_UNIT_GROUPS)

/* The place of value s of group g, of the words of one column. */
#define NM_PLACE(word, p) (((word) >> ((p) % NM_WORD * NM_BITS)) & NM_MASK)

/* VW values from `p` on as floats. -D B_BYTES: PoCL converts vectors of bytes lane by lane, a builtin of the compiler
 * in two instructions. */
#if B_BYTES && PARE_VECTOR_EXTENSIONS
#define NM_VALUES(p) __builtin_convertvector(JOIN(vload, VW)(0, p), LANES)
#else
#define NM_VALUES(p) CONVERTV(T1, f32, VW, LOADV(T1, VW, p, 0))
#endif

/* Value t of column j, and its step of k. */
static float nm_value(__global const STORE(T1) *b, long b_panel, int panel, __global const STORE(T5) *scale,
                      __global const int *places, int k, int t, int j, int *l) {
  const int g = t / NM_N, unit = g / NM_UNIT_GROUPS, p = t - unit * NM_UNIT_GROUPS * NM_N, column = j % panel;
  const long words = (long)(j / panel) * NM_UNITS(k) * NM_UNIT_WORDS + unit * NM_UNIT_WORDS + p / NM_WORD;
  *l = g * NM_M + NM_PLACE(places[words * panel + column], p);
  const float value = LOAD(T1, b, j / panel * b_panel + (long)t * panel + column);
  return scale ? value * LOAD(T5, scale, j) : value;
}

static float nm_element(__global const STORE(T1) *b, long b_panel, int panel, __global const STORE(T5) *scale,
                        __global const int *places, int k, int l, int j) {
  float found = 0.0f;
  _Pragma("unroll") for (int s = 0; s < NM_N; s++) {
    int at;
    const float value = nm_value(b, b_panel, panel, scale, places, k, l / NM_M * NM_N + s, j, &at);
    found = at == l ? value : found;
  }
  return found;
}

#define BLOCKS_PARAMETERS                                                                                            \
  , __global const STORE(T5) *scale, long scale_offset, __global const STORE(T6) *zero, long zero_offset, int block, \
      float zero_shift
/* Element (l, j) of B in a kernel that has the parameters of the plain ones. */
#define BLOCKS_ELEMENT(l, j) \
  nm_element(b, b_panel, panel, scale ? scale + scale_offset : 0, zero + zero_offset, k, (l), (j))
/* For kernels that only meet what is stored: how many there are, and number t of column j at step *l. */
#define STORED_STEPS (k / NM_M * NM_N)
#define STORED_ELEMENT(t, j, l) \
  nm_value(b, b_panel, panel, scale ? scale + scale_offset : 0, zero + zero_offset, k, (t), (j), (l))

#endif
