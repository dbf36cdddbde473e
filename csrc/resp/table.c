/* The table of commands, and finding one by name: a hash that is made of the rows when the first is looked for. */
#include "resp/command.h"

#include <uv.h>

#define X(function, name, arity, flags, first, last, step, group, since, summary) \
  {name, command_##function, arity, flags, first, last, step, group, since, summary},
static const command commands[] = {
#include "resp/table.h"
};
#undef X

enum { COMMANDS = sizeof commands / sizeof *commands, SLOTS = 1024, NAME_MAX_LENGTH = 32 };
_Static_assert(COMMANDS * 2 <= SLOTS, "the hash of command names is too full");

static uint16_t slots[SLOTS]; /* index in commands + 1 */
static uv_once_t slots_made = UV_ONCE_INIT;

/* FNV-1a of a name in lower case. */
static uint32_t hash_of(const uint8_t *name, size_t len) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < len; i++) hash = (hash ^ name[i]) * 16777619u;
  return hash ^ hash >> 15;
}

static void make_slots(void) {
  for (size_t i = 0; i < COMMANDS; i++) {
    size_t at = hash_of((const uint8_t *)commands[i].name, strlen(commands[i].name)) % SLOTS;
    while (slots[at]) at = (at + 1) % SLOTS;
    slots[at] = (uint16_t)(i + 1);
  }
}

const command *command_table(size_t *count) {
  *count = COMMANDS;
  return commands;
}

bool command_word(toon_slice arg, const char *word) {
  for (size_t i = 0; i < arg.len; i++) {
    uint8_t c = arg.ptr[i];
    if (c >= 'A' && c <= 'Z') c |= 32;
    if (!word[i] || c != (uint8_t)word[i]) return false;
  }
  return word[arg.len] == 0;
}

static size_t lower(toon_slice name, uint8_t *out) {
  for (size_t i = 0; i < name.len; i++) {
    uint8_t c = name.ptr[i];
    out[i] = c >= 'A' && c <= 'Z' ? c | 32 : c;
  }
  return name.len;
}

static const command *find(const uint8_t *name, size_t len) {
  uv_once(&slots_made, make_slots);
  for (size_t at = hash_of(name, len) % SLOTS; slots[at]; at = (at + 1) % SLOTS) {
    const command *c = &commands[slots[at] - 1];
    if (strlen(c->name) == len && memcmp(c->name, name, len) == 0) return c;
  }
  return NULL;
}

const command *command_find(toon_slice name) {
  uint8_t text[NAME_MAX_LENGTH];
  return name.len > sizeof text ? NULL : find(text, lower(name, text));
}

bool command_is_container(const command *c) {
  size_t len = strlen(c->name);
  return c + 1 < commands + COMMANDS && strncmp(c[1].name, c->name, len) == 0 && c[1].name[len] == '|';
}

const command *command_of(const command_call *call, const command **container) {
  const command *c = command_find(call_arg(call, 0));
  *container = NULL;
  if (!c || call->count < 2 || !command_is_container(c)) return c;
  uint8_t text[NAME_MAX_LENGTH];
  toon_slice sub = call_arg(call, 1);
  size_t len = strlen(c->name) + 1;
  *container = c;
  if (sub.len > sizeof text - len) return NULL;
  memcpy(text, c->name, len - 1);
  text[len - 1] = '|';
  return find(text, len + lower(sub, text + len));
}

bool command_takes(const command *c, size_t count) {
  return c->arity >= 0 ? count == (size_t)c->arity : count >= (size_t)-c->arity;
}
