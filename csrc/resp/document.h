/* Rows as documents: what hashes and JSON.* read and write. */
#ifndef TOON_RESP_DOCUMENT_H
#define TOON_RESP_DOCUMENT_H

#include "resp/command.h"
#include "resp/json.h"

typedef struct document {
  toon_key key;
  bool found;
  int64_t expires_at;
  toon_buf json; /* the row's value */
  json_tree tree;
  toon_buf *texts; /* of what was put in: the tree borrows from them */
  size_t text_count, text_cap;
} document;

/* Read argument i as a key and its value as a tree (with an empty tree if there is none). document_free it in any case. */
toon_status document_read(command_call *call, size_t i, document *d);
/* The same of an object: WRONGTYPE if it is something else, an empty object if there is no row. */
toon_status document_read_hash(command_call *call, size_t i, document *d);
/* Put it back; an object that is a hash without fields is deleted (`hash`). */
toon_status document_save(command_call *call, document *d, bool hash);
void document_free(document *d);
/* Read the document that argument 1 names by `read`, one of the two above, do something with it, and free it. */
typedef toon_status (*document_fn)(command_call *call, document *d);
toon_status document_with(command_call *call, toon_status (*read)(command_call *call, size_t i, document *d),
                          document_fn fn);
/* Memory for a text that the tree borrows from, until document_free. */
toon_status document_text(document *d, toon_buf **out);
/* A new node: of JSON text; of bytes, as a string. */
toon_status document_json(command_call *call, document *d, toon_slice json, uint32_t *node);
toon_status document_string(command_call *call, document *d, toon_slice bytes, uint32_t *node);
/* Bytes as the text of a JSON string, quotes included, appended. */
toon_status document_quote(toon_slice bytes, toon_buf *out);
/* The bytes that a node is to a client, appended: a string itself, anything else its TOON text. */
toon_status document_bytes(command_call *call, const document *d, uint32_t node, toon_buf *out);
/* The bytes of a key (with quotes). */
toon_status document_name(toon_slice key, toon_buf *out);

#endif
