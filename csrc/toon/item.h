/* Documents of a collection with their ids. */
#ifndef TOON_TOON_ITEM_H
#define TOON_TOON_ITEM_H

#include "toon/toon.h"

/* Append the JSON of a document, which begins with its _id; or, with a projection (made with toon_projection_new), of the
 * fields it picks, _id among them only if it does. id: UTF-8. An own field _id does not count. */
toon_status toon_item_json(toon_projection *projection, toon_slice id, toon_slice field, toon_buf *out,
                           toon_error *err);

#endif
