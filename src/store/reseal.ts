import {
  type ChunkId,
  CorruptError,
  codeOf,
  FsError,
  type KeyEpoch,
  limits,
  type Random,
  type RecordSeq,
} from '../base/index.ts'
import { scan } from '../journal/index.ts'
import { type ChunkInfo, decodeChunkInfo, keys } from '../meta/index.ts'
import type { Engine } from './engine.ts'
import { isNamed, quarantinedIds } from './fsck-chunks.ts'
import {
  extentsOf,
  type LiveRange,
  type RangesByChunk,
  rangesByBackPointer,
  rewriteRanges,
} from './live-ranges.ts'
import type { LocalVolume } from './local-volume.ts'
import { turn, type Work } from './work.ts'

export interface Resealed {
  /** Chunks rewritten, and plain bytes of them. */
  chunks: number
  bytes: number
  /** Chunks that files still name and whose file is not there: nothing of them is left to seal. */
  missing: number
  /** Files in quarantine that an old key still opens: weft deletes none of them. */
  quarantined: number
}

const VALUES_PER_TURN = 2000
const HEADERS_PER_TURN = 200
const RECORDS_PER_TURN = 500
/** Shared chunks whose extents are looked for in one pass over all extents; bounds memory. */
const SHARED_PER_PASS = 1024
const ROUNDS_MAX = 100

/**
 * Rewrites everything a volume has that is sealed with a key epoch below `keepFrom`: chunks, values of the view, journal
 * and checkpoint, on every copy, while the volume is in use. Begun again it goes on with what is left. When it returns nothing that weft
 * may read again needs the old keys, so that they can be dropped.
 * @throws FsError EAGAIN when a copy is away, EUCLEAN when a damaged chunk cannot be rewritten, ENOSPC without room for it, ECANCELED
 */
export async function resealVolume(
  engine: Engine,
  keepFrom: KeyEpoch,
  random: Random,
  work: Work,
): Promise<Resealed> {
  const { volume } = engine
  // What was on its way under the old key is in a record when this returns.
  await engine.settle()
  const done: Resealed = { chunks: 0, bytes: 0, missing: 0, quarantined: 0 }
  await new ChunkReseal(engine, keepFrom, random, work, done).run()
  work.progress(done.bytes, done.bytes, `${volume.name}: index`)
  for (let at: Buffer | null = Buffer.of(0); at; ) {
    at = volume.view.reseal(at, VALUES_PER_TURN)
    await turn(work)
  }
  await renewLog(engine, keepFrom, work)
  await engine.settle()
  const without = (await volume.replicas?.dropSealedBefore(keepFrom)) ?? 0
  if (without > 0) throw awayCopies(volume, without)
  done.quarantined = await dropOldFiles(engine, keepFrom, work)
  return done
}

function awayCopies({ name }: LocalVolume, count: number): FsError {
  return new FsError('EAGAIN', 'reseal', {
    message: `${count} of the copies of volume ${name} ${count === 1 ? 'does' : 'do'} not answer or ${count === 1 ? 'is' : 'are'} not in sync, and may hold what the old keys sealed; the old keys stay`,
    next: `weft volume inspect ${name} shows which; when all are in sync, start it again: it goes on where it stopped`,
  })
}

class ChunkReseal {
  readonly #engine: Engine
  readonly #keepFrom: KeyEpoch
  readonly #random: Random
  readonly #work: Work
  readonly #done: Resealed
  readonly #missing = new Set<ChunkId>()
  readonly #damaged = new Set<ChunkId>()
  #total = 0

  constructor(engine: Engine, keepFrom: KeyEpoch, random: Random, work: Work, done: Resealed) {
    this.#engine = engine
    this.#keepFrom = keepFrom
    this.#random = random
    this.#work = work
    this.#done = done
  }

  async run(): Promise<void> {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const old = await this.#oldChunks()
      if (old.size === 0) break
      if (round === 0) for (const info of old.values()) this.#total += info.liveBytes
      const shared = await this.#byBackPointers(old)
      await this.#byExtents(shared)
    }
    this.#done.missing = this.#missing.size
    if (this.#damaged.size > 0) throw this.#refuse()
    if ((await this.#oldChunks()).size > 0) {
      throw new FsError('EAGAIN', 'reseal', {
        message: 'files changed faster than they could be rewritten; the old keys stay',
        next: 'start it again: it goes on where it stopped',
      })
    }
  }

  #refuse(): FsError {
    const { name } = this.#engine.volume
    const [first] = this.#damaged
    return new FsError('EUCLEAN', 'reseal', {
      message: `${this.#damaged.size} damaged chunks of volume ${name} cannot be rewritten, ${first} is one of them; the old keys stay`,
      next: `weft fsck ${name} --repair, then weft key rotate ${name} --reseal goes on`,
    })
  }

  /** Chunks with an old key that can be rewritten. */
  async #oldChunks(): Promise<Map<ChunkId, ChunkInfo>> {
    const { view } = this.#engine.volume
    const old = new Map<ChunkId, ChunkInfo>()
    const end = Buffer.of(keys.KIND.chunk + 1)
    for (const [key, value] of view.range(Buffer.of(keys.KIND.chunk), end)) {
      const info = decodeChunkInfo(value)
      const id = keys.chunkOfKey(key)
      if (info.keyEpoch >= this.#keepFrom) continue
      if (!this.#missing.has(id) && !this.#damaged.has(id)) old.set(id, info)
    }
    await turn(this.#work)
    return old
  }

  /** Rewrites the chunks whose back-pointers name all that uses them. @returns the others, whose bytes files share */
  async #byBackPointers(old: ReadonlyMap<ChunkId, ChunkInfo>): Promise<ChunkId[]> {
    const { volume } = this.#engine
    const shared: ChunkId[] = []
    let group: RangesByChunk = new Map()
    let bytes = 0
    for (const id of old.keys()) {
      const value = volume.view.get(keys.chunkKey(id))
      if (!value) continue
      const { drive, liveBytes } = decodeChunkInfo(value)
      let ranges: LiveRange[]
      try {
        ranges = rangesByBackPointer(volume, id, drive)
      } catch (error) {
        this.#failed(id, error)
        continue
      }
      if (ranges.reduce((sum, { was }) => sum + was.length, 0) !== liveBytes) {
        shared.push(id)
        continue
      }
      if (bytes + liveBytes > limits.chunkBytesMax) {
        await this.#rewrite(group)
        group = new Map()
        bytes = 0
      }
      group.set(id, ranges)
      bytes += liveBytes
    }
    await this.#rewrite(group)
    return shared
  }

  async #byExtents(shared: readonly ChunkId[]): Promise<void> {
    for (let at = 0; at < shared.length; at += SHARED_PER_PASS) {
      const ids = new Set(shared.slice(at, at + SHARED_PER_PASS))
      for (const [id, ranges] of await extentsOf(this.#engine.volume, ids, this.#work)) {
        await this.#rewrite(new Map([[id, ranges]]))
      }
    }
  }

  async #rewrite(group: RangesByChunk): Promise<void> {
    if (group.size === 0) return
    const engine = this.#engine
    try {
      await rewriteRanges(engine.volume, this.#random, (make) => engine.commit(make), group)
    } catch (error) {
      const id = error instanceof CorruptError ? error.subject.chunk : null
      if (typeof id !== 'string') throw error
      // The others of the group come again in the next round.
      this.#failed(id as ChunkId, error)
      return
    }
    for (const ranges of group.values()) {
      this.#done.chunks++
      for (const { was } of ranges) this.#done.bytes += was.length
    }
    const { bytes } = this.#done
    const { name } = engine.volume
    this.#work.progress(bytes, Math.max(this.#total, bytes), `${name}: chunks`)
    await turn(this.#work)
  }

  #failed(id: ChunkId, error: unknown): void {
    if (!(error instanceof CorruptError) && codeOf(error) !== 'ENOKEY') throw error
    const missing = error instanceof CorruptError && error.subject.missing === true
    if (missing) this.#missing.add(id)
    else this.#damaged.add(id)
  }
}

/** A new journal file and a checkpoint alone: everything before goes, and with it what the old keys sealed there. */
async function renewLog(engine: Engine, keepFrom: KeyEpoch, work: Work): Promise<void> {
  const { volume, checkpoints } = engine
  work.progress(0, null, `${volume.name}: journal and checkpoint`)
  engine.locked(() => volume.shared.setHead(volume.journal.rollOver(volume.shared.head)))
  engine.commit(() => ({}))
  // At the first one each further copy begins a file of its journal, and at the second all in front of that goes.
  if (volume.replicas) await checkpoints.take((make) => engine.commit(make))
  const without = await checkpoints.take((make) => engine.commit(make), { alone: true })
  if (without > 0) throw awayCopies(volume, without)
  const { journalDirectory, id } = volume.opening
  const upTo = volume.shared.seq as RecordSeq
  const release = await checkpoints.hold()
  try {
    let count = 0
    for (const { header } of scan(volume.disk, journalDirectory, id, null, null, { upTo })) {
      if (header.keyEpoch < keepFrom) {
        throw new FsError('EAGAIN', 'reseal', {
          message: `record ${header.seq} is still sealed with key epoch ${header.keyEpoch}; the old keys stay`,
          next: 'start it again',
        })
      }
      if (++count % RECORDS_PER_TURN === 0) await turn(work)
    }
  } finally {
    release()
  }
}

/**
 * Chunk files under an old key that nothing names any more: they could not be read by anybody once that key is gone.
 * @returns files in quarantine, which stay
 */
async function dropOldFiles(engine: Engine, keepFrom: KeyEpoch, work: Work): Promise<number> {
  const { volume, checkpoints } = engine
  const kept = new Set(checkpoints.chunks().map(({ id }) => id))
  let count = 0
  for (const { id: drive, state } of volume.drives) {
    if (state === 'gone') continue
    for (const id of volume.chunks.list(drive)) {
      if (++count % HEADERS_PER_TURN === 0) await turn(work)
      if (kept.has(id)) continue
      try {
        const header = volume.chunks.statSync(id, drive)
        const old = header.volume === volume.id && header.keyEpoch < keepFrom
        if (old && !isNamed(volume, id)) await volume.chunks.delete(id, drive)
      } catch (error) {
        // A header that cannot be read says nothing of whose it is; one that is gone needs nothing.
        if (!(error instanceof CorruptError) && codeOf(error) !== 'ENOENT') throw error
      }
    }
  }
  return quarantinedIds(volume).size
}
