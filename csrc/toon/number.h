/* Numbers in text: which tokens are numbers, and how the double they stand for is printed.
 *
 * "Canonical" is what JavaScript's String(x) gives: the fewest digits that read back as the same double, no
 * exponent for 1e-6 <= |x| < 1e21, no "-0". Integers are an exception: they keep all their digits, however
 * many. A number too large for a double is an infinity to JSON.parse, and the reference writes infinities as
 * null. */
#ifndef TOON_TOON_NUMBER_H
#define TOON_TOON_NUMBER_H

#include "base/buf.h"

typedef enum toon_number_form {
  TOON_NUMBER_CANONICAL, /* may be copied */
  TOON_NUMBER_DIGITS,    /* 16 digits or more, with a point: canonical only if no shorter form reads the same */
  TOON_NUMBER_OTHER      /* exponent, trailing zeros, -0, or so long that it may overflow */
} toon_number_form;

#define TOON_NUMBER_TEXT_MAX 32

/* Length of the number token (JSON's grammar, which is TOON's too) at the start of [p, end), 0 if there is
 * none. What follows the token is not looked at. */
size_t toon_number_scan(const uint8_t *p, const uint8_t *end, toon_number_form *form);

/* The canonical text of a number token: the token itself, or text put into scratch, or "null" for what
 * overflows. */
toon_slice toon_number_text(const uint8_t *token, size_t len, uint8_t scratch[TOON_NUMBER_TEXT_MAX]);

/* The double nearest to a number token (ties to even; overflow gives an infinity). */
double toon_number_value(const uint8_t *token, size_t len);

/* The canonical text of a finite double. Returns its length. */
size_t toon_number_print(double value, uint8_t out[TOON_NUMBER_TEXT_MAX]);

#endif
