/// <reference types="node" />
// The types of toonstore. lib/*.js has the documentation of every method, with its errors; what a program needs at hand
// is repeated here.

import { EventEmitter } from 'node:events'
import { TlsOptions } from 'node:tls'

/** What JSON can say. */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue }

/** What can be stored under a key. */
export type Value = JsonValue | Buffer | Uint8Array

/** Strings are ordered by their UTF-8 bytes; up to 4096 bytes. */
export type Key = string | Uint8Array

/** A value as it comes out: objects and arrays are frozen all the way down. Bytes are a copy of your own. */
export type DeepReadonly<T> =
  T extends null | undefined | boolean | number | string | bigint | symbol ? T :
  T extends Uint8Array ? Buffer :
  T extends readonly (infer U)[] ? readonly DeepReadonly<U>[] :
  T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> } :
  T

/** A value of your own, as `mutable: true` gives it. */
export type Mutable<T> = T extends Uint8Array ? Buffer : T

export type Durability =
  /** survives power loss once the promise resolves (default) */
  | 'commit'
  /** survives the death of the process; power loss takes at most the last syncInterval ms */
  | 'interval'
  /** survives the death of the process; synced by sync(), checkpoint() and close() */
  | 'close'

/** Options of ToonStore.open(). Sizes are bytes, times milliseconds. */
export interface StoreOptions {
  /** default 'commit' */
  durability?: Durability
  /** for durability 'interval': 1 to 3,600,000; default 1000 */
  syncInterval?: number
  /** bytes of TOON text of one value: 1 to 1 GiB; default 1 MiB */
  maxValueSize?: number
  /** live bytes of the store; default 1 GiB */
  maxDbSize?: number
  /** bytes of log text of one batch: 1 to 1 GiB; default 64 MiB */
  maxTxnSize?: number
  /** bytes of a log file: 4 KiB to 1 GiB; default 64 MiB */
  segmentSize?: number
  /** bytes of log between checkpoints: 4 KiB to 1 GiB; default 32 MiB */
  checkpointBytes?: number
  /** time to live of every put that gives none; default 0 = for ever */
  ttl?: number
  /** read the store as it is at the open, without a lock; default false */
  readOnly?: boolean
  /** cut damage away instead of failing with TOON_ECORRUPT; default false */
  repair?: boolean
  /** default true */
  createIfMissing?: boolean
  /** fail with TOON_EINVAL if there is a store already; default false */
  errorIfExists?: boolean
  /** gives up waiting for the open; it rejects with signal.reason */
  signal?: AbortSignal
}

/** Options of open() and ToonCache.open(). */
export interface OpenOptions extends StoreOptions {
  /** rows that the cache keeps at most, 0 = no cache; default 10000. A server of listen() has one of its own with the same bounds */
  capacity?: number
  /** bytes that the cache takes at most, and as many again each for bytes kept ready in C and for a server; default 64 MiB */
  cacheBytes?: number
}

export interface ReadOptions {
  /** a copy of your own instead of a frozen value */
  mutable?: boolean
}

export interface RowPutOptions {
  /** ms from now until the row lapses */
  ttl?: number
  /** the same as ms since 1970; not both */
  expiresAt?: number
}

export interface PutOptions extends RowPutOptions {
  /** only if there is no such key; the promise tells whether it was written */
  ifAbsent?: boolean
  /** only if the row has this version (see getEntry), 0 = only if there is none; the promise tells whether it was written */
  ifVersion?: number
}

/** Put options that make the put conditional. */
export type PutCondition = RowPutOptions & ({ ifAbsent: true, ifVersion?: undefined } | { ifVersion: number, ifAbsent?: false })

export type BatchOperation<V = Value> =
  | { type: 'put', key: Key, value: V, ttl?: number, expiresAt?: number }
  | { type: 'del', key: Key }

/** Bounds by bytes. gte beats gt, lte beats lt, prefix narrows further. */
export interface RangeBounds<K = Key> {
  gt?: K
  gte?: K
  lt?: K
  lte?: K
  prefix?: K
  /** from the last to the first */
  reverse?: boolean
  /** at most so many */
  limit?: number
}

/** 'name', a path as 'address.city' (the same as ['address', 'city']), or ['a.b'] for a name with dots. */
export type Field = string | readonly [string, ...string[]]

export interface RangeOptions extends RangeBounds {
  /** pick fields of objects and of the objects in arrays, named by their paths; absent ones are left out */
  fields?: readonly Field[]
  /** what the values come as: as get(), getText() or getBuffer() give them; default 'value' */
  as?: 'value' | 'text' | 'buffer'
  /** default 'string'; a key that is not UTF-8 comes as a Buffer anyway */
  keyAs?: 'string' | 'buffer'
  signal?: AbortSignal
}

export interface ScanOptions extends Omit<RangeBounds<number>, 'prefix'> {
  fields?: readonly Field[]
  as?: 'value' | 'text' | 'buffer'
  signal?: AbortSignal
}

export interface ToToonOptions extends RangeBounds {
  /** the columns, as in range(); what a document lacks is null */
  fields?: readonly Field[]
  /** a name for all of it */
  name?: string
  /** default ',' */
  delimiter?: ',' | '\t' | '|'
  /** as many rows as fit, in the order of the range; the result never counts more */
  maxTokens?: number
  /** what counts, given whole results some ten times; default an estimate for o200k_base */
  countTokens?: (text: string) => number
  /** end with a comment as '# 37 more rows' if maxTokens has left some out */
  note?: boolean
  signal?: AbortSignal
}

export interface CompactOptions {
  /** ends the work early, harmlessly; the promise rejects with signal.reason */
  signal?: AbortSignal
  /** called with a share from 0 to 1, which only grows */
  onProgress?: (done: number) => void
}

/** One walk over a range, at the moment the range was made: iterate it once, by for...of or for await...of. */
export interface Range<T> extends Iterable<T>, AsyncIterable<T> {
  next (): IteratorResult<T, undefined>
  return (value?: any): IteratorResult<T, any>
  [Symbol.iterator] (): IterableIterator<T>
  [Symbol.asyncIterator] (): AsyncIterableIterator<T>
  /** All that is left of it. */
  toArray (): T[]
}

/** What the values of a range with these options are. */
export type RangeValue<V, O> =
  O extends { as: 'text' } ? string :
  O extends { as: 'buffer' } ? Buffer :
  O extends { fields: readonly Field[] } ? DeepReadonly<JsonValue> | Buffer :
  DeepReadonly<V>

/** What its keys are: strings, or Buffers where a key is not UTF-8. */
export type RangeKey<O> = O extends { keyAs: 'buffer' } ? Buffer : string

export interface Entry<T> {
  value: T
  /** sequence of the commit that wrote it */
  version: number
  /** ms since 1970, null = never */
  expiresAt: number | null
}

/** Counters of the engine since it was opened, shared by all handles of a directory in the process. More may come. */
export interface Stats {
  /** of a ToonCache with a capacity: what this handle keeps, by entries and estimated bytes */
  cache?: { hits: number, misses: number, ratio: number, evictions: number, rows: number, bytes: number }
  /** caches of ready values in C, together: one of each listening server whose store has a capacity, one of a
   * ToonCache that reads bytes, and those of programs in C */
  hot: { caches: number, hits: number, misses: number, evictions: number, rows: number, bytes: number }
  path: string
  durability: Durability
  readOnly: boolean
  /** of the newest commit */
  sequence: number
  /** newest sequence known to be on disk */
  syncedSequence: number
  /** id of the next row without a key */
  nextRow: number
  /** groups written to the log */
  commits: number
  /** calls, a batch being one */
  calls: number
  rowsWritten: number
  bytesWritten: number
  /** of the log */
  syncs: number
  checkpoints: number
  checkpointFailures: number
  merges: number
  /** how often, and ms that, writers waited for a checkpoint */
  stalls: number
  stallMs: number
  /** segments that were compacted, and rows that this has moved */
  compactions: number
  rowsMoved: number
  /** rows that had lapsed and were deleted in the background */
  rowsExpired: number
  /** rows found damaged when they were read */
  damagedRows: number
  log: { segments: number, bytes: number, deadBytes: number, liveBytes: number }
  /** runs are on disk; the delta is what was written since the last checkpoint */
  index: { runs: number, runBytes: number, runEntries: number, deltaKeys: number, deltaBytes: number }
  /**
   * column files and what they hold; rows that queries read from the log because they have changed since or lapse; files made, and
   * dropped because they were damaged, stale or not wanted any more, since the open
   */
  columns: { files: number, bytes: number, rows: number, changed: number, built: number, dropped: number, failures: number }
  /** snapshots, transactions and ranges that are open, and what only they hold back; given up so far for holding too much */
  snapshots: { open: number, oldestMs: number, memoryBytes: number, fileBytes: number, dropped: number }
  /** what the open did */
  recovery: {
    /** the store had been closed cleanly */
    clean: boolean
    /** the index was rebuilt from the log, and why */
    rebuilt: boolean
    rebuiltBecause: string | null
    /** read from the log again */
    groups: number
    bytes: number
    /** written again because the disk might have lost them */
    rewrittenBytes: number
    /** cut off the end of the log, where, and whole segments removed */
    cutBytes: number
    cutFile: string | null
    cutOffset: number
    segmentsRemoved: number
    ms: number
  }
  /** why the store takes no more writes, or null */
  failed: string | null
  [name: string]: unknown
}

/** Rows without keys, numbered from 0 in the order of their puts. */
export interface Rows<V = Value> {
  /** Append a row; its id. */
  put (value: V, options?: RowPutOptions): Promise<number>
  get (id: number, options: { mutable: true }): Mutable<V> | undefined
  get (id: number, options?: ReadOptions): DeepReadonly<V> | undefined
  /** In the order of ids, all at one moment; undefined where there is no such row. */
  getMany (ids: readonly number[], options?: ReadOptions): (DeepReadonly<V> | undefined)[]
  /** False if there is no such row. */
  update (id: number, value: V, options?: RowPutOptions): Promise<boolean>
  /** Whether there was such a row. */
  delete (id: number): Promise<boolean>
  /** Walk over [id, value]. */
  scan<O extends ScanOptions = {}> (options?: O): Range<[number, RangeValue<V, O>]>
  readonly length: number
}

/** A document with the id under which it is stored. */
export type WithId<T> = { _id: string } & Omit<T, '_id'>

type Element<T> = T extends readonly (infer U)[] ? U : never
type Operand<T> = T | Element<T> | (T extends Date ? string : never) | null

/** Operators of one field. */
export interface Conditions<T = JsonValue> {
  /** equal; null is equal to absent, arrays and objects are equal as a whole, names in the same order */
  $eq?: Operand<T>
  $ne?: Operand<T>
  /** larger, within one type: numbers, strings by their UTF-8 bytes, booleans (false < true); other types do not match */
  $gt?: string | number | boolean | Date
  $gte?: string | number | boolean | Date
  $lt?: string | number | boolean | Date
  $lte?: string | number | boolean | Date
  $in?: readonly Operand<T>[]
  $nin?: readonly Operand<T>[]
  /** the field is there, null or not */
  $exists?: boolean
  /** matches strings */
  $regex?: string | RegExp
  $options?: string
  $not?: Conditions<T> | RegExp
}

/**
 * What documents are to fulfil: a value that a field is equal to, or operators, for each of some fields; all must hold. A field
 * of a field is named by a path, 'address.city'; paths lead through objects, not into arrays. A condition on an array also
 * holds if one of its scalars fulfils it: { tags: 'new' }. $ne, $nin and $not hold wherever their opposite does not, so where the
 * field is absent too.
 */
export type Filter<T = JsonValue> =
  { [K in keyof WithId<T>]?: Operand<WithId<T>[K]> | Conditions<WithId<T>[K]> | RegExp } &
  { [path: `${string}.${string}`]: unknown } &
  { $and?: readonly Filter<T>[], $or?: readonly Filter<T>[], $not?: Filter<T> }

type Direction = 1 | -1 | 'asc' | 'desc'

export interface FindOptions<T = JsonValue, F = readonly Field[]> {
  where?: Filter<T>
  /** pick fields, named by their paths; absent ones are left out, and _id if it is not among them */
  fields?: F
  /**
   * a field, or fields with directions, the first deciding. null and absent < false < true < numbers < strings (by their UTF-8
   * bytes) < arrays and objects, which are all equal; equal documents are in the order of their ids, in the last direction.
   * Without it documents come in any order
   */
  orderBy?: string | { readonly [path: string]: Direction }
  limit?: number
  offset?: number
  signal?: AbortSignal
}

export interface CollectionToToonOptions<T = JsonValue> extends FindOptions<T>,
  Pick<ToToonOptions, 'name' | 'delimiter' | 'maxTokens' | 'countTokens' | 'note'> {}

/** What find() gives, with these fields. */
export type FoundValue<T, F> =
  F extends readonly (infer N)[]
    ? { [K in N as K extends string ? K : string]?: K extends keyof WithId<T> ? WithId<T>[K] : JsonValue }
    : WithId<T>

/** The documents of a query, of the moment it was made: iterate it once, by for...of or for await...of. They are yours. */
export type Found<T> = Range<T>

type FieldList = string | readonly Field[]

export interface AggregateOptions<T = JsonValue> {
  where?: Filter<T>
  /** a group for each value, in the order of values; null and absent are one */
  groupBy?: FieldList
  count?: boolean
  /** of the numbers: other values are passed over */
  sum?: FieldList
  /** of the numbers; null if there are none */
  avg?: FieldList
  /** of all scalars but null; null if there are none */
  min?: FieldList
  max?: FieldList
}

type Name<F> = F extends string ? F : F extends readonly (infer U)[] ? Extract<U, string> : never

/** One result of aggregate(). */
export type Aggregate<O> =
  (O extends { groupBy: infer F } ? { group: { [K in Name<F>]: JsonValue } } : {}) &
  (O extends { count: true } ? { count: number } : {}) &
  (O extends { sum: infer F } ? { sum: { [K in Name<F>]: number } } : {}) &
  (O extends { avg: infer F } ? { avg: { [K in Name<F>]: number | null } } : {}) &
  (O extends { min: infer F } ? { min: { [K in Name<F>]: null | boolean | number | string } } : {}) &
  (O extends { max: infer F } ? { max: { [K in Name<F>]: null | boolean | number | string } } : {})

export interface Explanation {
  /** all documents, some ids, an index, or columns (and the log, for what has changed since they were made) */
  plan: 'scan' | 'ids' | 'index' | 'columns'
  /** fields of the index */
  index: string[] | null
  /** of keys, that were walked */
  ranges: number
  /** the documents were sorted in memory */
  sorted: boolean
  entriesRead: number
  rowsRead: number
  /** of the text of those rows, and of columns */
  bytesRead: number
  rowsReturned: number
  /** of columns: how many there are, and how many were read because documents in them could be wanted */
  blocks: number
  blocksRead: number
}

/** The documents of a query by columns: numbers in a typed array if all are numbers (Int32Array if they fit), else values. */
export interface FoundColumns<F extends readonly Field[] = readonly Field[]> {
  rows: number
  columns: { [K in F[number] as K extends string ? K : string]: Int32Array | Float64Array | JsonValue[] }
}

export interface IndexInfo {
  fields: string[]
  unique: boolean
  state: 'building' | 'ready' | 'dropping'
}

/** A collection of a store as it is now, or of a snapshot. */
export interface CollectionView<T extends object = { [name: string]: JsonValue }> {
  readonly name: string
  /** A copy of your own, which begins with its _id. */
  get (id: string): WithId<T> | undefined
  /** TOON_EINVAL, with the place in the filter, for what is no query. */
  find<const F extends readonly Field[] | undefined = undefined> (query?: FindOptions<T, F>): Found<FoundValue<T, F>>
  findOne<const F extends readonly Field[] | undefined = undefined> (query?: FindOptions<T, F>): FoundValue<T, F> | undefined
  /** All documents, read on another thread (on this one if the filter has regular expressions). */
  findAsync<const F extends readonly Field[] | undefined = undefined> (query?: FindOptions<T, F>): Promise<FoundValue<T, F>[]>
  count (query?: Pick<FindOptions<T>, 'where' | 'limit' | 'offset'>): number
  /** One result for each group; a single one without groupBy. */
  aggregate<const O extends AggregateOptions<T>> (query: O): O extends { groupBy: FieldList } ? Aggregate<O>[] : Aggregate<O>
  /** encode() of the documents' array, or of { [name]: array }; with `fields`, what a document lacks is null. */
  toToon (query?: CollectionToToonOptions<T>): string
  /** toToon() in chunks, of one moment. Rows that are not uniform objects of scalars are a list. */
  exportToon (query?: FindOptions<T> & Pick<ToToonOptions, 'name' | 'delimiter'>): AsyncGenerator<string, void, undefined>
  /** The documents by columns, one for each of the fields; what a document lacks is null. */
  findColumns<const F extends readonly Field[]> (query: FindOptions<T, F> & { fields: F }): FoundColumns<F>
  /** Run a query and tell what was read. */
  explain (query?: FindOptions<T>): Explanation
  indexes (): IndexInfo[]
}

/**
 * Documents under the keys `<name>/<id>`, as ordinary rows. Every method that writes keeps the indexes in the same commit. What
 * is written to such keys in other ways (db.put, the server) is found by queries that use no index; call reindex() after it.
 *
 * @typeParam T - what the documents are, without _id
 */
export interface Collection<T extends object = { [name: string]: JsonValue }> extends CollectionView<T> {
  /** Resolves when the indexes given to db.collection() can be used; rejects if one cannot be made. */
  ready (): Promise<void>
  /** The id: the document's _id, or one that sorts by time. TOON_EUNIQUE if it is there, or a value of a unique index. */
  insert (document: T & { _id?: string }, options?: RowPutOptions): Promise<string>
  /** All of them or none. */
  insert (documents: readonly (T & { _id?: string })[], options?: RowPutOptions): Promise<string[]>
  put (id: string, document: T & { _id?: string }, options?: RowPutOptions): Promise<void>
  /** Replace a document by what fn makes of it, with nobody in between; undefined deletes it. The new document. */
  update (
    id: string,
    fn: (old: WithId<T> | undefined) => (T & { _id?: string }) | undefined | Promise<(T & { _id?: string }) | undefined>,
    options?: Pick<TransactionOptions, 'retries'>
  ): Promise<WithId<T> | undefined>
  /** Whether there was such a document. */
  delete (id: string): Promise<boolean>
  /**
   * Resolves when it can be used; writes go on meanwhile. unique: no two documents have the same values, unless one of them is
   * null or absent; TOON_EUNIQUE if some have.
   */
  createIndex (fields: FieldList, options?: { unique?: boolean }): Promise<void>
  /** Whether there was one. */
  dropIndex (fields: FieldList): Promise<boolean>
  /**
   * Bring the columns up to what has been written so far, which happens by itself later. TOON_EINVAL if the collection keeps
   * none.
   */
  buildColumns (): Promise<void>
  /** Build all indexes again, after writes past the collection. */
  reindex (): Promise<void>
}

/** A collection inside a transaction: buffered, and committed with the rest. */
export interface TransactionCollection<T extends object = { [name: string]: JsonValue }> {
  readonly name: string
  get (id: string): WithId<T> | undefined
  insert (document: T & { _id?: string }, options?: RowPutOptions): string
  insert (documents: readonly (T & { _id?: string })[], options?: RowPutOptions): string[]
  put (id: string, document: T & { _id?: string }, options?: RowPutOptions): void
  update (id: string, fn: (old: WithId<T> | undefined) => (T & { _id?: string }) | undefined): WithId<T> | undefined
  update (id: string, fn: (old: WithId<T> | undefined) => Promise<(T & { _id?: string }) | undefined>): Promise<WithId<T> | undefined>
  delete (id: string): boolean
}

type TextOptions = 'name' | 'delimiter' | 'maxTokens' | 'countTokens'

/** A part of a context. */
export interface ContextSection {
  /** its name in the document, different from the others' */
  title: string
  /** of toToon(), or of a collection's */
  query?: Omit<ToToonOptions, TextOptions> | ({ collection: string } & Omit<CollectionToToonOptions<any>, TextOptions>)
  maxTokens?: number
  /** default 0 */
  priority?: number
}

export interface CollectionOptions {
  /** made in the background if they are not there; await ready() to use them */
  indexes?: readonly (FieldList | { fields: FieldList, unique?: boolean })[]
  /**
   * Keep these fields of the documents by columns too, or, if true, those that at least half of the documents have (of the first
   * 1,000). Queries that need no others read less and are faster, and give the same. Columns are files of their own, made in the
   * background after checkpoints; they stay, and are kept up to date, until false is given here.
   */
  columns?: boolean | readonly Field[]
}

/**
 * The state of a store at one moment. It holds back the reuse of memory and files until it is closed (or
 * garbage-collected). TOON_ECLOSED once it or its store is closed; TOON_ESNAPSHOT if it was given up: when the open ones
 * hold back more than 128 MiB of memory or maxDbSize of files, or the oldest, open for an hour, 16 MiB, the oldest goes.
 */
export interface Snapshot<V = Value> {
  readonly rows: Pick<Rows<V>, 'get' | 'getMany' | 'scan' | 'length'>
  /** Number of keys, counted by a walk over them. */
  readonly size: number
  get (key: Key, options: { mutable: true }): Mutable<V> | undefined
  get (key: Key, options?: ReadOptions): DeepReadonly<V> | undefined
  getAsync (key: Key, options: { mutable: true }): Promise<Mutable<V> | undefined>
  getAsync (key: Key, options?: ReadOptions): Promise<DeepReadonly<V> | undefined>
  getMany (keys: readonly Key[], options: { mutable: true }): (Mutable<V> | undefined)[]
  getMany (keys: readonly Key[], options?: ReadOptions): (DeepReadonly<V> | undefined)[]
  getEntry (key: Key, options: { mutable: true }): Entry<Mutable<V>> | undefined
  getEntry (key: Key, options?: ReadOptions): Entry<DeepReadonly<V>> | undefined
  getText (key: Key): string | undefined
  getBuffer (key: Key): Buffer | undefined
  has (key: Key): boolean
  hasMany (keys: readonly Key[]): boolean[]
  ttl (key: Key): number | null | undefined
  range<O extends RangeOptions = {}> (options?: O): Range<[RangeKey<O>, RangeValue<V, O>]>
  keys<O extends RangeOptions = {}> (options?: O): Range<RangeKey<O>>
  values<O extends RangeOptions = {}> (options?: O): Range<RangeValue<V, O>>
  count (range?: RangeBounds): number
  toToon (options?: ToToonOptions): string
  collection<T extends object = { [name: string]: JsonValue }> (name: string): CollectionView<T>
  /** Calling it again does nothing. */
  close (): void
  [Symbol.dispose] (): void
}

/**
 * 'snapshot': a key that the transaction writes was changed by somebody else: TOON_ECONFLICT. 'serializable': also a key or
 * range that it read.
 */
export type Isolation = 'snapshot' | 'serializable'

export interface TransactionOptions {
  /** default 'snapshot' */
  isolation?: Isolation
  /** attempts after a conflict; default 10, for an async function 0 */
  retries?: number
  /** ms until it is rolled back with TOON_ETIMEOUT */
  timeout?: number
  /** rolls it back; the promise rejects with signal.reason */
  signal?: AbortSignal
}

/** One walk over a range of a transaction. */
export interface MergedRange<T> extends Iterable<T> {
  next (): IteratorResult<T, undefined>
  return (value?: any): IteratorResult<T, any>
  [Symbol.iterator] (): IterableIterator<T>
  toArray (): T[]
}

export interface Savepoint {
  /** Take back what was written since. */
  rollback (): void
}

/** Reads the store as it was at its begin, with its own writes on top; writes nothing before commit(). */
export interface Transaction<V = Value> {
  /** which attempt of transaction() this is, from 1 */
  readonly attempt: number
  readonly state: 'open' | 'committed' | 'rolled back'
  get (key: Key, options: { mutable: true }): Mutable<V> | undefined
  get (key: Key, options?: ReadOptions): DeepReadonly<V> | undefined
  getMany (keys: readonly Key[], options: { mutable: true }): (Mutable<V> | undefined)[]
  getMany (keys: readonly Key[], options?: ReadOptions): (DeepReadonly<V> | undefined)[]
  has (key: Key): boolean
  range (options?: RangeBounds): MergedRange<[string, DeepReadonly<V>]>
  /** ttl counts from the commit */
  put (key: Key, value: V, options?: RowPutOptions): void
  /** Whether the key existed. */
  delete (key: Key): boolean
  collection<T extends object = { [name: string]: JsonValue }> (name: string): TransactionCollection<T>
  savepoint (): Savepoint
  /** TOON_ECONFLICT if somebody else was faster; nothing is written then. */
  commit (): Promise<void>
  rollback (): void
}

export interface StoreEvents {
  /** a checkpoint, merge, compaction or sync in the background has failed; emitted only if somebody listens */
  error: [ToonError]
  /** TOON_EDBFULL: the store has grown above 80 % of maxDbSize. Told again only after it was below 70 % */
  warning: [ToonError]
  close: []
}

export interface ListenOptions {
  /** default 6379; 0: one that is free */
  port?: number
  /** an IP address; default 127.0.0.1 */
  host?: string
  /** a unix socket to listen on, for this user only; without port and host there is no TCP then */
  path?: string
  /** default 10000 */
  maxClients?: number
  /** default true: refuse addresses off loopback as long as there is no password */
  protectedMode?: boolean
  /** of the user 'default', an admin; without password and users everybody may do everything */
  password?: string
  users?: ServerUser[]
  /** options of Node's tls.createServer, such as cert and key; TCP then takes TLS alone */
  tls?: TlsOptions
  /** milliseconds, in steps of a second; default 0: silent connections stay */
  idleTimeout?: number
  /** milliseconds between TCP's signs of life, in steps of a second; default 300000; 0: none */
  keepAlive?: number
  /** bytes of replies that a connection may leave unread; default 256 MiB */
  outputLimit?: number
  /** the same for what it monitors or has subscribed to; default 32 MiB */
  pushLimit?: number
  /** the least of the notices that are wanted; default 'warning' */
  logLevel?: 'debug' | 'info' | 'warning'
}

export interface ServerUser {
  name: string
  role: 'read-only' | 'read-write' | 'admin'
  /** in clear */
  password?: string
  /** or what tstd --hash-password prints */
  hash?: string
}

export interface ServerEvents {
  notice: [level: 'debug' | 'info' | 'warning', text: string]
  /** a client has sent SHUTDOWN; without a listener the server closes */
  shutdown: []
}

/** A listening server. Keeps the process alive unless unref() is called. */
export interface Server extends EventEmitter<ServerEvents> {
  /** undefined without TCP */
  readonly host: string | undefined
  /** 0 without TCP */
  readonly port: number
  readonly path: string | undefined
  /** redis://host:port; rediss:// with TLS, unix://path without TCP */
  readonly url: string
  ref (): this
  unref (): this
  /** Stop listening, finish writes under way, close all connections. */
  close (): Promise<void>
  [Symbol.asyncDispose] (): Promise<void>
}

/**
 * An open store: the engine without a cache. Reads are synchronous and see every write whose promise has resolved.
 *
 * @typeParam V - what the values are
 */
export class ToonStore<V = Value> extends EventEmitter<StoreEvents> {
  protected constructor (token: never)

  static open<V = Value> (location: string | URL, options?: StoreOptions): Promise<ToonStore<V>>

  /** Absolute path of the directory. */
  readonly path: string
  readonly rows: Rows<V>
  /** Number of keys; rows without keys are counted by rows.length. */
  readonly size: number

  get (key: Key, options: { mutable: true }): Mutable<V> | undefined
  get (key: Key, options?: ReadOptions): DeepReadonly<V> | undefined
  /** As get(), read on another thread. */
  getAsync (key: Key, options: { mutable: true }): Promise<Mutable<V> | undefined>
  getAsync (key: Key, options?: ReadOptions): Promise<DeepReadonly<V> | undefined>
  /** In the order of keys, all at one moment; undefined where there is none. */
  getMany (keys: readonly Key[], options: { mutable: true }): (Mutable<V> | undefined)[]
  getMany (keys: readonly Key[], options?: ReadOptions): (DeepReadonly<V> | undefined)[]
  getEntry (key: Key, options: { mutable: true }): Entry<Mutable<V>> | undefined
  getEntry (key: Key, options?: ReadOptions): Entry<DeepReadonly<V>> | undefined
  /** The value as TOON text, equal to encode(get(key)); bytes as base64:... */
  getText (key: Key): string | undefined
  /** Bytes as they are, strings in UTF-8, anything else its TOON text. */
  getBuffer (key: Key): Buffer | undefined
  has (key: Key): boolean
  hasMany (keys: readonly Key[]): boolean[]

  /** Resolves when the write is as durable as the store was opened for; with a condition, to whether it was written. */
  put (key: Key, value: V, options: PutCondition): Promise<boolean>
  put (key: Key, value: V, options?: RowPutOptions & { ifAbsent?: false }): Promise<void>
  put (key: Key, value: V, options: PutOptions): Promise<boolean | void>
  /** Whether the key existed. */
  delete (key: Key): Promise<boolean>
  /** Let a key lapse `ttl` ms from now; whether there is such a key. */
  expire (key: Key, ttl: number): Promise<boolean>
  /** Take a key's expiry away; whether there was one. */
  persist (key: Key): Promise<boolean>
  /** ms that a key has to live: null = for ever, undefined = no such key. */
  ttl (key: Key): number | null | undefined
  /** All of it or nothing. */
  batch (ops: readonly BatchOperation<V>[]): Promise<void>
  /** Delete all keys, or those of a range; how many. Rows without keys stay. */
  clear (range?: RangeBounds): Promise<number>

  range<O extends RangeOptions = {}> (options?: O): Range<[RangeKey<O>, RangeValue<V, O>]>
  keys<O extends RangeOptions = {}> (options?: O): Range<RangeKey<O>>
  values<O extends RangeOptions = {}> (options?: O): Range<RangeValue<V, O>>
  count (range?: RangeBounds): number
  /** The state of the store at this moment; close() it when it is done. */
  snapshot (): Snapshot<V>
  /**
   * The rows of a range as one TOON document, equal to encode({ key: value, … }), or to encode({ [name]: { key: value, … } }):
   * two or more rows that are objects of scalars with the same keys are a table. Bytes are the string 'base64:...'.
   * TOON_EINVAL for a key that is not UTF-8.
   */
  toToon (options?: ToToonOptions): string

  /** toToon() in chunks, of one moment. Rows that are not uniform objects of scalars are lines. */
  exportToon (options?: Omit<ToToonOptions, 'maxTokens' | 'countTokens' | 'note'>): AsyncGenerator<string, void, undefined>
  /**
   * Several results as one TOON document, of one moment and within one budget: a field for each section, in the order given. Sections
   * of higher priority take what they need first.
   */
  context (sections: readonly ContextSection[], options?: Pick<ToToonOptions, 'maxTokens' | 'countTokens' | 'delimiter'>): string

  /**
   * Documents under the keys `<name>/<id>`, with queries and indexes. The same name gives the same object.
   *
   * @typeParam T - what the documents are
   */
  collection<T extends object = { [name: string]: JsonValue }> (name: string, options?: CollectionOptions): Collection<T>

  /** Serve the Redis protocol from this process, on a loopback address. */
  listen (options?: ListenOptions): Promise<Server>

  /** A transaction to be ended by its commit() or rollback(). */
  begin (options?: { isolation?: Isolation }): Transaction<V>
  /** Run fn as a transaction: committed when it has returned, rolled back if it throws, run again after a conflict. */
  transaction<T> (fn: (tx: Transaction<V>) => T | Promise<T>, options?: TransactionOptions): Promise<T>
  /** transaction() that waits for the disk; fn must not be async. */
  transactionSync<T> (fn: (tx: Transaction<V>) => T, options?: Pick<TransactionOptions, 'isolation' | 'retries'>): T
  /** Replace a value by what fn makes of it, with nobody in between; undefined deletes the key. The new value. */
  update (
    key: Key,
    fn: (old: DeepReadonly<V> | undefined) => V | undefined | Promise<V | undefined>,
    options?: Pick<TransactionOptions, 'retries'>
  ): Promise<DeepReadonly<V> | undefined>

  /** put() that waits for the disk; blocks the event loop. */
  putSync (key: Key, value: V, options: PutCondition): boolean
  putSync (key: Key, value: V, options?: RowPutOptions & { ifAbsent?: false }): void
  putSync (key: Key, value: V, options: PutOptions): boolean | void
  deleteSync (key: Key): boolean
  batchSync (ops: readonly BatchOperation<V>[]): void

  stats (): Stats
  /** Put everything that was written so far on the disk. */
  sync (): Promise<void>
  /** Write the index out, so that the next open has nothing to replay. */
  checkpoint (): Promise<void>
  /** Rewrite the log files so that they hold live rows only. TOON_EINVAL if that is under way already. */
  compact (options?: CompactOptions): Promise<void>
  /**
   * Finish what was called, release the store and emit 'close'. Transactions of async functions, and indexes that are being
   * made, end with TOON_ECLOSED.
   */
  close (): Promise<void>
  [Symbol.asyncDispose] (): Promise<void>
}

/** A store with a cache of hot rows in front of it. */
export class ToonCache<V = Value> extends ToonStore<V> {
  static open<V = Value> (location: string | URL, options?: OpenOptions): Promise<ToonCache<V>>
  static open<V = Value> (location: string | URL, capacity: number, options?: Omit<OpenOptions, 'capacity'>): Promise<ToonCache<V>>

  /** Rows that the cache keeps at most. */
  readonly capacity: number
}

/** Open a store with a cache. location: a path, a file: URL, or 'file://path?capacity=N' (relative paths too). */
export function open<V = Value> (location: string | URL, options?: OpenOptions): Promise<ToonCache<V>>

export type ErrorCode =
  | 'TOON_ENOTFOUND' | 'TOON_ECONFLICT' | 'TOON_ELOCKED' | 'TOON_ECLOSED' | 'TOON_EREADONLY' | 'TOON_EINVAL'
  | 'TOON_EKEYTOOBIG' | 'TOON_EVALUETOOBIG' | 'TOON_ETXNTOOBIG' | 'TOON_EDBFULL' | 'TOON_ESYNTAX' | 'TOON_ECORRUPT'
  | 'TOON_EFORMAT' | 'TOON_EIO' | 'TOON_ENOSPC' | 'TOON_ENOMEM' | 'TOON_ETIMEOUT' | 'TOON_EUNIQUE' | 'TOON_ESNAPSHOT'

/** An error of the store. Wrong arguments are a TypeError or RangeError with code 'TOON_EINVAL' instead. */
export class ToonError extends Error {
  constructor (code: ErrorCode, message: string, details?: object)
  readonly name: 'ToonError'
  code: ErrorCode
  /** negative number of the system error */
  errno?: number
  syscall?: string
  /** the file or directory concerned */
  path?: string
  /** byte offset in `path` */
  offset?: number
  /** 1-based */
  line?: number
  /** 1-based, in UTF-8 bytes */
  column?: number
  key?: Key | number
}

export interface EncodeOptions {
  /** between the values of an array; default ',' */
  delimiter?: ',' | '\t' | '|'
  /** spaces per level, 1 to 16; default 2 */
  indentSize?: number
  /** @deprecated the old name of indentSize */
  indent?: number
  /**
   * Called with the root ('' and []), then with every property (its name) and element (its index as a string). What it
   * returns takes the value's place and is gone into; undefined omits the value, or at the root leaves it as it is.
   */
  replacer?: (key: string, value: JsonValue, path: readonly (string | number)[]) => unknown
}

export interface DecodeOptions {
  /** refuse what the specification's strict mode refuses; default true */
  strict?: boolean
  /** spaces per level in strict mode, 1 to 16; default 2 */
  indentSize?: number
  /** @deprecated the old name of indentSize */
  indent?: number
}

/** A value as TOON text (spec v4). */
export function encode (value: unknown, options?: EncodeOptions): string

/** The value of a TOON text (spec v4). TOON_ESYNTAX with line and column. */
export function decode<T = JsonValue> (text: string, options?: DecodeOptions): T

/** The lines of encode(value, options), without line ends; large tables are never in memory as a whole. */
export function encodeLines (value: unknown, options?: EncodeOptions): Generator<string, void, undefined>

export type StreamEvent =
  | { type: 'startObject' }
  | { type: 'endObject' }
  | { type: 'startArray', length: number }
  | { type: 'endArray' }
  | { type: 'key', key: string }
  | { type: 'primitive', value: string | number | boolean | null }

/**
 * The events of a TOON text that comes in chunks (not lines, as the reference implementation has it), cut anywhere.
 * TOON_ESYNTAX with line and column in the whole text.
 */
export function decodeStream (
  chunks: Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>, options?: DecodeOptions
): AsyncGenerator<StreamEvent, void, undefined>
