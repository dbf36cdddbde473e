/* UTF-8 and UTF-16: checks and conversions. "Valid" means well-formed by Unicode's table 3-7: no overlong forms, no
 * surrogates, nothing above U+10FFFF. SIMD where it pays (SSE2/NEON are baseline on x86-64/arm64), plain C otherwise. */
#ifndef TOON_BASE_UTF_H
#define TOON_BASE_UTF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True if all n bytes are below 0x80. */
bool toon_is_ascii(const uint8_t *ptr, size_t n);
/* Number of leading bytes that are valid UTF-8; n if all are. */
size_t toon_utf8_valid(const uint8_t *ptr, size_t n);
/* UTF-16 (native order) to UTF-8. out has room for 3 * n bytes. Returns the bytes written, or SIZE_MAX if a lone
 * surrogate is met. *ascii (may be NULL) tells whether all units were below 0x80. */
size_t toon_utf16_to_utf8(const uint16_t *units, size_t n, uint8_t *out, bool *ascii);
/* Valid UTF-8 to UTF-16. out has room for n units. Returns the units written. */
size_t toon_utf8_to_utf16(const uint8_t *ptr, size_t n, uint16_t *out);

#endif
