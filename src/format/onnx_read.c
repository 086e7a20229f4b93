/* Protobuf's wire format into structs, by the tables of onnx_schema.c. SPDX-License-Identifier: Apache-2.0
 *
 * Each message is walked twice: once to count what repeats and to check the framing, once to fill lists of exactly that
 * size. Contents of length-delimited fields are skipped, not read, so that the pages of raw tensor data stay untouched.
 * What a generated parser does is done here: a singular field that is given again replaces the former (numbers, text)
 * or is merged into it (messages), repeated numbers come packed or not, and a field of an unexpected wire type is kept
 * as an unknown one. https://protobuf.dev/programming-guides/encoding */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "format/mapping.h"
#include "format/onnx_schema.h"

#define MAX_DEPTH 100 /* of messages in messages, as protobuf's own parsers have it */

struct frame {
  const char *name;
  size_t index;
  bool repeated;
};

struct reader {
  pare__onnx_source *source;
  pare__arena *arena;
  const uint8_t *file;
  unsigned depth;
  struct frame path[MAX_DEPTH];
};

/* One field as it lies in the file. */
struct element {
  const uint8_t *begin; /* its tag */
  const uint8_t *data, *end;
  uint64_t value; /* of numbers */
  uint32_t number;
  unsigned wire_type;
};

/* What one pass over a message has found, a slot a field of the layout. */
struct tally {
  size_t count[PARE__ONNX_MAX_FIELDS], wire_bytes[PARE__ONNX_MAX_FIELDS], pieces[PARE__ONNX_MAX_FIELDS];
  uint8_t *room[PARE__ONNX_MAX_FIELDS]; /* where the next piece of packed numbers goes; NULL: the one piece is viewed */
  const uint8_t *unknown_begin, *unknown_end;
  size_t unknown_bytes;
};

/* Where the message being parsed lies in the model: "graph.node[17].attribute[2]". */
static void write_path(const struct reader *reader, char *buffer, size_t capacity) {
  size_t used = 0;
  buffer[0] = '\0';
  for (unsigned i = 0; i < reader->depth && used < capacity; i++) {
    const struct frame *frame = &reader->path[i];
    const char *dot = i ? "." : "";
    int length = frame->repeated ? snprintf(buffer + used, capacity - used, "%s%s[%zu]", dot, frame->name, frame->index)
                                 : snprintf(buffer + used, capacity - used, "%s%s", dot, frame->name);
    used += length > 0 ? (size_t)length : 0;
  }
}

static pare_status fail_at(const struct reader *reader, const uint8_t *at, const char *what) {
  char path[1024];
  write_path(reader, path, sizeof path);
  return pare__fail(PARE_ERR_FORMAT, "%s: byte %zu%s%s%s: %s: the file is damaged or no ONNX file",
                    pare__onnx_source_path(reader->source), (size_t)(at - reader->file), path[0] ? " (" : "", path,
                    path[0] ? ")" : "", what);
}

/* ---- the wire ---- */

/* Advances *at past a number of 7 bits a byte; false at the end or after ten bytes. */
static bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *out) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (*at == end) return false;
    uint8_t byte = *(*at)++;
    value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
    if (byte < 0x80) {
      *out = value;
      return true;
    }
  }
  return false;
}

static pare_status read_element(const struct reader *reader, const uint8_t **at, const uint8_t *end, unsigned depth,
                                struct element *out);

/* Skips to the end of a group, which proto3 has no more but unknown fields may use. */
static pare_status skip_group(const struct reader *reader, const uint8_t **at, const uint8_t *end, unsigned depth,
                              struct element *group) {
  if (depth >= MAX_DEPTH) return fail_at(reader, group->begin, "nested too deeply");
  for (;;) {
    struct element inner;
    if (*at == end) return fail_at(reader, group->begin, "a group without end");
    PARE__TRY(read_element(reader, at, end, depth + 1, &inner));
    if (inner.wire_type != PARE__WIRE_GROUP_END) continue;
    if (inner.number != group->number) return fail_at(reader, inner.begin, "the end of another group");
    group->end = *at;
    return PARE_OK;
  }
}

static pare_status read_element(const struct reader *reader, const uint8_t **at, const uint8_t *end, unsigned depth,
                                struct element *out) {
  uint64_t tag;
  *out = (struct element){.begin = *at};
  if (!read_varint(at, end, &tag) || tag > UINT32_MAX || *at - out->begin > 5 || tag >> 3 == 0)
    return fail_at(reader, out->begin, "no field begins here");
  out->number = (uint32_t)(tag >> 3);
  out->wire_type = (unsigned)(tag & 7);
  out->data = *at;
  size_t left = (size_t)(end - *at), nbytes = 0;
  switch (out->wire_type) {
  case PARE__WIRE_VARINT:
    if (!read_varint(at, end, &out->value)) return fail_at(reader, out->begin, "a number without end");
    break;
  case PARE__WIRE_BYTES:
    if (!read_varint(at, end, &out->value) || out->value > (size_t)(end - *at))
      return fail_at(reader, out->begin, "a field that is longer than what is left of its message");
    out->data = *at;
    nbytes = (size_t)out->value;
    break;
  case PARE__WIRE_FIXED32:
  case PARE__WIRE_FIXED64:
    nbytes = out->wire_type == PARE__WIRE_FIXED32 ? 4 : 8;
    if (nbytes > left) return fail_at(reader, out->begin, "a number that is longer than what is left of its message");
    break;
  case PARE__WIRE_GROUP_BEGIN: return skip_group(reader, at, end, depth, out);
  case PARE__WIRE_GROUP_END: break;
  default: return fail_at(reader, out->begin, "an unknown wire type");
  }
  *at += nbytes;
  out->end = *at;
  return PARE_OK;
}

/* ---- counting ---- */

/* Numbers in packed bytes; SIZE_MAX if the last is cut off. */
static size_t count_packed(const uint8_t *data, size_t nbytes, unsigned wire_type) {
  if (wire_type == PARE__WIRE_FIXED32) return nbytes % 4 ? SIZE_MAX : nbytes / 4;
  if (wire_type == PARE__WIRE_FIXED64) return nbytes % 8 ? SIZE_MAX : nbytes / 8;
  size_t count = 0, length = 0;
  for (size_t i = 0; i < nbytes; i++) {
    if (++length > 10) return SIZE_MAX;
    if (data[i] >= 0x80) continue;
    length = 0;
    count++;
  }
  return length ? SIZE_MAX : count;
}

static int find_field(const pare__onnx_layout *layout, const struct element *element) {
  for (unsigned i = 0; i < layout->nfields; i++) {
    const pare__onnx_field *field = &layout->fields[i];
    if (field->number != element->number) continue;
    unsigned expected = pare__onnx_wire_type(field->kind);
    if (element->wire_type == expected)
      return field->kind == PARE__ONNX_KIND_ENUM && element->value > field->limit ? -1 : (int)i;
    return field->repeated && element->wire_type == PARE__WIRE_BYTES ? (int)i : -1; /* packed */
  }
  return -1;
}

/* Does the element hold packed numbers, rather than one value of the field? */
static bool is_packed(const pare__onnx_field *field, const struct element *element) {
  return element->wire_type != pare__onnx_wire_type(field->kind);
}

static pare_status tally_message(const struct reader *reader, const pare__onnx_layout *layout, const uint8_t *at,
                                 const uint8_t *end, struct tally *tally) {
  while (at != end) {
    struct element element;
    PARE__TRY(read_element(reader, &at, end, reader->depth, &element));
    if (element.wire_type == PARE__WIRE_GROUP_END) return fail_at(reader, element.begin, "the end of no group");
    int slot = find_field(layout, &element);
    if (slot < 0) {
      if (!tally->unknown_begin) tally->unknown_begin = element.begin;
      tally->unknown_end = element.end;
      tally->unknown_bytes += (size_t)(element.end - element.begin);
      continue;
    }
    const pare__onnx_field *field = &layout->fields[slot];
    size_t count = 1, nbytes = (size_t)(element.end - element.data);
    if (is_packed(field, &element)) count = count_packed(element.data, nbytes, pare__onnx_wire_type(field->kind));
    if (count == SIZE_MAX) return fail_at(reader, element.begin, "packed numbers of which the last is cut off");
    tally->count[slot] += count;
    tally->wire_bytes[slot] += nbytes;
    tally->pieces[slot]++;
  }
  return PARE_OK;
}

/* ---- filling ---- */

/* *bytes grows by room for nbytes more. */
static pare_status extend_bytes(struct reader *reader, pare__onnx_bytes *bytes, size_t nbytes, uint8_t **room) {
  void *joined;
  PARE__TRY(pare__arena_allocate(reader->arena, bytes->nbytes + nbytes, &joined));
  if (bytes->nbytes > 0) memcpy(joined, bytes->data, bytes->nbytes);
  *room = (uint8_t *)joined + bytes->nbytes;
  *bytes = (pare__onnx_bytes){joined, bytes->nbytes + nbytes};
  return PARE_OK;
}

static pare_status extend_list(struct reader *reader, pare__onnx_list *list, size_t count, size_t item_bytes) {
  size_t nbytes;
  void *items;
  if (!pare__size_mul(list->count + count, item_bytes, &nbytes)) nbytes = SIZE_MAX;
  PARE__TRY(pare__arena_allocate(reader->arena, nbytes, &items));
  if (list->count > 0) memcpy(items, list->items, list->count * item_bytes);
  list->items = items;
  list->capacity = list->count + count;
  return PARE_OK;
}

/* Makes room in every list, behind what a former part of the same message has brought. */
static pare_status make_room(struct reader *reader, const pare__onnx_layout *layout, struct tally *tally,
                             void *object) {
  for (unsigned i = 0; i < layout->nfields; i++) {
    const pare__onnx_field *field = &layout->fields[i];
    void *member = pare__onnx_member(object, field);
    if (!field->repeated || tally->pieces[i] == 0) continue;
    if (pare__onnx_kind_is_packed(field->kind)) {
      pare__onnx_packed *packed = member;
      packed->count += tally->count[i];
      if (tally->pieces[i] > 1 || packed->wire.nbytes > 0)
        PARE__TRY(extend_bytes(reader, &packed->wire, tally->wire_bytes[i], &tally->room[i]));
    } else if (tally->count[i] > 0) {
      PARE__TRY(extend_list(reader, member, tally->count[i], pare__onnx_value_bytes(field)));
    }
  }
  return PARE_OK;
}

static pare_status store_text(struct reader *reader, const struct element *element, const char **out) {
  size_t nbytes = (size_t)(element->end - element->data);
  if (nbytes == 0) {
    *out = "";
    return PARE_OK;
  }
  if (memchr(element->data, '\0', nbytes)) return fail_at(reader, element->begin, "text that holds a NUL");
  return pare__arena_text(reader->arena, (const char *)element->data, nbytes, out);
}

/* One value at its place in the struct or list. */
static pare_status store_value(struct reader *reader, const pare__onnx_field *field, const struct element *element,
                               void *place) {
  int32_t number32 = (int32_t)(uint32_t)element->value;
  switch ((pare__onnx_kind)field->kind) {
  case PARE__ONNX_KIND_INT64: memcpy(place, &element->value, sizeof element->value); return PARE_OK;
  case PARE__ONNX_KIND_INT32:
  case PARE__ONNX_KIND_ENUM: memcpy(place, &number32, sizeof number32); return PARE_OK;
  case PARE__ONNX_KIND_FLOAT: memcpy(place, element->data, sizeof(float)); return PARE_OK;
  case PARE__ONNX_KIND_TEXT: return store_text(reader, element, place);
  default: *(pare__onnx_bytes *)place = (pare__onnx_bytes){element->data, (size_t)(element->end - element->data)};
  }
  return PARE_OK;
}

static pare_status store_packed(struct reader *reader, const pare__onnx_field *field, const struct element *element,
                                pare__onnx_list *list) {
  const uint8_t *at = element->data;
  char *items = list->items;
  size_t item_bytes = pare__onnx_value_bytes(field);
  while (at != element->end) {
    struct element value = {.begin = element->begin, .data = at};
    if (pare__onnx_wire_type(field->kind) != PARE__WIRE_VARINT)
      at += sizeof(float);
    else if (!read_varint(&at, element->end, &value.value))
      return fail_at(reader, element->begin, "packed numbers of which one has no end");
    PARE__TRY(store_value(reader, field, &value, items + list->count++ * item_bytes));
  }
  return PARE_OK;
}

/* Typed tensor data stays packed: a view if it came in one piece, else the pieces joined. */
static void keep_packed(const struct element *element, uint8_t **room, pare__onnx_packed *packed) {
  size_t nbytes = (size_t)(element->end - element->data);
  if (!*room) {
    packed->wire = (pare__onnx_bytes){element->data, nbytes};
  } else if (nbytes > 0) {
    memcpy(*room, element->data, nbytes);
    *room += nbytes;
  }
}

static pare_status parse_message(struct reader *reader, const pare__onnx_layout *layout, const uint8_t *begin,
                                 const uint8_t *end, void *object);

static pare_status parse_child(struct reader *reader, const pare__onnx_field *field, const struct element *element,
                               void *member) {
  void *child;
  struct frame frame = {field->name, 0, field->repeated};
  if (field->repeated) {
    pare__onnx_list *list = member;
    frame.index = list->count;
    child = (char *)list->items + list->count++ * field->layout->nbytes;
  } else {
    memcpy(&child, member, sizeof child);
    if (!child) PARE__TRY(pare__arena_allocate(reader->arena, field->layout->nbytes, &child));
    memcpy(member, &child, sizeof child);
  }
  if (reader->depth == MAX_DEPTH) return fail_at(reader, element->begin, "nested too deeply");
  reader->path[reader->depth++] = frame;
  PARE__TRY(parse_message(reader, field->layout, element->data, element->end, child));
  reader->depth--;
  return PARE_OK;
}

/* A member of a oneof takes the place of the one that was there. */
static void choose(const pare__onnx_layout *layout, const pare__onnx_field *field, void *object) {
  int *which = (int *)(void *)((char *)object + layout->which_offset);
  for (unsigned i = 0; i < layout->nfields && *which != field->number; i++) {
    const pare__onnx_field *other = &layout->fields[i];
    if (other->number != *which) continue;
    memset(pare__onnx_member(object, other), 0, pare__onnx_value_bytes(other));
    ((pare__onnx_message *)object)->has &= ~(UINT64_C(1) << other->number);
  }
  *which = field->number;
}

static pare_status fill_field(struct reader *reader, const pare__onnx_layout *layout, unsigned slot,
                              const struct element *element, struct tally *tally, void *object) {
  const pare__onnx_field *field = &layout->fields[slot];
  void *member = pare__onnx_member(object, field);
  if (field->choice) choose(layout, field, object);
  ((pare__onnx_message *)object)->has |= UINT64_C(1) << field->number;
  if (pare__onnx_kind_is_packed(field->kind)) {
    keep_packed(element, &tally->room[slot], member);
    return PARE_OK;
  }
  if (field->layout) return parse_child(reader, field, element, member);
  if (!field->repeated) return store_value(reader, field, element, member);
  pare__onnx_list *list = member;
  if (is_packed(field, element)) return store_packed(reader, field, element, list);
  return store_value(reader, field, element, (char *)list->items + list->count++ * pare__onnx_value_bytes(field));
}

static pare_status parse_message(struct reader *reader, const pare__onnx_layout *layout, const uint8_t *begin,
                                 const uint8_t *end, void *object) {
  struct tally tally = {0};
  pare__onnx_message *message = object;
  uint8_t *unknown = NULL;
  if (message->has == 0) message->offset = (size_t)(begin - reader->file);
  PARE__TRY(tally_message(reader, layout, begin, end, &tally));
  PARE__TRY(make_room(reader, layout, &tally, object));
  if (tally.unknown_bytes > 0) {
    bool one_piece = (size_t)(tally.unknown_end - tally.unknown_begin) == tally.unknown_bytes;
    if (one_piece && message->unknown.nbytes == 0)
      message->unknown = (pare__onnx_bytes){tally.unknown_begin, tally.unknown_bytes};
    else
      PARE__TRY(extend_bytes(reader, &message->unknown, tally.unknown_bytes, &unknown));
  }
  for (const uint8_t *at = begin; at != end;) {
    struct element element;
    PARE__TRY(read_element(reader, &at, end, reader->depth, &element));
    int slot = find_field(layout, &element);
    if (slot >= 0) {
      PARE__TRY(fill_field(reader, layout, (unsigned)slot, &element, &tally, object));
    } else if (unknown) {
      size_t nbytes = (size_t)(element.end - element.begin);
      memcpy(unknown, element.begin, nbytes);
      unknown += nbytes;
    }
  }
  return PARE_OK;
}

pare_status pare__onnx_parse(pare__onnx_source *source, const pare__onnx_layout *layout, void *object) {
  const pare__mapping *file = pare__onnx_source_file(source);
  struct reader reader = {.source = source, .arena = pare__onnx_source_arena(source), .file = file->data};
  if (file->nbytes == 0) return pare__fail(PARE_ERR_FORMAT, "%s is empty", pare__onnx_source_path(source));
  pare_status status = parse_message(&reader, layout, file->data, file->data + file->nbytes, object);
  if (status != PARE_ERR_MEMORY) return status;
  char path[1024], reason[256];
  write_path(&reader, path, sizeof path);
  snprintf(reason, sizeof reason, "%s", pare_message());
  return pare__fail(status, "%s (%s): %s", pare__onnx_source_path(source), path, reason);
}
