/* Products of 8 bits by tiles of AMX: 16 rows of up to 64 bytes. SPDX-License-Identifier: Apache-2.0
 *
 * Before inclusion: PANEL, the columns of B, 32; MR, the rows of A, 16 or 32; TILES_PRODUCT, the instruction
 * ("tdpbusd": A without sign, B with; "tdpbsud": the other way round). Inline assembly, since a builtin with a target
 * attribute would not survive PoCL's inlining. */
#define TILE_ROWS 16
#define TILE_QUADS 16

/* Tiles 0 to 3 are sums, 4 and 5 are of A with `quads` times four steps of k, 6 and 7 of B with as many. Intel's
 * manual, volume 1, chapter 18: palette 1, then of each tile at byte 16 the bytes of a row (two bytes, little endian),
 * at byte 48 the rows. */
static void tiles_begin(int quads) {
  uchar shapes[64] __attribute__((aligned(64)));
  for (int i = 0; i < 64; i++) shapes[i] = 0;
  shapes[0] = 1;
  for (int t = 0; t < 8; t++) {
    shapes[16 + 2 * t] = t == 4 || t == 5 ? 4 * quads : 64;
    shapes[48 + t] = t >= 6 ? quads : TILE_ROWS;
  }
  __asm__ volatile("ldtilecfg (%0)" ::"r"(shapes) : "memory");
}

static void tiles_end(void) { __asm__ volatile("tilerelease" ::); }

/* sums[MR][PANEL] of `steps` times `quads` quads, at least one step. Rows of A past the last must be there, with
 * whatever values. a, b: addresses, of any address space. */
static __attribute__((noinline)) void tiles_multiply(ulong a, long a_row_bytes, ulong b, long steps, int quads,
                                                     int *sums) {
  const long row_bytes = PANEL * (long)sizeof(int), a_step = quads * (long)sizeof(int), b_step = quads * row_bytes;
#if MR > TILE_ROWS
  ulong lower = a + TILE_ROWS * a_row_bytes;
  int *lower_sums = sums + TILE_ROWS * PANEL;
#endif
  __asm__ volatile("tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3\n"
                   "1:\n\t"
                   "tileloadd (%[b],%[row_bytes],1), %%tmm6\n\t"
                   "tileloadd 64(%[b],%[row_bytes],1), %%tmm7\n\t"
                   "tileloadd (%[a],%[a_row_bytes],1), %%tmm4\n\t" TILES_PRODUCT
                   " %%tmm6, %%tmm4, %%tmm0\n\t" TILES_PRODUCT " %%tmm7, %%tmm4, %%tmm1\n\t"
                   "add %[a_step], %[a]\n\t"
#if MR > TILE_ROWS
                   "tileloadd (%[lower],%[a_row_bytes],1), %%tmm5\n\t" TILES_PRODUCT
                   " %%tmm6, %%tmm5, %%tmm2\n\t" TILES_PRODUCT " %%tmm7, %%tmm5, %%tmm3\n\t"
                   "add %[a_step], %[lower]\n\t"
#endif
                   "add %[b_step], %[b]\n\t"
                   "dec %[steps]\n\t"
                   "jnz 1b\n\t"
                   "tilestored %%tmm0, (%[sums],%[row_bytes],1)\n\t"
                   "tilestored %%tmm1, 64(%[sums],%[row_bytes],1)\n\t"
#if MR > TILE_ROWS
                   "tilestored %%tmm2, (%[lower_sums],%[row_bytes],1)\n\t"
                   "tilestored %%tmm3, 64(%[lower_sums],%[row_bytes],1)\n\t"
#endif
                   : [a] "+r"(a), [b] "+r"(b), [steps] "+r"(steps)
#if MR > TILE_ROWS
                                                   ,
                     [lower] "+r"(lower)
#endif
                   : [a_row_bytes] "r"(a_row_bytes), [row_bytes] "r"(row_bytes), [sums] "r"(sums), [a_step] "r"(a_step),
                     [b_step] "r"(b_step)
#if MR > TILE_ROWS
                         ,
                     [lower_sums] "r"(lower_sums)
#endif
                   : "memory", "cc");
}
