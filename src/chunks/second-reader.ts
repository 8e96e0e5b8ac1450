import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { assert, type ChunkId, type DriveId, type VolumeId } from '../base/index.ts'
import { openDrive } from '../drives/index.ts'
import { ChunkStore } from './chunk-store.ts'

/**
 * Another thread that unseals a part of a chunk into the same buffer while the mount's own thread unseals the rest. It knows no
 * volume: each job brings what it needs, and the key is gone when the job is done. What it cannot read it leaves to
 * the mount's thread, which finds out why.
 */

export interface SecondRead {
  /** Of the drive. */
  readonly directory: string
  readonly drive: DriveId
  readonly volume: VolumeId
  readonly chunk: ChunkId
  /** Chunk sub-key of the chunk's key epoch. */
  readonly key: Buffer
  /** Plain bytes of the chunk, and where they go in the shared buffer. */
  readonly plainAt: number
  readonly length: number
  readonly outAt: number
}

/** Bytes below which a chunk's part is not worth waking a thread for: that costs as much as unsealing 32 KiB (measured). */
export const SECOND_READ_BYTES_MIN = 256 * 1024

const KEY_BYTES = 32
const TEXT_BYTES_MAX = 8192
/** Int32: what is going on; then three Float64 of the job, the length of its text, the key, the text. */
const STATE = 0
const NUMBERS_AT = 8
const TEXT_LENGTH_AT = NUMBERS_AT + 3 * 8
const KEY_AT = TEXT_LENGTH_AT + 8
const TEXT_AT = KEY_AT + KEY_BYTES
const JOB_BYTES = TEXT_AT + TEXT_BYTES_MAX
const state = { starting: 0, idle: 1, wanted: 2, done: 3, refused: 4, closing: 5 } as const

interface Start {
  readonly job: SharedArrayBuffer
  readonly out: SharedArrayBuffer
}

export class SecondReader {
  readonly #out: SharedArrayBuffer
  readonly #job = new SharedArrayBuffer(JOB_BYTES)
  readonly #state = new Int32Array(this.#job, 0, 1)
  readonly #bytes = Buffer.from(this.#job)
  #started = false

  /** @param out where all reads go; its thread starts with the first one that is large enough */
  constructor(out: SharedArrayBuffer) {
    this.#out = out
  }

  /** Whether a job for this buffer would be taken now. */
  ready(out: Buffer): boolean {
    if (out.buffer !== this.#out) return false
    if (!this.#started) {
      this.#started = true
      const workerData: Start = { job: this.#job, out: this.#out }
      // It never ends by itself, and ends with this thread.
      new Worker(new URL('./second-reader.js', import.meta.url), { workerData }).unref()
    }
    return Atomics.load(this.#state, STATE) === state.idle
  }

  /** Only when ready; `finish` must follow. */
  begin(read: SecondRead): void {
    const { directory, drive, volume, chunk } = read
    const text = JSON.stringify({ directory, drive, volume, chunk })
    const length = this.#bytes.write(text, TEXT_AT)
    assert(length === Buffer.byteLength(text), 'a path is shorter than a job')
    assert(read.key.length === KEY_BYTES, 'a chunk sub-key has 32 bytes')
    this.#bytes.writeDoubleLE(read.plainAt, NUMBERS_AT)
    this.#bytes.writeDoubleLE(read.length, NUMBERS_AT + 8)
    this.#bytes.writeDoubleLE(read.outAt, NUMBERS_AT + 16)
    this.#bytes.writeUInt32LE(length, TEXT_LENGTH_AT)
    read.key.copy(this.#bytes, KEY_AT)
    Atomics.store(this.#state, STATE, state.wanted)
    Atomics.notify(this.#state, STATE)
  }

  /** Waits for the job. @returns false when it has to be done again, and nothing is said of the bytes */
  finish(): boolean {
    Atomics.wait(this.#state, STATE, state.wanted)
    const read = Atomics.load(this.#state, STATE) === state.done
    this.#bytes.fill(0, KEY_AT, TEXT_AT)
    Atomics.store(this.#state, STATE, state.idle)
    return read
  }

  /** No descriptor of its thread keeps a disk from being unmounted when this returns. Not between `begin` and `finish`. */
  letGo(): void {
    // One that is starting has none.
    if (!this.#started || Atomics.load(this.#state, STATE) !== state.idle) return
    Atomics.store(this.#state, STATE, state.closing)
    Atomics.notify(this.#state, STATE)
    Atomics.wait(this.#state, STATE, state.closing)
  }
}

/** The other thread: blocks until there is a job, for good. */
function serve({ job, out }: Start): void {
  const cell = new Int32Array(job, 0, 1)
  const bytes = Buffer.from(job)
  const into = Buffer.from(out)
  const stores = new Map<string, ChunkStore>()
  Atomics.store(cell, STATE, state.idle)
  for (;;) {
    let seen = Atomics.load(cell, STATE)
    while (seen !== state.wanted && seen !== state.closing) {
      Atomics.wait(cell, STATE, seen)
      seen = Atomics.load(cell, STATE)
    }
    let next: number = state.idle
    if (seen === state.closing) closeAll(stores)
    else next = tryRead(bytes, into, stores) ? state.done : state.refused
    Atomics.store(cell, STATE, next)
    Atomics.notify(cell, STATE)
  }
}

function closeAll(stores: Map<string, ChunkStore>): void {
  for (const store of stores.values()) store.close()
  stores.clear()
}

function tryRead(bytes: Buffer, into: Buffer, stores: Map<string, ChunkStore>): boolean {
  try {
    const textEnd = TEXT_AT + bytes.readUInt32LE(TEXT_LENGTH_AT)
    const text = bytes.toString('utf8', TEXT_AT, textEnd)
    const { directory, drive, volume, chunk } = JSON.parse(text) as SecondRead
    const key = bytes.subarray(KEY_AT, TEXT_AT)
    const plainAt = bytes.readDoubleLE(NUMBERS_AT)
    const length = bytes.readDoubleLE(NUMBERS_AT + 8)
    const outAt = bytes.readDoubleLE(NUMBERS_AT + 16)
    let store = stores.get(directory)
    if (!store) {
      store = new ChunkStore([openDrive(directory)], { openMost: OPEN_MOST })
      stores.set(directory, store)
    }
    store.readSync(chunk, drive, { volume, keyOf: () => key }, plainAt, length, into, outAt)
    store.wipe()
    return true
  } catch {
    // The mount's thread reads it again, and says what is wrong.
    closeAll(stores)
    return false
  }
}

const OPEN_MOST = 8

if (!isMainThread && isStart(workerData)) serve(workerData)

/** Whether this thread was started as a second reader; others load this file for the class alone. */
function isStart(data: unknown): data is Start {
  return (
    typeof data === 'object' &&
    data !== null &&
    'job' in data &&
    data.job instanceof SharedArrayBuffer &&
    data.job.byteLength === JOB_BYTES
  )
}
