/* From the tape to TOON text. */
#ifndef TOON_TOON_ENCODE_H
#define TOON_TOON_ENCODE_H

#include "toon/tape.h"
#include "toon/toon.h"
#include "toon/write.h"

/* Write the value on the tape as a document (every line with its newline), or as a field: what follows a key
 * at depth 0. TOON_EVALUETOOBIG past the writer's limit. */
toon_status toon_encode_tape(toon_tape *tape, const toon_text_options *options, bool field, toon_writer *w);

/* TOON_EINVAL if the indentation is not one toon.h allows. */
toon_status toon_check_indent(const toon_text_options *options, toon_error *err);
/* TOON_ESYNTAX with line and column if text is not valid UTF-8. */
toon_status toon_check_utf8(toon_slice text, toon_error *err);

#endif
