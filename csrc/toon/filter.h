/* Filters: conditions on the fields of a stored document, answered from its text. The conditions come as a program,
 * made by lib/filter.js, numbers little-endian:
 *
 *     node     u8 operation, u32 bytes of the whole node, then
 *              AND, OR: nodes      NOT: a node      EXISTS: u16 path      REGEX: u16 path, u32 number
 *              EQ GT GE LT LE: u16 path, operand     IN: u16 path, operands
 *     operand  u8 type: NULL FALSE TRUE, NUMBER f64, STRING u32 length and UTF-8, JSON u32 length and text
 *
 * A path that leads nowhere equals null. A condition on an array holds if one of its elements fulfils it, or, by EQ and
 * JSON, all of it. GT to LE compare within one type. A regular expression is asked of the caller. */
#ifndef TOON_TOON_FILTER_H
#define TOON_TOON_FILTER_H

#include "toon/toon.h"

enum {
  TOON_FILTER_AND = 1,
  TOON_FILTER_OR = 2,
  TOON_FILTER_NOT = 3,
  TOON_FILTER_EXISTS = 4,
  TOON_FILTER_EQ = 5,
  TOON_FILTER_GT = 6,
  TOON_FILTER_GE = 7,
  TOON_FILTER_LT = 8,
  TOON_FILTER_LE = 9,
  TOON_FILTER_IN = 10,
  TOON_FILTER_REGEX = 11
};
enum { TOON_OPERAND_JSON = 5 }; /* below: toon_kind */

/* Answers whether text matches the regular expression with this number. */
typedef toon_status (*toon_ask_fn)(void *ctx, uint32_t number, toon_slice text, bool *yes);

/* It belongs to one thread at a time. The program is copied. TOON_EINVAL if it is not well made. */
typedef struct toon_filter toon_filter;
toon_status toon_filter_new(const toon_path *paths, size_t count, toon_slice program, toon_filter **out,
                            toon_error *err);
void toon_filter_free(toon_filter *filter); /* NULL is fine */

/* *holds: the field text is an object's, and the conditions hold for it; id (UTF-8) is what the path _id gives. ask may be
 * NULL if there is no REGEX. TOON_ESYNTAX if the text is damaged, and what ask returns. */
toon_status toon_filter_test(toon_filter *filter, toon_slice id, toon_slice field, toon_ask_fn ask, void *ctx,
                             bool *holds);

struct toon_scalar;
/* For evaluators over other forms of documents. The program as above, checked; its first node is all of it. */
toon_slice toon_filter_program(const toon_filter *filter);
/* Whether a scalar fulfils the condition `op`; [p, end) is what follows its path. */
toon_status toon_filter_scalar(uint8_t op, const uint8_t *p, const uint8_t *end, const struct toon_scalar *value,
                               toon_ask_fn ask, void *ctx, bool *holds);
/* The operand at p; returns behind it. A JSON's kind is TOON_OPERAND_JSON. */
const uint8_t *toon_filter_operand(const uint8_t *p, const uint8_t *end, struct toon_scalar *out);

#endif
