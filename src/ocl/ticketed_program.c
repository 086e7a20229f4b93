/* The program of a ticketed launch: kernels' sources turned into functions, compiled one by one, linked.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A part is compiled with the options of its kernel. Text before it makes `__kernel` a static function and the ids
 * names: the entry gets parameters of these names (a macro of the entry's name puts them in), other functions of the
 * file see constants of the same names. Text after it is the function that unpacks the arguments and calls the entry.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "ocl/child.h"
#include "ocl/program.h"
#include "ocl/ticketed.h"
#include "ocl/ticketed_parts.h"

#define FILE_NAME "ticketed.cl"
#define TEXT_VERSION "ticketed 1" /* of the text that is made here */

static const char before[] =
    "#define __kernel static\n"
    "#define reqd_work_group_size(x, y, z)\n"
    "static __constant long ticket_groups[3] = {0};\n"
    "static __constant ulong ticket_x = 0, ticket_y = 0, ticket_z = 0;\n"
    "#define get_group_id(d) ((d) == 0 ? ticket_x : (d) == 1 ? ticket_y : ticket_z)\n"
    "#define get_global_id(d) get_group_id(d)\n"
    "#define get_num_groups(d) ((ulong)ticket_groups[d])\n"
    "#define get_global_size(d) get_num_groups(d)\n"
    "#define get_local_id(d) ((ulong)0)\n"
    "#define get_local_size(d) ((ulong)1)\n"
    "#define barrier(flags)\n"
    "static ulong ticket_address(long at, __global const ulong *addresses, const ulong *moving) {\n"
    "  return at < 0 ? 0 : at & 1 ? moving[at >> 1] : addresses[at >> 1];\n"
    "}\n";

static const char parameters[] =
    "(__global const long *groups, ulong x, ulong y, ulong z, __global const long *arguments, "
    "__global const ulong *addresses, const ulong *moving, __local char *pool)";

/* How a function gets argument number `at` of the table. */
static const struct {
  char kind;
  unsigned longs;
  const char *left, *right; /* of the number */
} unpacking[] = {
    {PARE__ARG_INT, 1, "(int)arguments[", "]"},
    {PARE__ARG_UINT, 1, "(uint)arguments[", "]"},
    {PARE__ARG_LONG, 1, "arguments[", "]"},
    {PARE__ARG_ULONG, 1, "(ulong)arguments[", "]"},
    {PARE__ARG_FLOAT, 1, "as_float((int)arguments[", "])"},
    {PARE__ARG_DOUBLE, 1, "as_double(arguments[", "])"},
    {PARE__ARG_MEM, 1, "(__global void *)ticket_address(arguments[", "], addresses, moving)"},
    {PARE__ARG_LOCAL, 1, "(__local void *)(pool + arguments[", "])"},
    {PARE__ARG_LONG8, 8, "vload8(0, arguments + ", ")"},
};

static unsigned unpacking_of(char kind) {
  unsigned i = 0;
  while (i + 1 < PARE__COUNT(unpacking) && unpacking[i].kind != kind) i++;
  return i;
}

unsigned pare__ticketed_longs(char kind) { return unpacking[unpacking_of(kind)].longs; }

/* ---- parts ---- */

static int compare_parts(const void *a, const void *b) {
  const pare__ticket_part *x = a, *y = b;
  int order = strcmp(x->file, y->file);
  if (order == 0) order = strcmp(x->entry, y->entry);
  if (order == 0) order = strcmp(x->options, y->options);
  return order != 0 ? order : strcmp(x->kinds, y->kinds);
}

void pare__ticketed_parts_close(pare__ticketed_parts *parts) {
  if (!parts) return;
  for (size_t i = 0; i < parts->count; i++) {
    free(parts->part[i].file);
    free(parts->part[i].entry);
    free(parts->part[i].options);
    free(parts->part[i].kinds);
  }
  free(parts->part);
  free(parts);
}

const char *pare__ticketed_parts_key(const pare__ticketed_parts *parts) { return parts->key; }

static pare_status add_part(pare__ticketed_parts *parts, const char *file, const char *entry, const char *options,
                            const char *kinds) {
  pare__ticket_part *part = &parts->part[parts->count];
  *part = (pare__ticket_part){pare__strdup(file), pare__strdup(entry), pare__strdup(options), pare__strdup(kinds)};
  parts->count++;
  if (!part->file || !part->entry || !part->options || !part->kinds)
    return pare__fail_memory("a part", strlen(options));
  return PARE_OK;
}

static pare_status parts_new(pare__device *device, size_t most, pare__ticketed_parts **out) {
  *out = calloc(1, sizeof **out);
  if (*out) (*out)->part = calloc(most + 1, sizeof *(*out)->part);
  if (!*out || !(*out)->part) {
    free(*out);
    *out = NULL;
    return pare__fail_memory("a ticketed program", most * sizeof(pare__ticket_part));
  }
  (*out)->device = device;
  return PARE_OK;
}

/* Sorted, each once, and named. */
static pare_status parts_finish(pare__ticketed_parts *parts) {
  qsort(parts->part, parts->count, sizeof *parts->part, compare_parts);
  pare__hash *hash = pare__hash_open();
  if (!hash) return pare__fail_memory("a hash", 0);
  char source[33] = "";
  pare_status status = pare__source_hash(parts->device, FILE_NAME, source);
  pare__hash_text(hash, TEXT_VERSION);
  pare__hash_text(hash, pare__device_key(parts->device));
  pare__hash_text(hash, source);
  for (size_t i = 0; i < parts->count && status == PARE_OK; i++) {
    const pare__ticket_part *part = &parts->part[i];
    status = pare__source_hash(parts->device, part->file, source);
    pare__hash_text(hash, source);
    pare__hash_text(hash, part->entry);
    pare__hash_text(hash, part->options);
    pare__hash_text(hash, part->kinds);
  }
  pare__hash_close(hash, parts->key);
  return status;
}

static void kinds_of(const pare__args *args, char kinds[PARE__MAX_ARGS + 1]) {
  for (unsigned i = 0; i < args->count; i++) kinds[i] = args->item[i].kind;
  kinds[args->count] = '\0';
}

size_t pare__ticketed_part_index(const pare__ticketed_parts *parts, const pare__captured *launch) {
  char kinds[PARE__MAX_ARGS + 1];
  kinds_of(&launch->args, kinds);
  const pare__program *program = launch->kernel->program;
  size_t i = 0;
  while (i < parts->count &&
         (strcmp(parts->part[i].entry, launch->kernel->entry) != 0 || strcmp(parts->part[i].file, program->file) != 0 ||
          strcmp(parts->part[i].options, program->options) != 0 || strcmp(parts->part[i].kinds, kinds) != 0))
    i++;
  return i;
}

pare_status pare__ticketed_parts_open(pare__device *device, const pare__ticket_step *steps, size_t nsteps,
                                      pare__ticketed_parts **out) {
  pare__ticketed_parts *parts;
  PARE__TRY(parts_new(device, nsteps, &parts));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < nsteps && status == PARE_OK; i++) {
    const pare__captured *launch = steps[i].launch;
    if (pare__ticketed_part_index(parts, launch) < parts->count) continue;
    char kinds[PARE__MAX_ARGS + 1];
    kinds_of(&launch->args, kinds);
    status =
        add_part(parts, launch->kernel->program->file, launch->kernel->entry, launch->kernel->program->options, kinds);
  }
  if (status == PARE_OK) status = parts_finish(parts);
  if (status != PARE_OK) {
    pare__ticketed_parts_close(parts);
    parts = NULL;
  }
  *out = parts;
  return status;
}

/* ---- building ---- */

static pare_status compile(const pare__program *program, cl_uint count, const char **texts, const char *options,
                           cl_program *out) {
  const pare__device *device = program->device;
  cl_int code = CL_SUCCESS;
  *out = clCreateProgramWithSource(device->context, count, texts, NULL, &code);
  if (!*out) return pare__fail_cl(code, "clCreateProgramWithSource(%s)", program->file);
  char *quiet = pare__format("%s -w", options);
  if (!quiet) return pare__fail_memory("build options", strlen(options));
  code = clCompileProgram(*out, 1, &device->id, quiet, 0, NULL, NULL, NULL, NULL);
  free(quiet);
  if (code == CL_SUCCESS) return PARE_OK;
  const pare__program failed = {program->device, *out, program->file, (char *)options, {0}, false, NULL, NULL};
  return pare__program_fail_build(&failed, code);
}

/* Text before and after the kernel's own. */
static void write_part(FILE *head, FILE *tail, const pare__ticket_part *part, size_t index) {
  fputs(before, head);
  fprintf(head,
          "#define %s(...) %s(__global const long *ticket_groups, ulong ticket_x, ulong ticket_y, ulong ticket_z, "
          "__VA_ARGS__)\n",
          part->entry, part->entry);
  fprintf(tail, "#undef %s\n__attribute__((noinline)) void ticket_part_%zu%s {\n  %s(groups, x, y, z", part->entry,
          index, parameters, part->entry);
  unsigned at = 0;
  for (const char *kind = part->kinds; *kind; kind++) {
    const unsigned i = unpacking_of(*kind);
    fprintf(tail, ",\n      %s%u%s", unpacking[i].left, at, unpacking[i].right);
    at += unpacking[i].longs;
  }
  fputs(");\n}\n", tail);
}

/* Declares all parts, calls each by its number, and lists the buffers that are arguments. */
static void write_loop(FILE *head, bool inline_assembly, size_t nparts) {
  fprintf(head, "#define PARE_INLINE_ASSEMBLY %d\n#define PARTS", inline_assembly);
  for (size_t i = 0; i < nparts; i++) fprintf(head, " void ticket_part_%zu%s;", i, parameters);
  fputs("\n#define RUN_PART(...)", head);
  for (size_t i = 0; i < nparts; i++) fprintf(head, " case %zu: ticket_part_%zu(__VA_ARGS__); break;", i, i);
  fprintf(head, "\n#define MOVING %d\n#define MOVING_ARGUMENTS", PARE__MOST_MOVING);
  for (int i = 0; i < PARE__MOST_MOVING; i++) fprintf(head, ", __global char *moving%d", i);
  fputs("\n#define MOVING_LIST", head);
  for (int i = 0; i < PARE__MOST_MOVING; i++) fprintf(head, "%s (ulong)moving%d", i ? "," : "", i);
  fputs("\n", head);
}

/* part NULL: the loop itself, which calls all `index` parts. */
static pare_status compile_text(const pare__program *program, const pare__ticket_part *part, size_t index,
                                cl_program *out) {
  pare__source *source;
  PARE__TRY(pare__source_get(program->device, part ? part->file : FILE_NAME, &source));
  char *texts[3] = {NULL, source->text, NULL};
  size_t nbytes[3] = {0};
  FILE *head = open_memstream(&texts[0], &nbytes[0]), *tail = open_memstream(&texts[2], &nbytes[2]);
  if (head && tail && part) write_part(head, tail, part, index);
  if (head && tail && !part) write_loop(head, program->device->info.can.inline_assembly, index);
  const bool written = head && tail && !ferror(head) && !ferror(tail);
  bool closed = !head || fclose(head) == 0;
  if (tail && fclose(tail) != 0) closed = false;
  pare_status status = written && closed
                           ? compile(program, PARE__COUNT(texts), (const char **)texts, part ? part->options : "", out)
                           : pare__fail_memory("a kernel's text", nbytes[0] + nbytes[2]);
  free(texts[0]);
  free(texts[2]);
  return status;
}

static pare_status compile_and_link(pare__program *program, const pare__ticketed_parts *parts) {
  cl_program *compiled = calloc(parts->count + 1, sizeof(cl_program));
  if (!compiled) return pare__fail_memory("a program", parts->count * sizeof(cl_program));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < parts->count && status == PARE_OK; i++)
    status = compile_text(program, &parts->part[i], i, &compiled[i]);
  if (status == PARE_OK) status = compile_text(program, NULL, parts->count, &compiled[parts->count]);
  if (status == PARE_OK) {
    cl_int code = CL_SUCCESS;
    program->cl = clLinkProgram(program->device->context, 1, &program->device->id, "", (cl_uint)parts->count + 1,
                                compiled, NULL, NULL, &code);
    if (code != CL_SUCCESS)
      status = program->cl ? pare__program_fail_build(program, code) : pare__fail_cl(code, "clLinkProgram");
  }
  for (size_t i = 0; i <= parts->count; i++)
    if (compiled[i]) clReleaseProgram(compiled[i]);
  free(compiled);
  return status;
}

/* Its options name what it is made of: they are its name in memory and harmless to the driver. */
static char *program_options(const pare__ticketed_parts *parts) { return pare__format("-DPARTS_KEY=%s", parts->key); }

/* Loads it or, if asked, builds it; program->cl stays NULL if neither could be done. */
static pare_status load_or_build(pare__program *program, const pare__ticketed_parts *parts, bool build) {
  if (pare__program_load(program) || !build) return PARE_OK;
  const double begin = pare__seconds();
  PARE__TRY(compile_and_link(program, parts));
  pare__log(PARE_LOG_INFO, "built %s of %zu kernels on %s in %.0f ms", FILE_NAME, parts->count,
            parts->device->info.name, 1e3 * (pare__seconds() - begin));
  program->unsaved = pare__program_worth_keeping(program->device);
  return PARE_OK;
}

static pare_status get(const pare__ticketed_parts *parts, bool build, pare__program **out) {
  pare__device *device = parts->device;
  *out = NULL;
  char *options = program_options(parts);
  if (!options) return pare__fail_memory("build options", 0);
  pare__device_lock(device);
  pare_status status = PARE_OK;
  pare__program *program = pare__program_find(device, FILE_NAME, options);
  if (!program && (status = pare__program_new(device, FILE_NAME, options, &program)) == PARE_OK) {
    memcpy(program->key, parts->key, sizeof program->key);
    pare__program_tell(device, true);
    status = load_or_build(program, parts, build);
    pare__program_tell(device, false);
    if (!program->cl || status != PARE_OK) {
      pare__program_close(program);
      program = NULL;
    } else {
      pare__program_add(program);
    }
  }
  pare__device_unlock(device);
  free(options);
  *out = program;
  return status;
}

pare_status pare__ticketed_find(const pare__ticketed_parts *parts, pare__program **out) {
  return get(parts, false, out);
}

pare_status pare__ticketed_build(const pare__ticketed_parts *parts, pare__program **out) {
  return get(parts, true, out);
}

/* ---- in a child process ---- */

/* "ticketed", the device, then four arguments a part. */
enum { ARGS_BEFORE = 2, ARGS_A_PART = 4 };

pare_status pare__ticketed_build_start(const pare__ticketed_parts *parts, int64_t *child) {
  *child = 0;
  if (parts->device->part) return PARE_OK;                         /* the child would open the whole device */
  if (!pare__program_worth_keeping(parts->device)) return PARE_OK; /* it would keep nothing that could be found */
  const size_t count = parts->count * ARGS_A_PART + ARGS_BEFORE + 1;
  const char **arguments = calloc(count, sizeof *arguments);
  if (!arguments) return pare__fail_memory("a child process", count * sizeof *arguments);
  char where[40];
  snprintf(where, sizeof where, "%u:%u", parts->device->info.platform_index, parts->device->info.device_index);
  arguments[0] = "ticketed";
  arguments[1] = where;
  for (size_t i = 0; i < parts->count; i++) {
    const pare__ticket_part *part = &parts->part[i];
    const char *const words[ARGS_A_PART] = {part->file, part->entry, part->options, part->kinds};
    memcpy(&arguments[ARGS_BEFORE + i * ARGS_A_PART], words, sizeof words);
  }
  pare_status status = pare__child_start(arguments, child);
  free(arguments);
  return status;
}

pare_status pare__ticketed_build_named(pare__device *device, size_t nnames, char **names) {
  pare__ticketed_parts *parts;
  PARE__TRY(parts_new(device, nnames / ARGS_A_PART, &parts));
  pare_status status = PARE_OK;
  for (size_t i = 0; i + ARGS_A_PART <= nnames && status == PARE_OK; i += ARGS_A_PART)
    status = add_part(parts, names[i], names[i + 1], names[i + 2], names[i + 3]);
  if (status == PARE_OK) status = parts_finish(parts);
  pare__program *program;
  if (status == PARE_OK) status = pare__ticketed_build(parts, &program);
  if (status == PARE_OK) status = pare__ticketed_warm(parts, program);
  pare__ticketed_parts_close(parts);
  return status;
}
