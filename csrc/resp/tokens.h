/* An estimate of how many tokens a language model makes of a text: the same as estimateTokens of lib/tokens.js. */
#ifndef TOON_RESP_TOKENS_H
#define TOON_RESP_TOKENS_H

#include "toonstore.h"

/* text: valid UTF-8. */
size_t tokens_estimate(toon_slice text);

#endif
