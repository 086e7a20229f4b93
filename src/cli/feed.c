/* What -i and --shape say of a model's inputs. SPDX-License-Identifier: Apache-2.0 */
#include "cli/feed.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEED 1 /* of random inputs; each input is a stream of its own */
#define MOST_NAMES 64

typedef struct feed_file {
  char *name; /* before '='; NULL: none */
  const char *path;
  pare_arrays *arrays;
} feed_file;

typedef struct feed_shape {
  char *name; /* of an input, or of a symbolic dimension */
  int rank;
  int64_t dim[PARE_MAX_RANK];
} feed_shape;

struct cli_feed {
  size_t nfiles, nshapes;
  feed_file *file;
  feed_shape *shape;
  const char **name; /* NULL: not asked for */
};

/* ---- reading the options ---- */

static cli_exit open_file(const char *text, feed_file *out) {
  const char *equals = strchr(text, '=');
  out->path = text;
  if (equals && access(text, F_OK) != 0) { /* a file whose name holds '=' is one all the same */
    if (equals == text) return cli_error(CLI_USAGE, "-i %s: the name before '=' is missing", text);
    out->name = strndup(text, (size_t)(equals - text));
    if (!out->name) return cli_error(CLI_DEVICE, "out of memory");
    out->path = equals + 1;
  }
  const pare_status status = pare_arrays_open(out->path, &out->arrays);
  return status == PARE_OK ? CLI_OK : cli_fail(status);
}

static cli_exit parse_shape(const char *text, feed_shape *out) {
  static const char example[] = "--shape: '%s' is no NAME=SHAPE such as x=1x3x224x224 or batch=8";
  const char *equals = strrchr(text, '=');
  if (!equals || equals == text || !equals[1]) return cli_error(CLI_USAGE, example, text);
  for (const char *at = equals + 1; *at;) {
    char *end;
    errno = 0;
    const long long dim = isdigit((unsigned char)*at) ? strtoll(at, &end, 10) : -1;
    if (dim < 0 || errno || (*end && *end != 'x') || (*end && !end[1])) return cli_error(CLI_USAGE, example, text);
    if (out->rank == PARE_MAX_RANK)
      return cli_error(CLI_USAGE, "--shape %s: more than %d dimensions", text, PARE_MAX_RANK);
    out->dim[out->rank++] = dim;
    at = *end ? end + 1 : end;
  }
  out->name = strndup(text, (size_t)(equals - text));
  return out->name ? CLI_OK : cli_error(CLI_DEVICE, "out of memory");
}

cli_exit cli_feed_open(const cli_arguments *arguments, const cli_option *input, const cli_option *shape,
                       cli_feed **out) {
  cli_feed *feed = *out = calloc(1, sizeof *feed);
  cli_exit code = CLI_OK;
  if (feed) feed->file = calloc(arguments->ngiven + 1, sizeof *feed->file);
  if (feed) feed->shape = calloc(arguments->ngiven + 1, sizeof *feed->shape);
  if (!feed || !feed->file || !feed->shape) code = cli_error(CLI_DEVICE, "out of memory");
  for (size_t i = 0; i < arguments->ngiven && code == CLI_OK; i++) {
    const cli_given *given = &arguments->given[i];
    if (given->option == input)
      code = open_file(given->value, &feed->file[feed->nfiles++]);
    else if (shape && given->option == shape)
      code = parse_shape(given->value, &feed->shape[feed->nshapes++]);
  }
  if (code == CLI_OK) return CLI_OK;
  cli_feed_close(feed);
  *out = NULL;
  return code;
}

void cli_feed_close(cli_feed *feed) {
  if (!feed) return;
  for (size_t i = 0; i < feed->nfiles; i++) {
    free(feed->file[i].name);
    pare_arrays_close(feed->file[i].arrays);
  }
  for (size_t i = 0; i < feed->nshapes; i++) free(feed->shape[i].name);
  free(feed->file);
  free(feed->shape);
  free(feed->name);
  free(feed);
}

static cli_exit add_name(const char ***names, size_t *count, const char *name) {
  const char **more = realloc(*names, (*count + 1) * sizeof *more);
  if (!more) return cli_error(CLI_DEVICE, "out of memory");
  *names = more;
  more[(*count)++] = name;
  return CLI_OK;
}

cli_exit cli_names_add(const char ***names, size_t *count, const pare_arrays *arrays) {
  cli_exit code = CLI_OK;
  for (size_t i = 0; i < pare_arrays_count(arrays) && code == CLI_OK; i++)
    code = add_name(names, count, pare_arrays_name(arrays, i));
  return code;
}

cli_exit cli_feed_names(cli_feed *feed, pare_model_options *options) {
  cli_exit code = CLI_OK;
  size_t count = 0;
  for (size_t i = 0; i < feed->nshapes && code == CLI_OK; i++)
    code = add_name(&feed->name, &count, feed->shape[i].name);
  for (size_t i = 0; i < feed->nfiles && code == CLI_OK; i++) {
    const feed_file *file = &feed->file[i];
    code = file->name ? add_name(&feed->name, &count, file->name) : cli_names_add(&feed->name, &count, file->arrays);
  }
  options->noverridden = count;
  options->overridden = feed->name;
  return code;
}

/* ---- names that the model does not have ---- */

static bool is_input(const pare_model *model, const char *name, bool symbols) {
  pare_model_value value;
  for (size_t i = 0; i < pare_model_inputs(model); i++) {
    if (pare_model_input(model, i, &value) != PARE_OK) continue;
    if (strcmp(value.name, name) == 0) return true;
    for (int d = 0; symbols && d < value.rank; d++)
      if (value.symbol[d] && strcmp(value.symbol[d], name) == 0) return true;
  }
  return false;
}

static cli_exit no_such_input(const pare_model *model, const char *option, const char *name) {
  const char *names[MOST_NAMES];
  char known[1024] = "";
  size_t count = 0, used = 0;
  for (size_t i = 0; i < pare_model_inputs(model) && count < MOST_NAMES; i++) {
    pare_model_value value;
    if (pare_model_input(model, i, &value) != PARE_OK) continue;
    names[count++] = value.name;
    if (used < sizeof known) used += (size_t)snprintf(known + used, sizeof known - used, " %s", value.name);
  }
  const char *nearest = cli_nearest(name, count, names);
  if (nearest)
    return cli_error(CLI_USAGE, "%s: the model has no input '%s'; did you mean '%s'?", option, name, nearest);
  return cli_error(CLI_USAGE, "%s: the model has no input '%s'; it has:%s", option, name, known);
}

static cli_exit check_names(const cli_feed *feed, const pare_model *model) {
  for (size_t i = 0; i < feed->nfiles; i++)
    if (feed->file[i].name && !is_input(model, feed->file[i].name, false))
      return no_such_input(model, "-i", feed->file[i].name);
  for (size_t i = 0; i < feed->nshapes; i++)
    if (!is_input(model, feed->shape[i].name, true)) return no_such_input(model, "--shape", feed->shape[i].name);
  return CLI_OK;
}

/* ---- an input from a file ---- */

/* Which array of the file is that input? */
static cli_exit find_in_file(const feed_file *file, const char *input, bool only_input, bool *found, size_t *index) {
  *found = false;
  const size_t count = pare_arrays_count(file->arrays);
  const char *first = count > 0 ? pare_arrays_name(file->arrays, 0) : "";
  if (!file->name) {
    *found = pare_arrays_find(file->arrays, input, index);
    if (!*found && count == 1 && !*first && only_input) {
      *index = 0;
      *found = true;
    }
    if (!*found && count == 1 && !*first)
      return cli_error(CLI_USAGE, "-i %s: the array has no name: say which input it is, -i NAME=%s", file->path,
                       file->path);
    return CLI_OK;
  }
  if (strcmp(file->name, input) != 0) return CLI_OK;
  *found = true;
  if (pare_arrays_find(file->arrays, input, index)) return CLI_OK;
  *index = 0;
  if (count == 1) return CLI_OK;
  return cli_error(CLI_USAGE, "-i %s=%s: the file holds %zu arrays, and none is called '%s'", file->name, file->path,
                   count, input);
}

/* bf16 is stored as raw values of two bytes, which some programs call u16; floats of a byte or less as their codes. */
static bool dtype_fits(const pare_model_value *declared, const pare_array *array) {
  if (declared->dtype == PARE_NDTYPES) return array->dtype < PARE_NDTYPES;
  const bool codes = declared->dtype >= PARE_F8E4M3FN && declared->dtype <= PARE_F4E2M1;
  return array->dtype == declared->dtype || (declared->dtype == PARE_BF16 && array->dtype == PARE_U16) ||
         (codes && array->dtype == PARE_U8);
}

cli_exit cli_input_create(pare_context *context, const pare_model_value *declared, const pare_array *array,
                          pare_tensor **out) {
  char expected[CLI_SHAPE], found[CLI_SHAPE];
  bool fits = dtype_fits(declared, array);
  if (declared->rank >= 0) {
    fits = fits && declared->rank == array->rank;
    for (int i = 0; fits && i < declared->rank; i++) fits = declared->dim[i] < 0 || declared->dim[i] == array->dim[i];
  }
  if (!fits)
    return cli_error(CLI_INPUT, "input '%s' is given as %s; the model takes %s", declared->name,
                     cli_array_text(array, found), cli_value_text(declared, expected));
  const pare_dtype dtype = declared->dtype == PARE_NDTYPES ? array->dtype : declared->dtype;
  const pare_status status = pare_tensor_from(context, dtype, array->rank, array->dim, array->data, array->nbytes, out);
  return status == PARE_OK ? CLI_OK : cli_fail(status);
}

/* The last file that has it wins. */
static cli_exit from_files(const cli_feed *feed, pare_context *context, const pare_model_value *declared,
                           bool only_input, pare_tensor **out) {
  for (size_t i = feed->nfiles; i-- > 0;) {
    bool found;
    size_t index;
    pare_array array;
    const cli_exit code = find_in_file(&feed->file[i], declared->name, only_input, &found, &index);
    if (code != CLI_OK) return code;
    if (!found) continue;
    const pare_status status = pare_arrays_get(feed->file[i].arrays, index, &array);
    return status == PARE_OK ? cli_input_create(context, declared, &array, out) : cli_fail(status);
  }
  char expected[CLI_SHAPE];
  return cli_error(CLI_INPUT,
                   "input '%s', %s, is in none of the files: give -i %s=FILE.npy, or no -i at all for random inputs",
                   declared->name, cli_value_text(declared, expected), declared->name);
}

/* ---- a random input ---- */

static const feed_shape *find_shape(const cli_feed *feed, const char *name) {
  for (size_t i = feed->nshapes; i-- > 0;)
    if (strcmp(feed->shape[i].name, name) == 0) return &feed->shape[i];
  return NULL;
}

/* What --shape says, else what the model does; sizes that nobody knows are 1. */
static cli_exit choose_shape(const cli_feed *feed, const pare_model_value *declared, int *rank, int64_t *dim) {
  char expected[CLI_SHAPE], asked[CLI_SHAPE];
  const feed_shape *given = find_shape(feed, declared->name);
  if (!given && declared->rank < 0)
    return cli_error(CLI_USAGE, "the model does not say how many dimensions input '%s' has: give --shape %s=SHAPE",
                     declared->name, declared->name);
  *rank = given ? given->rank : declared->rank;
  bool fits = !given || declared->rank < 0 || given->rank == declared->rank;
  for (int i = 0; i < *rank && fits; i++) {
    const feed_shape *symbol = !given && declared->symbol[i] ? find_shape(feed, declared->symbol[i]) : NULL;
    const int64_t said = declared->rank < 0 ? -1 : declared->dim[i];
    dim[i] = given ? given->dim[i] : symbol && symbol->rank == 1 ? symbol->dim[0] : said >= 0 ? said : 1;
    fits = said < 0 || dim[i] == said;
  }
  if (fits) return CLI_OK;
  return cli_error(CLI_USAGE, "--shape %s=%s: input '%s' takes %s", declared->name,
                   given ? cli_shape_text((size_t)given->rank, given->dim, asked) : "", declared->name,
                   cli_value_text(declared, expected));
}

static pare_status fill_random(pare_tensor *tensor, uint64_t stream) {
  switch (pare_tensor_dtype(tensor)) {
  case PARE_F32:
  case PARE_F16:
  case PARE_BF16:
  case PARE_F64: return pare_random_normal(SEED, stream, 0, 1, tensor);
  default: return pare_random_integer(SEED, stream, 0, 2, tensor);
  }
}

static cli_exit make_up(const cli_feed *feed, pare_context *context, const pare_model_value *declared, uint64_t stream,
                        pare_tensor **out) {
  int rank = 0;
  int64_t dim[PARE_MAX_RANK];
  const cli_exit code = choose_shape(feed, declared, &rank, dim);
  if (code != CLI_OK) return code;
  if (declared->dtype == PARE_NDTYPES)
    return cli_error(CLI_USAGE, "input '%s' is of type %s, for which there are no random inputs: give -i %s=FILE",
                     declared->name, declared->dtype_name, declared->name);
  pare_status status = pare_tensor_create(context, declared->dtype, rank, dim, out);
  if (status == PARE_OK) status = fill_random(*out, stream);
  return status == PARE_OK ? CLI_OK : cli_fail(status);
}

/* ---- all inputs ---- */

cli_exit cli_feed_inputs(const cli_feed *feed, pare_context *context, const pare_model *model, cli_inputs *out) {
  const size_t count = pare_model_inputs(model);
  *out = (cli_inputs){.count = count, .random = feed->nfiles == 0 && count > 0};
  if (feed->nfiles > 0 && feed->nshapes > 0)
    return cli_error(CLI_USAGE, "--shape is for random inputs: leave it out where -i gives files");
  out->tensor = calloc(count + 1, sizeof(pare_tensor *));
  if (!out->tensor) return cli_error(CLI_DEVICE, "out of memory");
  cli_exit code = check_names(feed, model);
  for (size_t i = 0; i < count && code == CLI_OK; i++) {
    pare_model_value declared;
    const pare_status status = pare_model_input(model, i, &declared);
    if (status != PARE_OK)
      code = cli_fail(status);
    else if (out->random)
      code = make_up(feed, context, &declared, i, &out->tensor[i]);
    else
      code = from_files(feed, context, &declared, count == 1, &out->tensor[i]);
  }
  return code;
}

/* ---- shapes alone ---- */

static bool is_shape_of(const char *name, size_t count, const pare_model_value *values) {
  bool found = false;
  for (size_t i = 0; i < count; i++) {
    found = found || strcmp(values[i].name, name) == 0;
    for (int d = 0; d < values[i].rank; d++)
      found = found || (values[i].symbol[d] && strcmp(values[i].symbol[d], name) == 0);
  }
  return found;
}

cli_exit cli_feed_work(const cli_feed *feed, pare_context *context, pare_inspection *inspection, pare_status *status) {
  pare_model_info info;
  *status = pare_inspect_model(inspection, &info);
  if (*status != PARE_OK) return CLI_OK;
  pare_model_value *values = calloc(info.ninputs + 1, sizeof *values);
  if (!values) return cli_error(CLI_DEVICE, "out of memory");
  cli_exit code = CLI_OK;
  for (size_t i = 0; i < info.ninputs && *status == PARE_OK; i++)
    *status = pare_inspect_input(inspection, i, &values[i]);
  for (size_t i = 0; i < feed->nshapes && code == CLI_OK; i++)
    if (!is_shape_of(feed->shape[i].name, info.ninputs, values))
      code = cli_error(CLI_USAGE, "--shape: the model has no input and no symbol '%s'", feed->shape[i].name);
  for (size_t i = 0; i < info.ninputs && code == CLI_OK; i++) {
    int rank = 0;
    int64_t dim[PARE_MAX_RANK] = {0};
    code = choose_shape(feed, &values[i], &rank, dim);
    values[i].rank = rank;
    memcpy(values[i].dim, dim, sizeof dim);
  }
  if (code == CLI_OK && *status == PARE_OK) *status = pare_inspect_work(inspection, context, values, info.ninputs);
  free(values);
  return code;
}

void cli_inputs_close(cli_inputs *inputs) {
  cli_tensors_close(inputs->count, inputs->tensor);
  free(inputs->tensor);
  *inputs = (cli_inputs){0};
}

json_t *cli_inputs_shapes(const cli_inputs *inputs, const pare_model *model) {
  json_t *json = json_object();
  for (size_t i = 0; i < inputs->count; i++) {
    pare_model_value value;
    if (pare_model_input(model, i, &value) == PARE_OK)
      cli_json_set(json, value.name,
                   cli_dims_json(pare_tensor_rank(inputs->tensor[i]), pare_tensor_shape(inputs->tensor[i])));
  }
  return json;
}

void cli_inputs_note(const cli_inputs *inputs) {
  if (inputs->random) cli_note("pare: no -i: the inputs are random (floats normal, integers 0 or 1, a fixed seed)");
}
