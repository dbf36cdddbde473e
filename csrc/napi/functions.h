/* The functions that JavaScript sees, one list; addon.cc registers them, lib/binding.js describes them. */
#ifndef TOON_NAPI_FUNCTIONS_H
#define TOON_NAPI_FUNCTIONS_H

#include <node_api.h>

/* X(name) */
#define TOON_NAPI_FUNCTIONS(X) \
  /* store.cc */               \
  X(storeOpen)                 \
  X(storeClose)                \
  X(storeSync)                 \
  X(storeSyncNow)              \
  X(storeCheckpoint)           \
  X(storeCompact)              \
  X(storeCompactStop)          \
  X(storeStats)                \
  X(storeSize)                 \
  X(storeNow)                  \
  X(storeWatch)                \
  /* read.cc */                \
  X(get)                       \
  X(checkKey)                  \
  X(getMany)                   \
  X(hasAny)                    \
  X(has)                       \
  X(getLong)                   \
  X(readsStart)                \
  /* cursor.cc */              \
  X(cursorOpen)                \
  X(cursorNext)                \
  X(cursorNextAsync)           \
  X(cursorClose)               \
  X(rangeCount)                \
  X(rangeToon)                 \
  /* query.cc */               \
  X(queryOpen)                 \
  X(queryNext)                 \
  X(queryNextAsync)            \
  X(queryToon)                 \
  X(queryCount)                \
  X(queryGroups)               \
  X(queryCounted)              \
  X(queryClose)                \
  X(queryUnique)               \
  X(columnsKeep)               \
  X(columnsDrop)               \
  X(columnsBuild)              \
  X(columnsBlockRows)          \
  /* snapshot.cc */            \
  X(snapshotOpen)              \
  X(snapshotClose)             \
  /* server.cc */              \
  X(serverStart)               \
  X(serverPort)                \
  X(serverAnswer)              \
  X(serverAdopt)               \
  X(serverStop)                \
  /* write.cc */               \
  X(arenaNew)                  \
  X(arenaPut)                  \
  X(arenaPutWith)              \
  X(arenaRow)                  \
  X(arenaDelete)               \
  X(arenaExpire)               \
  X(arenaClear)                \
  X(arenaBegin)                \
  X(arenaBeginAt)              \
  X(arenaExpect)               \
  X(arenaExpectRange)          \
  X(arenaEnd)                  \
  X(arenaAbandon)              \
  X(arenaSubmit)               \
  X(arenaCommit)               \
  X(arenaDrop)                 \
  /* codec.cc */               \
  X(encode)                    \
  X(decode)                    \
  /* addon.cc */               \
  X(setup)                     \
  X(setSlab)

namespace toonstore {
#define X(name) napi_value js_##name(napi_env env, napi_callback_info info);
TOON_NAPI_FUNCTIONS(X)
#undef X
} // namespace toonstore

#endif
