/* Keys and values between JavaScript and the engine. */
#ifndef TOON_NAPI_CONVERT_H
#define TOON_NAPI_CONVERT_H

#include "env.h"

#include <string>

namespace toonstore {

/* Read a key: a string or a Uint8Array (the user space), or a number (a row id). It lives in the Env's
 * scratch, or in the caller's array, until the next call. False with an exception pending. */
bool read_key(Env *e, napi_value value, toon_key *out);

/* The kinds of value that JavaScript tells apart; lib/values.js has the same list. */
enum Given { GIVEN_STRING = 0, GIVEN_JSON = 1, GIVEN_BYTES = 2 };

/* Read a value to be stored, into scratch; a string is not if it must have more than `max` bytes. False with an exception
 * pending. */
bool read_value(Env *e, napi_value value, int given, toon_input *input, toon_slice *out, uint64_t max = UINT64_MAX);

/* Gives scratch back at its end that a long value has made large. */
struct Scratch {
  explicit Scratch(Env *env) : e(env) {}
  ~Scratch();
  Env *e;
};

/* A JavaScript string as UTF-8, into e->text. False with an exception pending. */
bool read_text(Env *e, napi_value value, toon_slice *out);

/* A property of an object that our JavaScript has made. False if it is of another type, or if JavaScript cannot run any
 * more because its thread is being ended: then there is nothing to throw, and nobody to catch it. */
bool read_property(Env *e, napi_value object, const char *name, double *out);
bool read_property(Env *e, napi_value object, const char *name, bool *out);
bool read_property(Env *e, napi_value object, const char *name, std::string *out);

/* The UTF-8 text as a string; `ascii` may be false for ASCII text, never true for other. */
toon_status make_string(Env *e, toon_slice text, bool ascii, napi_value *out, toon_error *err);
/* A copy of the bytes, cut from the slab if there is room. */
toon_status make_bytes(Env *e, toon_slice bytes, napi_value *out, uint8_t *kind, toon_error *err);
/* The value of a row. */
toon_status make_value(Env *e, toon_slice field, uint8_t flags, int mode, napi_value *out, uint8_t *kind,
                       toon_error *err);
/* A key as a string, as bytes if it is not UTF-8 or `bytes` is wanted, or as a number in the row space. */
toon_status make_key(Env *e, toon_key key, bool bytes, napi_value *out, uint8_t *kind, toon_error *err);

napi_value make_bool(Env *e, bool value);
napi_value make_number(Env *e, double value);

} // namespace toonstore

#endif
