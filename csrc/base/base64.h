/* Standard base64 (RFC 4648 section 4, with padding), as bytes are kept in TOON text. */
#ifndef TOON_BASE_BASE64_H
#define TOON_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that n bytes take when encoded. */
static inline size_t toon_base64_encoded_size(size_t n) { return (n + 2) / 3 * 4; }
/* Write exactly toon_base64_encoded_size(n) bytes to out. */
void toon_base64_encode(const uint8_t *ptr, size_t n, uint8_t *out);
/* Decode canonical base64 (padded, no white space, unused bits zero). out has room for n / 4 * 3 bytes.
 * False if the text is not canonical; *out_len is set only on success. */
bool toon_base64_decode(const uint8_t *ptr, size_t n, uint8_t *out, size_t *out_len);

#endif
