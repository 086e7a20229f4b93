/* Running the cases of the ONNX backend tests. SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "graph/verify.h"

const char *pare_case_status_name(pare_case_status status) {
  static const char *const name[] = {"pass", "fail", "unsupported", "error"};
  return (unsigned)status < PARE__COUNT(name) ? name[status] : "?";
}

/* ---- where a case is ---- */

static bool is_there(const char *folder, const char *name) {
  char *path = pare__format("%s/%s", folder, name);
  const bool found = path && access(path, F_OK) == 0;
  free(path);
  return found;
}

static bool ends_in_onnx(const char *name) {
  const size_t length = strlen(name);
  return length > 5 && strcmp(name + length - 5, ".onnx") == 0;
}

/* How many models lie in the folder, and the names of the first two as the listing has them. */
static size_t list_models(const char *folder, char name[2][256]) {
  size_t count = 0;
  DIR *listing = opendir(folder);
  for (struct dirent *entry; listing && (entry = readdir(listing));) {
    if (entry->d_name[0] == '.' || !ends_in_onnx(entry->d_name)) continue;
    if (count < 2) snprintf(name[count], sizeof name[count], "%s", entry->d_name);
    count++;
  }
  if (listing) closedir(listing);
  return count;
}

bool pare_verify_is_case(const char *folder) {
  char name[2][256];
  if (!folder) return false;
  if (is_there(folder, "model.onnx")) return true;
  return is_there(folder, "test_data_set_0") && list_models(folder, name) > 0;
}

pare_status pare__case_find(const char *path, char **folder, char **model) {
  char name[2][256];
  const char *slash = strrchr(path, '/');
  struct stat found;
  const bool is_file = ends_in_onnx(path) && stat(path, &found) == 0 && !S_ISDIR(found.st_mode);
  *folder = *model = NULL;
  if (is_file) {
    *folder = slash ? pare__format("%.*s", (int)PARE__MAX(slash - path, 1), path) : pare__strdup(".");
    *model = pare__strdup(path);
  } else {
    const bool plain = is_there(path, "model.onnx");
    const size_t count = plain ? 1 : list_models(path, name);
    if (count == 0) return pare__fail(PARE_ERR_IO, "%s has no model.onnx, and no other .onnx file", path);
    if (count > 1)
      return pare__fail(PARE_ERR_ARGUMENT, "%s has %zu models, %s, %s%s: name one", path, count, name[0], name[1],
                        count > 2 ? ", ..." : "");
    *folder = pare__strdup(path);
    *model = pare__format("%s/%s", path, plain ? "model.onnx" : name[0]);
  }
  if (*folder && *model) return PARE_OK;
  free(*folder);
  free(*model);
  *folder = *model = NULL;
  return pare__fail_memory("a path", strlen(path));
}

/* ---- verdicts ---- */

static void conclude(pare_verify_result *out, pare_case_status status, const char *format, ...) PARE__PRINTF(3, 4);
static void conclude(pare_verify_result *out, pare_case_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(out->reason, sizeof out->reason, format, arguments);
  va_end(arguments);
  out->status = status;
}

/* This thread's message as the reason. */
void pare__case_failed(pare_verify_result *out, pare_status failed) {
  conclude(out, failed == PARE_ERR_UNSUPPORTED ? PARE_CASE_UNSUPPORTED : PARE_CASE_ERROR, "%s", pare_message());
}

/* The content of folder/KIND_K.pb for a value of the model; *out NULL if there is no such file. The suite's files hold
 * bfloat16 as uint16, which is what numpy has. */
static pare_status read_tensor(const char *folder, const char *kind, size_t index, const pare__value *value,
                               pare__content **out) {
  *out = NULL;
  char *path = pare__format("%s/%s_%zu.pb", folder, kind, index);
  if (!path) return pare__fail_memory("a path", strlen(folder));
  pare__onnx_source *source = NULL;
  pare__onnx_tensor *tensor = NULL;
  pare_status status = PARE_OK;
  if (access(path, F_OK) == 0) {
    status = pare__onnx_tensor_open(path, &source, &tensor);
    pare__content *view = NULL;
    if (status == PARE_OK) status = pare__content_of_tensor(source, tensor, &view);
    if (status == PARE_OK) /* the file is closed before the content is used */
      status = pare__content_create(view->dtype, view->shape.rank, view->shape.dim, view->data, out);
    if (status == PARE_OK && value->onnx_dtype == PARE__ONNX_BFLOAT16 && (*out)->dtype == PARE_U16)
      (*out)->dtype = PARE_BF16;
    pare__content_release(view);
    pare__onnx_source_close(source);
  }
  free(path);
  return status;
}

/* ---- comparing ---- */

static bool equal_number(double a, double r, double absolute, double relative) {
  if (isnan(a) || isnan(r)) return isnan(a) && isnan(r);
  if (isinf(a) || isinf(r)) return a == r;
  return fabs(a - r) <= absolute + relative * fabs(r);
}

static bool equal_element(const pare__content *found, const pare__content *expected, size_t i,
                          const pare_verify_options *options) {
  const size_t nbytes = pare_dtype_bytes(expected->dtype);
  const double a = pare__content_number(found, i), r = pare__content_number(expected, i);
  if (expected->dtype == PARE_BOOL) return a == r;
  if (!pare__dtype_is_float(expected->dtype)) /* bits: 64-bit integers are more than a double holds */
    return memcmp((const char *)found->data + i * nbytes, (const char *)expected->data + i * nbytes, nbytes) == 0;
  /* neighbours of a short float are further apart than the tolerance; those of a byte must be the same */
  const double spacing = pare__dtype_is_tiny(expected->dtype) ? 0 : 2 * pare__dtype_epsilon(expected->dtype);
  return equal_number(a, r, options->absolute, PARE__MAX(options->relative, spacing));
}

void pare__case_compare(const char *what, const pare__content *found, const pare__content *expected,
                        const pare_verify_options *options, pare_verify_result *out) {
  char have[PARE__SHAPE_TEXT], want[PARE__SHAPE_TEXT];
  if (found->dtype != expected->dtype || found->shape.rank != expected->shape.rank ||
      memcmp(found->shape.dim, expected->shape.dim, (size_t)found->shape.rank * sizeof(int64_t)) != 0) {
    conclude(out, PARE_CASE_FAIL, "%s is %s%s, expected %s%s", what, pare_dtype_name(found->dtype),
             pare__shape_text(found->shape.rank, found->shape.dim, have, sizeof have), pare_dtype_name(expected->dtype),
             pare__shape_text(expected->shape.rank, expected->shape.dim, want, sizeof want));
    return;
  }
  size_t ndifferent = 0, first = 0;
  for (size_t i = 0; i < expected->count; i++) {
    if (equal_element(found, expected, i, options)) continue;
    if (ndifferent++ == 0) first = i;
  }
  if (ndifferent > 0)
    conclude(out, PARE_CASE_FAIL, "%s: %zu of %zu elements differ; first element %zu: %.9g, expected %.9g", what,
             ndifferent, expected->count, first, pare__content_number(found, first),
             pare__content_number(expected, first));
}

pare_status pare__content_read(pare_tensor *tensor, pare__content **out) {
  PARE__TRY(pare__content_create(tensor->dtype, tensor->shape.rank, tensor->shape.dim, NULL, out));
  const pare_status status = pare_tensor_read(tensor, (*out)->owned, (*out)->nbytes);
  if (status == PARE_OK) return PARE_OK;
  pare__content_release(*out);
  *out = NULL;
  return status;
}

static void compare_output(const pare_model *model, const char *folder, size_t index, pare_tensor *tensor,
                           const pare_verify_options *options, pare_verify_result *out) {
  pare__content *expected = NULL, *found = NULL;
  const pare__value *value = &model->network->value[model->network->graph.output[index]];
  pare_status status = read_tensor(folder, "output", index, value, &expected);
  if (status == PARE_OK && !expected) status = pare__fail(PARE_ERR_IO, "%s/output_%zu.pb is missing", folder, index);
  if (status == PARE_OK) status = pare__content_read(tensor, &found);
  char what[200];
  snprintf(what, sizeof what, "output '%s'", value->name);
  if (status == PARE_OK)
    pare__case_compare(what, found, expected, options, out);
  else
    pare__case_failed(out, status);
  pare__content_release(expected);
  pare__content_release(found);
}

/* ---- running ---- */

pare_status pare__case_inputs(const pare_model *model, const char *folder, pare_tensor **inputs) {
  for (size_t i = 0; i < pare_model_inputs(model); i++) {
    pare__content *content;
    const pare__value *value = &model->network->value[model->network->graph.input[i]];
    PARE__TRY(read_tensor(folder, "input", i, value, &content));
    if (!content) return pare__fail(PARE_ERR_IO, "%s/input_%zu.pb is missing", folder, i);
    const pare_status status = pare_tensor_from(model->context, content->dtype, content->shape.rank, content->shape.dim,
                                                content->data, content->nbytes, &inputs[i]);
    pare__content_release(content);
    PARE__TRY(status);
  }
  return PARE_OK;
}

static void close_all(pare_tensor **tensors, size_t count) {
  for (size_t i = 0; i < count && tensors; i++) pare_tensor_close(tensors[i]);
  free(tensors);
}

static void run_set(pare_model *model, const char *folder, const pare_verify_options *options,
                    pare_verify_result *out) {
  const size_t ninputs = pare_model_inputs(model), noutputs = pare_model_outputs(model);
  pare_tensor **inputs = calloc(ninputs + 1, sizeof(pare_tensor *));
  pare_tensor **outputs = calloc(noutputs + 1, sizeof(pare_tensor *));
  pare_status status = inputs && outputs ? PARE_OK : pare__fail_memory("a case", ninputs + noutputs);
  if (status == PARE_OK) status = pare__case_inputs(model, folder, inputs);
  if (status == PARE_OK) status = pare_model_run(model, inputs, NULL, outputs);
  if (status != PARE_OK) pare__case_failed(out, status);
  for (size_t i = 0; i < noutputs && status == PARE_OK && out->status == PARE_CASE_PASS; i++)
    compare_output(model, folder, i, outputs[i], options, out);
  close_all(inputs, ninputs);
  close_all(outputs, noutputs);
}

typedef struct names {
  size_t count, capacity;
  char **name;
} names;

static void names_close(names *list) {
  for (size_t i = 0; i < list->count; i++) free(list->name[i]);
  free(list->name);
}

/* The name of the tensor in a file, if it has one; whether it is a tensor is told when it is read. */
static pare_status add_name(const char *path, names *list) {
  pare__onnx_source *source = NULL;
  pare__onnx_tensor *tensor = NULL;
  pare_status status = PARE_OK;
  if (pare__onnx_tensor_open(path, &source, &tensor) != PARE_OK) return PARE_OK;
  if (tensor->name && *tensor->name) {
    status = pare__array_grow((void **)&list->name, &list->capacity, list->count, sizeof *list->name);
    if (status == PARE_OK && !(list->name[list->count++] = pare__strdup(tensor->name)))
      status = pare__fail_memory("a name", strlen(tensor->name));
  }
  pare__onnx_source_close(source);
  return status;
}

/* The names of what the data sets give: inputs with a default that are among them do not keep it. */
static pare_status find_names(const char *folder, names *list) {
  pare_status status = PARE_OK;
  bool there = true;
  for (unsigned set = 0; there && status == PARE_OK; set++) {
    unsigned ninputs = 0;
    do {
      char *path = pare__format("%s/test_data_set_%u/input_%u.pb", folder, set, ninputs);
      there = path && access(path, F_OK) == 0;
      if (there) status = add_name(path, list);
      free(path);
      ninputs += there;
    } while (there && status == PARE_OK);
    there = ninputs > 0;
  }
  return status;
}

pare_status pare__case_open(pare_context *context, const char *path, const pare_verify_options *options, char **folder,
                            pare_model **out) {
  char *file;
  *out = NULL;
  PARE__TRY(pare__case_find(path, folder, &file));
  pare_model_options model_options = options->model;
  model_options.any_shape = true; /* some cases declare one shape and hold another */
  names given = {0};
  pare_status status = find_names(*folder, &given);
  model_options.noverridden = given.count;
  model_options.overridden = (const char *const *)given.name;
  if (status == PARE_OK) status = pare_model_open(context, file, &model_options, out);
  names_close(&given);
  free(file);
  if (status == PARE_OK) return PARE_OK;
  free(*folder);
  *folder = NULL;
  return status;
}

pare_status pare_verify_case(pare_context *context, const char *path, const pare_verify_options *options,
                             pare_verify_result *out) {
  static const pare_verify_options defaults = PARE_VERIFY_OPTIONS_INIT;
  if (!out) return pare__fail_null("pare_verify_case", "out");
  *out = (pare_verify_result){.status = PARE_CASE_PASS};
  if (!path) return pare__fail_null("pare_verify_case", "path");
  PARE__TRY(pare__context_check("pare_verify_case", context));
  if (!options) options = &defaults;
  char *folder;
  pare_model *model;
  const pare_status opened = pare__case_open(context, path, options, &folder, &model);
  if (opened != PARE_OK) {
    pare__case_failed(out, opened);
    return PARE_OK;
  }
  for (; out->status == PARE_CASE_PASS; out->nsets++) {
    char *set = pare__format("%s/test_data_set_%u", folder, out->nsets);
    const bool there = set && access(set, F_OK) == 0;
    if (there) run_set(model, set, options, out);
    free(set);
    if (!there) break;
  }
  if (out->nsets == 0 && out->status == PARE_CASE_PASS)
    conclude(out, PARE_CASE_ERROR, "%s has no test_data_set_0", folder);
  free(folder);
  pare_model_close(model);
  return PARE_OK;
}
