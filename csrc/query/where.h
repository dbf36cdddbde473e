/* Filters given as JSON, in the language of lib/filter.js but for regular expressions: for callers that have no JavaScript. */
#ifndef TOON_QUERY_WHERE_H
#define TOON_QUERY_WHERE_H

#include "query/query.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct toon_where toon_where;
/* TOON_EINVAL, with the place in the filter, or TOON_ESYNTAX, if it is none. */
toon_status toon_where_parse(toon_slice json, toon_where **out, toon_error *err);
void toon_where_free(toon_where *where); /* NULL is fine */
/* Put filter_paths, filter_count and program into the options. Borrowed. */
void toon_where_use(const toon_where *where, toon_query_options *options);

#ifdef __cplusplus
}
#endif

#endif
