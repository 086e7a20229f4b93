/* Weights of recurrent cells, packed once. SPDX-License-Identifier: Apache-2.0 */
#include <pare/gemm.h>
#include <stdlib.h>

#include "graph/compose.h"
#include "graph/quantised.h"
#include "graph/recurrent.h"
#include "op/recurrent.h"

enum { MOST_INT8_DEPTH = 65000 }; /* of pare_weights_pack_int8 */

typedef struct packed {
  pare_weights *input[2], *recurrent[2], *candidate[2];
  pare_tensor *panels[2]; /* the recurrent ones again, for op/recurrent.h */
  bool rounds[2];         /* the input's and the recurrent ones: see pare__gate_weights */
} packed;

static void packed_close(void *prepared) {
  packed *weights = prepared;
  for (int d = 0; d < 2; d++) {
    pare_weights_close(weights->input[d]);
    pare_weights_close(weights->recurrent[d]);
    pare_weights_close(weights->candidate[d]);
    pare_tensor_close(weights->panels[d]);
  }
  free(weights);
}

/* ---- floats: [directions, gates * hidden, inputs] ---- */

/* Rows of direction d of W or R. */
static pare_status rows_of(pare__call *call, pare_tensor *all, int d, int64_t first, int64_t count, pare_tensor **out) {
  PARE__TRY(pare__call_at(call, all, 0, d, out));
  return pare__call_slice(call, *out, 0, first, count, 1, out);
}

/* Does the call's GRU multiply by r before the product? Then the rows of its last gate are a matrix apart. */
static bool is_apart(const pare__call *call) {
  return call->node->op->detail == PARE__CELL_GRU && pare__call_get_int(call, "linear_before_reset", 0) == 0;
}

static pare_status pack_rows(pare__call *call, pare_tensor *all, int d, int64_t first, int64_t count,
                             pare_weights **out) {
  pare_tensor *rows;
  PARE__TRY(rows_of(call, all, d, first, count, &rows));
  return pare_weights_pack(rows, true, out);
}

static pare_status pack_panels(pare__call *call, pare_tensor *r, int d, pare_tensor **out) {
  pare_tensor *rows;
  PARE__TRY(pare__call_at(call, r, 0, d, &rows));
  return pare__sequence_pack(rows, r->shape.dim[1] / PARE__MAX(r->shape.dim[2], 1), out);
}

static pare_status pack_floats(pare__call *call, packed *weights) {
  pare_tensor *w, *r;
  PARE__TRY(pare__call_tensor(call, PARE__RECURRENT_W, &w));
  PARE__TRY(pare__call_tensor(call, PARE__RECURRENT_R, &r));
  for (int d = 0; w && d < w->shape.dim[0]; d++)
    PARE__TRY(pack_rows(call, w, d, 0, w->shape.dim[1], &weights->input[d]));
  for (int d = 0; r && d < r->shape.dim[0]; d++) {
    const int64_t rows = r->shape.dim[1], first = is_apart(call) ? rows / 3 * 2 : rows;
    PARE__TRY(pack_rows(call, r, d, 0, first, &weights->recurrent[d]));
    if (first < rows) PARE__TRY(pack_rows(call, r, d, first, rows - first, &weights->candidate[d]));
    PARE__TRY(pack_panels(call, r, d, &weights->panels[d]));
  }
  return PARE_OK;
}

/* ---- bytes: [directions, inputs, gates * hidden], their scales and zero points [directions] or [directions, gates *
 * hidden] ---- */

/* Can products round their other factor too and add bytes? Weights whose zero point is not 0 become floats. */
static bool is_symmetric(const pare__call *call, unsigned matrix, unsigned zero) {
  const pare__slot *slot = call->input[matrix];
  return slot->dtype == PARE_I8 && pare__call_known_to_be(call, zero, 0) && slot->shape.dim[1] <= MOST_INT8_DEPTH;
}

static pare_status pack_bytes(pare__call *call, unsigned matrix, unsigned scales, bool symmetric, int d,
                              pare_weights **out) {
  pare_tensor *bytes, *floats;
  pare__quantisation q = {.axis = 1};
  PARE__TRY(pare__call_tensor(call, matrix, &bytes));
  PARE__TRY(pare__call_tensor(call, scales, &q.scale));
  PARE__TRY(pare__call_tensor(call, scales + 1, &q.zero));
  PARE__TRY(pare__call_at(call, bytes, 0, d, &bytes));
  PARE__TRY(pare__call_at(call, q.scale, 0, d, &q.scale));
  if (symmetric) return pare_weights_pack_int8(bytes, false, q.scale, out);
  if (q.zero) PARE__TRY(pare__call_at(call, q.zero, 0, d, &q.zero));
  PARE__TRY(pare__call_scratch(call, PARE_F32, 2, bytes->shape.dim, &floats));
  PARE__TRY(pare__call_dequantise(call, bytes, &q, floats));
  return pare_weights_pack(floats, false, out);
}

static pare_status pack_quantised(pare__call *call, packed *weights) {
  static const unsigned matrix[2] = {PARE__RECURRENT_W, PARE__RECURRENT_R};
  static const unsigned scales[2] = {PARE__RECURRENT_W_SCALE, PARE__RECURRENT_R_SCALE};
  for (int i = 0; i < 2; i++) {
    pare_weights **out = i == 0 ? weights->input : weights->recurrent;
    weights->rounds[i] = is_symmetric(call, matrix[i], scales[i] + 1);
    for (int d = 0; d < call->input[matrix[i]]->shape.dim[0]; d++)
      PARE__TRY(pack_bytes(call, matrix[i], scales[i], weights->rounds[i], d, &out[d]));
  }
  return PARE_OK;
}

static bool is_quantised(const pare__call *call) { return (call->node->op->detail & PARE__CELL_QUANTISED) != 0; }

/* Are all that pack_quantised reads there, with shapes that it may rely on? */
static bool has_all_bytes(pare__call *call) {
  for (unsigned i = PARE__RECURRENT_W; i <= PARE__RECURRENT_R; i++) {
    const unsigned first = i == PARE__RECURRENT_W ? PARE__RECURRENT_W_SCALE : PARE__RECURRENT_R_SCALE;
    const pare__shape *shape = &call->input[i]->shape;
    for (unsigned k = first; k <= first + 1; k++) {
      if (!pare__call_has(call, k)) continue;
      const pare__shape *parts = &call->input[k]->shape;
      const bool fits = parts->rank >= 1 && parts->rank <= 2 && parts->dim[0] == shape->dim[0] &&
                        (parts->rank == 1 || parts->dim[1] == shape->dim[2]);
      if (!fits || !call->input[k]->content) return false;
    }
    if (!pare__call_has(call, first) || !call->input[i]->content) return false;
  }
  return true;
}

/* ---- both ---- */

static bool can_be_packed(const pare__call *call, unsigned i) {
  if (!pare__call_has(call, i)) return true;
  const pare__slot *slot = call->input[i];
  const bool takes = is_quantised(call) ? slot->dtype == PARE_I8 || slot->dtype == PARE_U8
                                        : pare__dtype_is_float(slot->dtype) && slot->dtype != PARE_F64;
  return takes && pare__shape_elements(&slot->shape) > 0 && slot->shape.rank == 3 && slot->shape.dim[0] <= 2 &&
         slot->shape.dim[1] >= (is_quantised(call) ? 1 : 3);
}

pare_status pare__recurrent_prepare(pare__call *call, pare__node *node) {
  for (unsigned i = PARE__RECURRENT_W; i <= PARE__RECURRENT_R; i++)
    if (!can_be_packed(call, i)) return PARE_OK; /* run says what is wrong with it, if anything is */
  if (is_quantised(call) && (!pare__call_has(call, PARE__RECURRENT_R) || !has_all_bytes(call))) return PARE_OK;
  packed *weights = calloc(1, sizeof *weights);
  if (!weights) return pare__fail_memory("packed weights", sizeof *weights);
  node->prepared = weights;
  node->prepared_close = packed_close;
  return is_quantised(call) ? pack_quantised(call, weights) : pack_floats(call, weights);
}

pare_status pare__recurrent_take_weights(const pare__recurrent *r, pare__recurrent_direction *direction) {
  pare__call *call = r->call;
  const int d = direction->index;
  const packed *weights = call->node->prepared;
  const int64_t rows = r->gates * r->hidden, first = is_apart(call) ? 2 * r->hidden : rows;
  if (weights) {
    direction->input = (pare__gate_weights){.packed = weights->input[d], .rounds = weights->rounds[0]};
    direction->recurrent = (pare__gate_weights){.packed = weights->recurrent[d], .rounds = weights->rounds[1]};
    direction->candidate.packed = weights->candidate[d];
    direction->panels = weights->panels[d];
  } else if (is_quantised(call)) {
    return pare__call_fail(
        call, PARE_ERR_UNSUPPORTED,
        "its weights, scales and zero points must be constants: W and R i8 or u8 [directions, inputs, "
        "4 hidden], the others [directions] or [directions, 4 hidden]");
  }
  pare_tensor *w, *recurrent;
  if (!direction->input.packed) {
    PARE__TRY(pare__call_tensor(call, PARE__RECURRENT_W, &w));
    PARE__TRY(rows_of(call, w, d, 0, rows, &direction->input.plain));
  }
  if (!direction->recurrent.packed) {
    PARE__TRY(pare__call_tensor(call, PARE__RECURRENT_R, &recurrent));
    PARE__TRY(rows_of(call, recurrent, d, 0, first, &direction->recurrent.plain));
    if (first < rows) PARE__TRY(rows_of(call, recurrent, d, first, rows - first, &direction->candidate.plain));
  }
  PARE__TRY(pare__call_tensor(call, PARE__RECURRENT_PEEPHOLES, &direction->peephole));
  return direction->peephole ? pare__call_at(call, direction->peephole, 0, d, &direction->peephole) : PARE_OK;
}

pare_status pare__gate_product(const pare__gate_weights *weights, pare_tensor *a, pare_tensor *bias, pare_tensor *out) {
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  if (weights->rounds) {
    const bool is_row = bias && bias->shape.rank == 1;
    PARE__TRY(pare_gemm_int8(a, weights->packed, is_row ? bias : NULL, NULL, out));
    return bias && !is_row ? pare_binary(PARE_BINARY_add, out, bias, out) : PARE_OK;
  }
  if (weights->packed) return pare_gemm_packed(a, weights->packed, bias, &options, out);
  options.transpose_b = true;
  return pare_gemm(a, weights->plain, bias, &options, out);
}
