import { open, type RootDatabase, type Transaction } from 'lmdb'
import {
  assert,
  CorruptError,
  codeOf,
  type Epoch,
  type KeyEpoch,
  type RecordSeq,
} from '../base/index.ts'
import { openBlob, sealBlob } from '../crypto/index.ts'
import type { Change } from './change.ts'

/** Virtual space one view may grow to; the file itself grows as needed. */
const MAP_BYTES = 256 * 1024 ** 3

/** View keys by key epoch, as crypto's VolumeKeys gives them. */
export interface ViewKeys {
  readonly newest: KeyEpoch
  get(epoch: KeyEpoch): { readonly view: Buffer }
}

/** Journal place up to which the view holds every change: the log goes on at `file`, `offset`. */
export interface AppliedHead {
  epoch: Epoch
  seq: RecordSeq
  chain: Buffer
  file: number
  offset: number
}

const HEAD_KEY = Buffer.from([0])

/**
 * The materialised view of one volume in LMDB. Several threads of one process may open it; one at a time applies.
 * Nothing here is synced: after a power cut the view is rebuilt from checkpoint and journal.
 */
export class View {
  readonly #db: RootDatabase<Buffer, Buffer>
  readonly #keys: ViewKeys

  /** @param directory made when missing */
  constructor(directory: string, keys: ViewKeys) {
    this.#keys = keys
    this.#db = open<Buffer, Buffer>({
      path: directory,
      encoding: 'binary',
      keyEncoding: 'binary',
      mapSize: MAP_BYTES,
      noSync: true,
      noMetaSync: true,
      cache: false,
      compression: false,
      maxReaders: 126,
    })
  }

  /** See what other threads have applied since. Cheap; to be called whenever the shared state says so. */
  refresh(): void {
    this.#db.resetReadTxn()
  }

  head(): AppliedHead | null {
    const value = this.#db.getBinary(HEAD_KEY)
    return value ? decodeHead(value) : null
  }

  /** Plain bytes under a key, a fresh Buffer; null when absent. @throws CorruptError when the seal is broken */
  get(key: Buffer): Buffer | null {
    const sealed = this.#db.getBinaryFast(key)
    return sealed ? this.#open(key, sealed) : null
  }

  /** Entries from `start` (inclusive) to `end` (exclusive), in key order. */
  *range(start: Buffer, end: Buffer): Generator<[key: Buffer, value: Buffer]> {
    for (const { key, value } of this.#db.getRange({ start, end, snapshot: false })) {
      yield [key, this.#open(key, value)]
    }
  }

  /** Keys alone, as `range`: no value is looked at. */
  *keys(start: Buffer, end: Buffer): Generator<Buffer> {
    for (const key of this.#db.getKeys({ start, end, snapshot: false })) yield key
  }

  /** As `range`, without the entries whose value does not open. */
  *readable(start: Buffer, end: Buffer): Generator<[key: Buffer, value: Buffer]> {
    for (const { key, value } of this.#db.getRange({ start, end, snapshot: false })) {
      const plain = this.#tryOpen(key, value)
      if (plain) yield [key, plain]
    }
  }

  /** The last entry at or before `key` that is not before `floor`; null when there is none. */
  floor(key: Buffer, floor: Buffer): [key: Buffer, value: Buffer] | null {
    for (const entry of this.backward(key, floor)) return entry
    return null
  }

  /** Entries at or before `start` and not before `floor`, the last one first. */
  *backward(start: Buffer, floor: Buffer): Generator<[key: Buffer, value: Buffer]> {
    for (const { key, value } of this.#db.getRange({ start, reverse: true, snapshot: false })) {
      if (Buffer.compare(key, floor) < 0) return
      yield [key, this.#open(key, value)]
    }
  }

  /**
   * Every entry of one moment, while others go on applying: what a checkpoint dumps.
   * `entries` must be run to its end or closed, or the old pages stay.
   */
  snapshot(): { head: AppliedHead; entries: Generator<[key: Buffer, value: Buffer]> } {
    const transaction = this.#db.useReadTransaction()
    const [head] = [...this.#db.getRange({ start: HEAD_KEY, limit: 1, transaction })]
    assert(head?.key.equals(HEAD_KEY) === true, 'a view that is dumped has a head')
    return { head: decodeHead(head.value), entries: this.#dump(transaction) }
  }

  /** As `snapshot`, but a value that does not open is null: what fsck walks. */
  audit(): { head: AppliedHead; entries: Generator<[key: Buffer, value: Buffer | null]> } {
    const transaction = this.#db.useReadTransaction()
    const [head] = [...this.#db.getRange({ start: HEAD_KEY, limit: 1, transaction })]
    assert(head?.key.equals(HEAD_KEY) === true, 'a view that is checked has a head')
    return { head: decodeHead(head.value), entries: this.#walk(transaction) }
  }

  *#walk(transaction: Transaction): Generator<[key: Buffer, value: Buffer | null]> {
    try {
      for (const { key, value } of this.#db.getRange({ transaction })) {
        if (key.length === 1 && key[0] === HEAD_KEY[0]) continue
        yield [key, this.#tryOpen(key, value)]
      }
    } finally {
      transaction.done()
    }
  }

  #tryOpen(key: Buffer, value: Buffer): Buffer | null {
    try {
      return this.#open(key, value)
    } catch (error) {
      if (error instanceof CorruptError || codeOf(error) === 'ENOKEY') return null
      throw error
    }
  }

  *#dump(transaction: Transaction): Generator<[key: Buffer, value: Buffer]> {
    try {
      for (const { key, value } of this.#db.getRange({ transaction })) {
        if (key.length > 1 || key[0] !== HEAD_KEY[0]) yield [key, this.#open(key, value)]
      }
    } finally {
      transaction.done()
    }
  }

  /** Puts and deletes of any number of records and the head they lead to, in one transaction. */
  apply(changes: Iterable<Change>, head: AppliedHead): void {
    this.#db.transactionSync(() => {
      for (const change of changes) {
        if (change.value) this.#db.putSync(change.key, this.#seal(change.key, change.value))
        else this.#db.removeSync(change.key)
      }
      this.#db.putSync(HEAD_KEY, encodeHead(head))
    })
    this.#db.resetReadTxn()
  }

  /** Entries of a checkpoint that is being loaded: no head yet, so that a crash leaves a view known to be incomplete. */
  fill(changes: Iterable<Change>): void {
    this.#db.transactionSync(() => {
      for (const { key, value } of changes) {
        if (value) this.#db.putSync(key, this.#seal(key, value))
      }
    })
    this.#db.resetReadTxn()
  }

  /** Forget everything. */
  clear(): void {
    this.#db.clearSync()
    this.#db.resetReadTxn()
  }

  /**
   * Seal values of older key epochs anew, among the next `limit` from key `after` on. Only in the thread that applies.
   * @returns where to go on, null at the end
   */
  reseal(after: Buffer, limit: number): Buffer | null {
    this.#db.resetReadTxn()
    const stale: Change[] = []
    let last: Buffer | null = null
    let seen = 0
    for (const { key, value } of this.#db.getRange({ start: after, limit })) {
      seen++
      last = key
      if (key.length === 1 && key[0] === 0) continue
      if (value.readUInt16LE(0) !== this.#keys.newest) {
        stale.push({ key, value: this.#open(key, value) })
      }
    }
    if (stale.length > 0) {
      this.#db.transactionSync(() => {
        for (const { key, value } of stale) {
          if (value) this.#db.putSync(key, this.#seal(key, value))
        }
      })
      this.#db.resetReadTxn()
    }
    return seen < limit || !last ? null : Buffer.concat([last, Buffer.of(0)])
  }

  async close(): Promise<void> {
    await this.#db.close()
  }

  #seal(key: Buffer, plain: Buffer): Buffer {
    const epoch = this.#keys.newest
    const sealed = sealBlob(this.#keys.get(epoch).view, plain, key)
    const out = Buffer.allocUnsafe(2 + sealed.length)
    out.writeUInt16LE(epoch, 0)
    sealed.copy(out, 2)
    return out
  }

  #open(key: Buffer, value: Buffer): Buffer {
    if (value.length < 2) throw new CorruptError('view value cut short')
    const keys = this.#keys.get(value.readUInt16LE(0) as KeyEpoch)
    return openBlob(keys.view, value.subarray(2), key)
  }
}

function encodeHead(head: AppliedHead): Buffer {
  const out = Buffer.allocUnsafe(48)
  out.writeDoubleLE(head.epoch, 0)
  out.writeDoubleLE(head.seq, 8)
  out.writeDoubleLE(head.file, 16)
  out.writeDoubleLE(head.offset, 24)
  head.chain.copy(out, 32, 0, 16)
  return out
}

function decodeHead(value: Buffer): AppliedHead {
  if (value.length !== 48) throw new CorruptError('view head', { bytes: value.length })
  return {
    epoch: value.readDoubleLE(0) as Epoch,
    seq: value.readDoubleLE(8) as RecordSeq,
    file: value.readDoubleLE(16),
    offset: value.readDoubleLE(24),
    chain: Buffer.from(value.subarray(32, 48)),
  }
}
