/* Scale and zero point of a range. SPDX-License-Identifier: Apache-2.0
 *
 * A range is (-low, high), both at least 0; T1 is the scale's dtype, T3 (codes) or -DSIGNED says where codes begin. */
#ifndef PARE_GRID_SCALE_CL
#define PARE_GRID_SCALE_CL

#define LEVELS ((1 << BITS) - 1)
#define HALF_CODES (1 << (BITS - 1))
#ifndef SIGNED
#define SIGNED 0
#endif
#define LEAST_CODE (SIGNED ? -HALF_CODES : 0)
#define GREATEST_CODE (LEAST_CODE + LEVELS)
#define MIDDLE_CODE (LEAST_CODE + HALF_CODES)
/* The least code of a symmetric grid, less the middle. */
#define LEAST_SYMMETRIC (FULL_RANGE ? -HALF_CODES : 1 - HALF_CODES)
#define SYMMETRIC_STEPS (FULL_RANGE ? HALF_CODES - 0.5f : HALF_CODES - 1.0f)

/* What a scale may be: normal numbers of f32; f16 has its own limits. */
#define LEAST_SCALE PASTE(LEAST_SCALE_, T1)
#define LEAST_SCALE_f32 0x1p-126f
#define LEAST_SCALE_bf16 0x1p-126f
#define LEAST_SCALE_f16 0x1p-24f
#define GREATEST_SCALE PASTE(GREATEST_SCALE_, T1)
#define GREATEST_SCALE_f32 FLT_MAX
#define GREATEST_SCALE_bf16 0x1.fep127f
#define GREATEST_SCALE_f16 65504.0f

static float limited_scale(float scale) {
  const float some = scale > LEAST_SCALE ? scale : LEAST_SCALE;
  return some < GREATEST_SCALE ? some : GREATEST_SCALE;
}

static float scale_of(float2 range) {
  const float below = range.x < FLT_MAX ? range.x : FLT_MAX, above = range.y < FLT_MAX ? range.y : FLT_MAX;
  if (below == 0 && above == 0) return 1;
#if SYMMETRIC
  return limited_scale((below > above ? below : above) / SYMMETRIC_STEPS);
#else
  return limited_scale(below / LEVELS + above / LEVELS);
#endif
}

/* Steps from the lowest code to that of zero. */
static int steps_below(float2 range, float scale) {
  const float below = range.x < FLT_MAX ? range.x : FLT_MAX;
  const float steps = below / scale; /* rounded after it is limited, which is the same as the limit is whole */
  return as_int((steps < LEVELS ? steps : LEVELS) + 12582912.0f) - 0x4b400000;
}
#endif
