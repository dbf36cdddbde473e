/* JSON texts as trees that can be changed: what hashes and JSON.* work on. The texts are trusted: they come from our own decoder
 * (toon_field_to_json, toon_decode), which writes no white space and every string in one way, so that strings are compared by
 * their text, quotes and escapes included. */
#ifndef TOON_RESP_JSON_H
#define TOON_RESP_JSON_H

#include "toonstore.h"

#define JSON_NONE UINT32_MAX

typedef struct json_node {
  toon_slice key;                    /* of a member, with quotes; borrowed */
  toon_slice text;                   /* of a scalar; borrowed */
  uint32_t first, last, next, count; /* children */
  uint8_t kind;                      /* { [ " t f n, and 0 for a number */
  bool gone;                         /* taken away; passed over */
} json_node;

/* Node 0 is the root. Borrows from the texts that were given to it. */
typedef struct json_tree {
  json_node *nodes;
  uint32_t count, cap;
  uint32_t *slots; /* a hash of the members of `hashed`, once one was looked for among many */
  uint32_t slot_count, hashed, used;
  bool full; /* the hash is to be made anew */
} json_tree;

void json_free(json_tree *tree);
/* Add a text; *node is its root. TOON_ENOMEM, or TOON_ESYNTAX if the text is damaged. */
toon_status json_add(json_tree *tree, toon_slice text, uint32_t *node);
/* The member of an object whose key (with quotes) this is, or JSON_NONE. */
toon_status json_member(json_tree *tree, uint32_t object, toon_slice key, uint32_t *out);
/* The children of a node, one after the other, then JSON_NONE. */
uint32_t json_first(const json_tree *tree, uint32_t parent);
uint32_t json_next(const json_tree *tree, uint32_t child);
/* Item i of an array, or JSON_NONE. */
uint32_t json_item(const json_tree *tree, uint32_t array, uint32_t i);
/* Put a node at the end of an object under a key (with quotes), or of an array (key {0}). */
void json_append(json_tree *tree, uint32_t parent, toon_slice key, uint32_t node);
/* Take a child away. */
void json_remove(json_tree *tree, uint32_t parent, uint32_t child);
/* Give a node the value of another, its key and place unchanged. */
void json_replace(json_tree *tree, uint32_t node, uint32_t value);
toon_status json_write(const json_tree *tree, uint32_t node, toon_buf *out);
/* The bytes of a string's text (with quotes), unescaped. */
toon_status json_unescape(toon_slice text, toon_buf *out);

#endif
