/* CRC32C (Castagnoli polynomial 0x1EDC6F41, reflected), the checksum of everything the store writes.
 * toon_crc32c(0, "123456789", 9) is 0xE3069283 (RFC 3720, appendix B.4 gives more vectors). Calls chain:
 * toon_crc32c(toon_crc32c(0, a), b) is the checksum of a followed by b. */
#ifndef TOON_BASE_CRC32C_H
#define TOON_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* SSE4.2 or ARMv8 CRC instructions where the machine has them (three streams at a time on long input), tables else. */
uint32_t toon_crc32c(uint32_t crc, const void *ptr, size_t len);
/* The table version, for machines without the instruction and for the test that compares the two. */
uint32_t toon_crc32c_plain(uint32_t crc, const void *ptr, size_t len);

#endif
