/* What the emitter of documents needs of a projection beside its public face. */
#ifndef TOON_TOON_PROJECT_H
#define TOON_TOON_PROJECT_H

#include "toon/toon.h"
#include "toon/write.h"

/* Write the picked fields of a document as the cells of a row, null for those that are not there. *fits: it is an
 * object and all of them are scalars; else nothing was written. TOON_ESYNTAX if the text is damaged. */
toon_status toon_projection_cells(toon_projection *p, toon_slice field, uint8_t delimiter, toon_writer *w, bool *fits);
/* Number of paths; the column that the i-th is in a table. */
size_t toon_projection_count(const toon_projection *p);
toon_slice toon_projection_column(const toon_projection *p, size_t i);

/* A scalar's token as stored (for the comma), as it stands between the delimiters. */
toon_status toon_put_cell(toon_writer *w, toon_slice token, uint8_t delimiter, toon_buf *scratch);

#endif
