/* The rows of the command table, one a command. Included with X defined as
 * X(function, name, arity, flags, first key, last key, step, group, since, summary):
 * the function is command_<function>; a subcommand is named "client|id" and stands behind its container, whose function is
 * `container`; the arity counts the name(s), and is negative for "at least"; `last` -1 is the last argument; `since` is the
 * version of Redis, or of toonstore for what Redis has not. This file has no guard: command.h includes it for the prototypes,
 * table.c for the table. The docs (COMMANDS.md) are written from it by UPDATE=1 npx mocha test/commands.test.js. */
// clang-format off
#define W COMMAND_WRITE
#define R COMMAND_READONLY
#define F COMMAND_FAST
#define ADMIN COMMAND_ADMIN
#define NOAUTH COMMAND_NO_AUTH
#define PUBSUB COMMAND_PUBSUB
#define NOMULTI COMMAND_NO_MULTI

/* ---- connection ---- */
X(container, "acl", -2, 0, 0, 0, 0, "server", "6.0.0", "Who may do what")
X(help, "acl|help", 2, 0, 0, 0, 0, "server", "6.0.0", "Subcommands of ACL")
X(acl_whoami, "acl|whoami", 2, 0, 0, 0, 0, "server", "6.0.0", "The user of this connection")
X(auth, "auth", -2, F | NOAUTH | NOMULTI, 0, 0, 0, "connection", "1.0.0", "Log in")
X(container, "client", -2, 0, 0, 0, 0, "connection", "2.4.0", "What is known of connections")
X(client_getname, "client|getname", 2, 0, 0, 0, 0, "connection", "2.6.9", "The name of this connection")
X(client_getredir, "client|getredir", 2, 0, 0, 0, 0, "connection", "6.0.0", "-1: nothing is tracked for clients")
X(help, "client|help", 2, 0, 0, 0, 0, "connection", "5.0.0", "Subcommands of CLIENT")
X(client_id, "client|id", 2, 0, 0, 0, 0, "connection", "5.0.0", "The id of this connection")
X(client_info, "client|info", 2, 0, 0, 0, 0, "connection", "6.2.0", "Facts about this connection")
X(client_kill, "client|kill", -3, ADMIN | NOMULTI, 0, 0, 0, "connection", "2.4.0", "Close connections")
X(client_list, "client|list", -2, ADMIN, 0, 0, 0, "connection", "2.4.0", "Facts about connections")
X(client_no_evict, "client|no-evict", 3, ADMIN, 0, 0, 0, "connection", "7.0.0", "Accepted: no client is closed for its memory alone")
X(client_no_touch, "client|no-touch", 3, 0, 0, 0, 0, "connection", "7.2.0", "Accepted: no key is evicted")
X(client_reply, "client|reply", 3, NOMULTI, 0, 0, 0, "connection", "3.2.0", "Whether commands are answered")
X(client_setinfo, "client|setinfo", 4, 0, 0, 0, 0, "connection", "7.2.0", "Note what the client calls itself")
X(client_setname, "client|setname", 3, 0, 0, 0, 0, "connection", "2.6.9", "Name this connection")
X(echo, "echo", 2, F, 0, 0, 0, "connection", "1.0.0", "Give the argument back")
X(hello, "hello", -1, F | NOAUTH | NOMULTI, 0, 0, 0, "connection", "6.0.0", "Choose the protocol's version")
X(ping, "ping", -1, F | PUBSUB, 0, 0, 0, "connection", "1.0.0", "Tell that the server is there")
X(quit, "quit", -1, F | PUBSUB | NOAUTH, 0, 0, 0, "connection", "1.0.0", "Close the connection")
X(reset, "reset", 1, F | PUBSUB | NOAUTH, 0, 0, 0, "connection", "6.2.0", "Make the connection as it was at its begin")
X(select, "select", 2, F, 0, 0, 0, "connection", "1.0.0", "Choose database 0, the only one")

/* ---- server ---- */
X(bgrewriteaof, "bgrewriteaof", 1, ADMIN | NOMULTI, 0, 0, 0, "server", "1.0.0", "Compact the log in the background")
X(bgsave, "bgsave", -1, ADMIN | NOMULTI, 0, 0, 0, "server", "1.0.0", "Write a checkpoint in the background")
X(command, "command", -1, 0, 0, 0, 0, "server", "2.8.13", "Describe all commands")
X(command_count, "command|count", 2, 0, 0, 0, 0, "server", "2.8.13", "Number of commands")
X(command_docs, "command|docs", -2, 0, 0, 0, 0, "server", "7.0.0", "What commands are for")
X(command_getkeys, "command|getkeys", -4, 0, 0, 0, 0, "server", "2.8.13", "The keys of a command with its arguments")
X(help, "command|help", 2, 0, 0, 0, 0, "server", "5.0.0", "Subcommands of COMMAND")
X(command_info, "command|info", -2, 0, 0, 0, 0, "server", "2.8.13", "Describe commands")
X(command_list, "command|list", -2, 0, 0, 0, 0, "server", "7.0.0", "The names of commands")
X(container, "config", -2, 0, 0, 0, 0, "server", "2.0.0", "Settings of the server")
X(config_get, "config|get", -3, ADMIN, 0, 0, 0, "server", "2.0.0", "The settings whose names match")
X(help, "config|help", 2, 0, 0, 0, 0, "server", "5.0.0", "Subcommands of CONFIG")
X(config_resetstat, "config|resetstat", 2, ADMIN, 0, 0, 0, "server", "2.0.0", "Begin to count anew")
X(config_set, "config|set", -4, ADMIN, 0, 0, 0, "server", "2.0.0", "Change settings until the server ends")
X(dbsize, "dbsize", 1, R | F, 0, 0, 0, "server", "1.0.0", "Number of keys")
X(flush, "flushall", -1, W, 0, 0, 0, "server", "1.0.0", "Delete all keys")
X(flush, "flushdb", -1, W, 0, 0, 0, "server", "1.0.0", "Delete all keys")
X(lastsave, "lastsave", 1, ADMIN | F, 0, 0, 0, "server", "1.0.0", "When a client's checkpoint last succeeded")
X(container, "memory", -2, 0, 0, 0, 0, "server", "4.0.0", "What takes memory")
X(help, "memory|help", 2, 0, 0, 0, 0, "server", "4.0.0", "Subcommands of MEMORY")
X(memory_usage, "memory|usage", -3, R, 2, 2, 1, "server", "4.0.0", "Bytes that a key takes in the log and the index")
X(monitor, "monitor", 1, ADMIN | NOMULTI, 0, 0, 0, "server", "1.0.0", "Show the commands of everybody")
X(save, "save", 1, ADMIN | NOMULTI, 0, 0, 0, "server", "1.0.0", "Write a checkpoint")
X(shutdown, "shutdown", -1, ADMIN | NOMULTI, 0, 0, 0, "server", "1.0.0", "End the server")
X(info, "info", -1, 0, 0, 0, 0, "server", "1.0.0", "Facts about the server")
X(time, "time", 1, F, 0, 0, 0, "server", "2.6.0", "The server's time")

/* ---- keys ---- */
X(copy, "copy", -3, W, 1, 2, 1, "generic", "6.2.0", "Copy a value to another key")
X(del, "del", -2, W, 1, -1, 1, "generic", "1.0.0", "Delete keys")
X(exists, "exists", -2, R | F, 1, -1, 1, "generic", "1.0.0", "How many of the keys exist")
X(expire, "expire", -3, W | F, 1, 1, 1, "generic", "1.0.0", "Let a key lapse in so many seconds")
X(expireat, "expireat", -3, W | F, 1, 1, 1, "generic", "1.2.0", "Let a key lapse at a time in seconds")
X(expiretime, "expiretime", 2, R | F, 1, 1, 1, "generic", "7.0.0", "When a key lapses, in seconds")
X(keys, "keys", 2, R, 0, 0, 0, "generic", "1.0.0", "The keys that match a pattern")
X(container, "object", -2, 0, 0, 0, 0, "generic", "2.2.3", "How a value is kept")
X(object_encoding, "object|encoding", 3, R, 2, 2, 1, "generic", "2.2.3", "int, embstr, raw or hashtable")
X(object_freq, "object|freq", 3, R, 2, 2, 1, "generic", "4.0.0", "An error: nobody counts how often a key is used")
X(help, "object|help", 2, 0, 0, 0, 0, "generic", "6.2.0", "Subcommands of OBJECT")
X(object_idletime, "object|idletime", 3, R, 2, 2, 1, "generic", "2.2.3", "0: nobody notes when a key was used")
X(object_refcount, "object|refcount", 3, R, 2, 2, 1, "generic", "2.2.3", "1")
X(persist, "persist", 2, W | F, 1, 1, 1, "generic", "2.2.0", "Take a key's expiry away")
X(pexpire, "pexpire", -3, W | F, 1, 1, 1, "generic", "2.6.0", "Let a key lapse in so many milliseconds")
X(pexpireat, "pexpireat", -3, W | F, 1, 1, 1, "generic", "2.6.0", "Let a key lapse at a time in milliseconds")
X(pexpiretime, "pexpiretime", 2, R | F, 1, 1, 1, "generic", "7.0.0", "When a key lapses, in milliseconds")
X(pttl, "pttl", 2, R | F, 1, 1, 1, "generic", "2.6.0", "Milliseconds a key has to live")
X(randomkey, "randomkey", 1, R, 0, 0, 0, "generic", "1.0.0", "Some key")
X(rename, "rename", 3, W, 1, 2, 1, "generic", "1.0.0", "Give a value another key")
X(rename, "renamenx", 3, W | F, 1, 2, 1, "generic", "1.0.0", "Give a value another key that does not exist")
X(scan, "scan", -2, R, 0, 0, 0, "generic", "2.8.0", "Walk through the keys, some at a time")
X(exists, "touch", -2, R | F, 1, -1, 1, "generic", "3.2.1", "How many of the keys exist")
X(ttl, "ttl", 2, R | F, 1, 1, 1, "generic", "1.0.0", "Seconds a key has to live")
X(type, "type", 2, R | F, 1, 1, 1, "generic", "1.0.0", "The type of a value")
X(del, "unlink", -2, W | F, 1, -1, 1, "generic", "4.0.0", "Delete keys")

/* ---- strings ---- */
X(append, "append", 3, W | F, 1, 1, 1, "string", "2.0.0", "Add to the end of a value")
X(decr, "decr", 2, W | F, 1, 1, 1, "string", "1.0.0", "Subtract one")
X(decrby, "decrby", 3, W | F, 1, 1, 1, "string", "1.0.0", "Subtract a whole number")
X(get, "get", 2, R | F, 1, 1, 1, "string", "1.0.0", "The value of a key")
X(getdel, "getdel", 2, W | F, 1, 1, 1, "string", "6.2.0", "The value of a key, which is deleted")
X(getex, "getex", -2, W | F, 1, 1, 1, "string", "6.2.0", "The value of a key, which gets an expiry")
X(getrange, "getrange", 4, R, 1, 1, 1, "string", "2.4.0", "A part of a value")
X(getset, "getset", 3, W | F, 1, 1, 1, "string", "1.0.0", "Set a key and give its old value")
X(incr, "incr", 2, W | F, 1, 1, 1, "string", "1.0.0", "Add one")
X(incrby, "incrby", 3, W | F, 1, 1, 1, "string", "1.0.0", "Add a whole number")
X(incrbyfloat, "incrbyfloat", 3, W | F, 1, 1, 1, "string", "2.6.0", "Add a number")
X(lcs, "lcs", -3, R, 1, 2, 1, "string", "7.0.0", "The longest common subsequence of two values")
X(mget, "mget", -2, R | F, 1, -1, 1, "string", "1.0.0", "The values of keys")
X(mset, "mset", -3, W, 1, -1, 2, "string", "1.0.1", "Set keys, all at once")
X(msetnx, "msetnx", -3, W, 1, -1, 2, "string", "1.0.1", "Set keys, all at once, if none exists")
X(psetex, "psetex", 4, W, 1, 1, 1, "string", "2.6.0", "Set a key that lapses in so many milliseconds")
X(set, "set", -3, W, 1, 1, 1, "string", "1.0.0", "Set a key")
X(setex, "setex", 4, W, 1, 1, 1, "string", "2.0.0", "Set a key that lapses in so many seconds")
X(setnx, "setnx", 3, W | F, 1, 1, 1, "string", "1.0.0", "Set a key if it does not exist")
X(setrange, "setrange", 4, W, 1, 1, 1, "string", "2.2.0", "Write over a part of a value")
X(strlen, "strlen", 2, R | F, 1, 1, 1, "string", "2.2.0", "Bytes of a value")
X(getrange, "substr", 4, R, 1, 1, 1, "string", "1.0.0", "A part of a value")

/* ---- transactions ---- */
X(discard, "discard", 1, F, 0, 0, 0, "transactions", "2.0.0", "Forget the commands since MULTI")
X(exec, "exec", 1, 0, 0, 0, 0, "transactions", "1.2.0", "Run the commands since MULTI as one transaction")
X(multi, "multi", 1, F, 0, 0, 0, "transactions", "1.2.0", "Begin a transaction")
X(unwatch, "unwatch", 1, F, 0, 0, 0, "transactions", "2.2.0", "Forget the keys of WATCH")
X(watch, "watch", -2, F | NOMULTI, 1, -1, 1, "transactions", "2.2.0", "Let EXEC do nothing if a key changes before it")

/* ---- hashes ---- */
X(hdel, "hdel", -3, W | F, 1, 1, 1, "hash", "2.0.0", "Delete fields; without fields the key goes too")
X(hexists, "hexists", 3, R | F, 1, 1, 1, "hash", "2.0.0", "Is there such a field")
X(hget, "hget", 3, R | F, 1, 1, 1, "hash", "2.0.0", "The value of a field")
X(hgetall, "hgetall", 2, R, 1, 1, 1, "hash", "2.0.0", "All fields and their values")
X(hincrby, "hincrby", 4, W | F, 1, 1, 1, "hash", "2.0.0", "Add a whole number to a field")
X(hincrbyfloat, "hincrbyfloat", 4, W | F, 1, 1, 1, "hash", "2.6.0", "Add a number to a field")
X(hkeys, "hkeys", 2, R, 1, 1, 1, "hash", "2.0.0", "All fields")
X(hlen, "hlen", 2, R | F, 1, 1, 1, "hash", "2.0.0", "Number of fields")
X(hmget, "hmget", -3, R | F, 1, 1, 1, "hash", "2.0.0", "The values of fields")
X(hset, "hmset", -4, W | F, 1, 1, 1, "hash", "2.0.0", "Set fields")
X(hrandfield, "hrandfield", -2, R, 1, 1, 1, "hash", "6.2.0", "Some fields, by chance")
X(hscan, "hscan", -3, R, 1, 1, 1, "hash", "2.8.0", "Walk through the fields (all at once)")
X(hset, "hset", -4, W | F, 1, 1, 1, "hash", "2.0.0", "Set fields")
X(hsetnx, "hsetnx", 4, W | F, 1, 1, 1, "hash", "2.0.0", "Set a field if it does not exist")
X(hstrlen, "hstrlen", 3, R | F, 1, 1, 1, "hash", "3.2.0", "Bytes of the value of a field")
X(hvals, "hvals", 2, R, 1, 1, 1, "hash", "2.0.0", "All values of fields")

/* ---- publish and subscribe ---- */
X(psubscribe, "psubscribe", -2, PUBSUB | NOMULTI, 0, 0, 0, "pubsub", "2.0.0", "Get the messages of channels that match")
X(publish, "publish", 3, F, 0, 0, 0, "pubsub", "2.0.0", "Send a message to a channel")
X(container, "pubsub", -2, 0, 0, 0, 0, "pubsub", "2.8.0", "What is subscribed to")
X(pubsub_channels, "pubsub|channels", -2, 0, 0, 0, 0, "pubsub", "2.8.0", "The channels that somebody has subscribed to")
X(help, "pubsub|help", 2, 0, 0, 0, 0, "pubsub", "6.2.0", "Subcommands of PUBSUB")
X(pubsub_numpat, "pubsub|numpat", 2, 0, 0, 0, 0, "pubsub", "2.8.0", "How many patterns are subscribed to")
X(pubsub_numsub, "pubsub|numsub", -2, 0, 0, 0, 0, "pubsub", "2.8.0", "How many have subscribed to channels")
X(punsubscribe, "punsubscribe", -1, PUBSUB | NOMULTI, 0, 0, 0, "pubsub", "2.0.0", "No messages of patterns any more")
X(subscribe, "subscribe", -2, PUBSUB | NOMULTI, 0, 0, 0, "pubsub", "2.0.0", "Get the messages of channels")
X(unsubscribe, "unsubscribe", -1, PUBSUB | NOMULTI, 0, 0, 0, "pubsub", "2.0.0", "No messages of channels any more")

/* ---- documents ---- */
X(json_del, "json.del", -2, W, 1, 1, 1, "json", "0.1.0", "Delete a value within a document, or all of it")
X(json_get, "json.get", -2, R, 1, 1, 1, "json", "0.1.0", "A document, or values within it, as JSON")
X(json_numincrby, "json.numincrby", 4, W, 1, 1, 1, "json", "0.1.0", "Add to a number within a document")
X(json_set, "json.set", -4, W, 1, 1, 1, "json", "0.1.0", "Set a document, or a value within it, to JSON")
X(json_type, "json.type", -2, R, 1, 1, 1, "json", "0.1.0", "The type of a value within a document")
X(toon_find, "toon.find", -3, R, 0, 0, 0, "toon", "0.1.0", "Documents of a collection as one TOON table: collection and filter (JSON), then FIELDS f…, ORDERBY f [ASC | DESC]…, LIMIT n, MAXTOKENS n")
X(toon_get, "toon.get", -2, R, 1, 1, 1, "toon", "0.1.0", "A value, or some of its fields, as TOON")
X(toon_range, "toon.range", -3, R, 0, 0, 0, "toon", "0.1.0", "A range of keys as one TOON table: start end or PREFIX p, then FIELDS f…, LIMIT n, MAXTOKENS n")
X(toon_set, "toon.set", 3, W, 1, 1, 1, "toon", "0.1.0", "Set a key to what a TOON text says")

#undef W
#undef R
#undef F
#undef ADMIN
#undef NOAUTH
#undef PUBSUB
#undef NOMULTI
// clang-format on
