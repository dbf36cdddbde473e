/* The table of commands, and finding one by name. */
#include "resp/command.h"

#define W COMMAND_WRITE
#define B (COMMAND_WRITE | COMMAND_BLIND)
#define R COMMAND_READONLY
#define F COMMAND_FAST

static const command commands[] = {
    /* name, function, arity, flags, first, last, step, family, since (of Redis), summary */
    {"client", command_client, -2, 0, 0, 0, 0, "connection", "2.4.0", "Name this connection, or tell its id"},
    {"echo", command_echo, 2, F, 0, 0, 0, "connection", "1.0.0", "Give the argument back"},
    {"hello", command_hello, -1, F, 0, 0, 0, "connection", "6.0.0", "Choose the protocol's version"},
    {"ping", command_ping, -1, F, 0, 0, 0, "connection", "1.0.0", "Tell that the server is there"},
    {"quit", command_quit, -1, F, 0, 0, 0, "connection", "1.0.0", "Close the connection"},
    {"reset", command_reset, 1, F, 0, 0, 0, "connection", "6.2.0", "Make the connection as it was at its begin"},
    {"select", command_select, 2, F, 0, 0, 0, "connection", "1.0.0", "Choose database 0, the only one"},
    {"command", command_command, -1, 0, 0, 0, 0, "server", "2.8.13", "Describe commands"},
    {"dbsize", command_dbsize, 1, R | F, 0, 0, 0, "server", "1.0.0", "Number of keys"},
    {"flushall", command_flush, -1, W, 0, 0, 0, "server", "1.0.0", "Delete all keys"},
    {"flushdb", command_flush, -1, W, 0, 0, 0, "server", "1.0.0", "Delete all keys"},
    {"info", command_info, -1, 0, 0, 0, 0, "server", "1.0.0", "Facts about the server"},
    {"time", command_time, 1, F, 0, 0, 0, "server", "2.6.0", "The server's time"},
    {"del", command_del, -2, B, 1, -1, 1, "keys", "1.0.0", "Delete keys"},
    {"exists", command_exists, -2, R | F, 1, -1, 1, "keys", "1.0.0", "How many of the keys exist"},
    {"expire", command_expire, -3, W | F, 1, 1, 1, "keys", "1.0.0", "Let a key lapse in so many seconds"},
    {"expireat", command_expireat, -3, W | F, 1, 1, 1, "keys", "1.2.0", "Let a key lapse at a time in seconds"},
    {"expiretime", command_expiretime, 2, R | F, 1, 1, 1, "keys", "7.0.0", "When a key lapses, in seconds"},
    {"keys", command_keys, 2, R, 0, 0, 0, "keys", "1.0.0", "The keys that match a pattern"},
    {"persist", command_persist, 2, B | F, 1, 1, 1, "keys", "2.2.0", "Take a key's expiry away"},
    {"pexpire", command_pexpire, -3, W | F, 1, 1, 1, "keys", "2.6.0", "Let a key lapse in so many milliseconds"},
    {"pexpireat", command_pexpireat, -3, W | F, 1, 1, 1, "keys", "2.6.0", "Let a key lapse at a time in milliseconds"},
    {"pexpiretime", command_pexpiretime, 2, R | F, 1, 1, 1, "keys", "7.0.0", "When a key lapses, in milliseconds"},
    {"pttl", command_pttl, 2, R | F, 1, 1, 1, "keys", "2.6.0", "Milliseconds a key has to live"},
    {"touch", command_exists, -2, R | F, 1, -1, 1, "keys", "3.2.1", "How many of the keys exist"},
    {"ttl", command_ttl, 2, R | F, 1, 1, 1, "keys", "1.0.0", "Seconds a key has to live"},
    {"type", command_type, 2, R | F, 1, 1, 1, "keys", "1.0.0", "The type of a value"},
    {"unlink", command_del, -2, B | F, 1, -1, 1, "keys", "4.0.0", "Delete keys"},
    {"append", command_append, 3, W | F, 1, 1, 1, "strings", "2.0.0", "Add to the end of a value"},
    {"decr", command_decr, 2, W | F, 1, 1, 1, "strings", "1.0.0", "Subtract one"},
    {"decrby", command_decrby, 3, W | F, 1, 1, 1, "strings", "1.0.0", "Subtract a whole number"},
    {"get", command_get, 2, R | F, 1, 1, 1, "strings", "1.0.0", "The value of a key"},
    {"getdel", command_getdel, 2, W | F, 1, 1, 1, "strings", "6.2.0", "The value of a key, which is deleted"},
    {"getset", command_getset, 3, W | F, 1, 1, 1, "strings", "1.0.0", "Set a key and give its old value"},
    {"incr", command_incr, 2, W | F, 1, 1, 1, "strings", "1.0.0", "Add one"},
    {"incrby", command_incrby, 3, W | F, 1, 1, 1, "strings", "1.0.0", "Add a whole number"},
    {"mget", command_mget, -2, R | F, 1, -1, 1, "strings", "1.0.0", "The values of keys"},
    {"mset", command_mset, -3, B, 1, -1, 2, "strings", "1.0.1", "Set keys, all at once"},
    {"msetnx", command_msetnx, -3, W, 1, -1, 2, "strings", "1.0.1", "Set keys, all at once, if none exists"},
    {"psetex", command_psetex, 4, B, 1, 1, 1, "strings", "2.6.0", "Set a key that lapses in so many milliseconds"},
    {"set", command_set, -3, B, 1, 1, 1, "strings", "1.0.0", "Set a key"},
    {"setex", command_setex, 4, B, 1, 1, 1, "strings", "2.0.0", "Set a key that lapses in so many seconds"},
    {"setnx", command_setnx, 3, B | F, 1, 1, 1, "strings", "1.0.0", "Set a key if it does not exist"},
    {"strlen", command_strlen, 2, R | F, 1, 1, 1, "strings", "2.2.0", "Bytes of a value"},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

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

const command *command_find(toon_slice name) {
  for (size_t i = 0; i < COMMANDS; i++)
    if (command_word(name, commands[i].name)) return &commands[i];
  return NULL;
}
