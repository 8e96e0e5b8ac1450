import {
  type ChunkId,
  CorruptError,
  type DriveId,
  type Ino,
  limits,
  ProtocolError,
  ROOT_INO,
} from '../base/index.ts'
import { nameHash } from '../crypto/index.ts'
import {
  decodeChunkInfo,
  decodeDirents,
  decodeExtent,
  decodeInode,
  decodeTotals,
  decodeXattrs,
  type Inode,
  keys,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  type Totals,
} from '../meta/index.ts'
import type { LocalVolume } from './local-volume.ts'
import { turn, type Work } from './work.ts'

/**
 * What can be wrong in the index of a volume. A number that is wrong is told as the difference to what it should be:
 * ordinary changes keep that difference, so that it can be mended while the volume is in use.
 */
export type IndexProblem =
  | { kind: 'links'; ino: Ino; recorded: number; delta: number; directory: boolean }
  | { kind: 'entries'; ino: Ino; recorded: number; delta: number }
  | { kind: 'bytes'; ino: Ino; recorded: number; delta: number }
  | { kind: 'parent'; ino: Ino; recorded: Ino; found: Ino }
  | { kind: 'type'; ino: Ino }
  | { kind: 'mode'; ino: Ino; mode: number }
  /** A name, and no inode. */
  | { kind: 'dangling'; ino: Ino; parent: Ino }
  /** An inode, and no name. */
  | { kind: 'nameless'; ino: Ino; directory: boolean; subdirectories: number }
  /** Directory entries, extents or attributes of an inode that is not there. */
  | {
      kind: 'lost-inode'
      ino: Ino
      entries: number
      subdirectories: number
      bytes: number
      end: number
    }
  | { kind: 'stray-xattrs'; ino: Ino }
  | { kind: 'file-with-entries'; ino: Ino }
  | { kind: 'several-names'; ino: Ino; names: number }
  | { kind: 'loop'; ino: Ino }
  | { kind: 'misplaced-name'; ino: Ino; parent: Ino; key: Buffer; name: Buffer }
  | { kind: 'overlap'; ino: Ino; offset: number; nextOffset: number }
  | { kind: 'beyond-chunk'; ino: Ino; offset: number; chunk: ChunkId }
  | { kind: 'unknown-chunk'; ino: Ino; chunk: ChunkId; liveBytes: number; plainBytes: number }
  | { kind: 'live-bytes'; chunk: ChunkId; recorded: number; delta: number }
  | { kind: 'packable'; ino: Ino; offset: number; missing: boolean }
  | { kind: 'orphan'; ino: Ino; named: boolean }
  | { kind: 'totals'; bytes: number; inodes: number; inlineBytes: number }
  | { kind: 'reserved'; highest: Ino; recorded: number }

export interface ChunkSeen {
  drive: DriveId
  keyEpoch: number
  plainBytes: number
  storedBytes: number
  liveBytes: number
  counted: number
}

export interface IndexCheck {
  seq: number
  inodes: number
  entries: number
  /** Keys whose value does not open, or is not what its key says. While there are any, nothing else is judged. */
  bad: { key: Buffer; why: 'seal' | 'form' }[]
  problems: IndexProblem[]
  chunks: Map<ChunkId, ChunkSeen>
  /** Nameless inodes that a kernel may still use. */
  orphans: number
  orphanBytes: number
  /** Problems beyond PROBLEMS_MAX. */
  unlisted: number
}

const ENTRIES_PER_TURN = 500
/** Problems above this are counted, not listed: one cause makes many. */
export const PROBLEMS_MAX = 20_000

const IS_DIRECTORY = S_IFDIR >>> 12
const TYPES = new Set([S_IFREG, S_IFDIR, S_IFLNK, S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK])

/** What the entries of other kinds say of each inode, by row; a million of them take some 100 MiB. */
class InodeRows {
  readonly #rowOf = new Map<Ino, number>()
  #columns = InodeRows.#make(1024)
  #bits = new Uint8Array(1024)

  static readonly LINKS = 0
  static readonly ENTRIES = 1
  static readonly SUBDIRECTORIES = 2
  static readonly BYTES = 3
  static readonly END = 4
  /** Directory that names it. */
  static readonly PARENT = 5
  /** Parent that its own value names, for directories. */
  static readonly OWN_PARENT = 6
  static readonly COLUMNS = 7

  static readonly SEEN = 0x80
  static readonly DIRECTORY = 0x40
  static readonly XATTRS = 0x20
  static readonly REACHED = 0x10

  static #make(rows: number): Float64Array[] {
    return Array.from({ length: InodeRows.COLUMNS }, () => new Float64Array(rows))
  }

  row(ino: Ino): number {
    const known = this.#rowOf.get(ino)
    if (known !== undefined) return known
    const row = this.#rowOf.size
    this.#rowOf.set(ino, row)
    if (row >= this.#bits.length) this.#grow()
    return row
  }

  known(ino: Ino): number {
    return this.#rowOf.get(ino) ?? -1
  }

  get(row: number, column: number): number {
    return (this.#columns[column] as Float64Array)[row] as number
  }
  set(row: number, column: number, value: number): void {
    ;(this.#columns[column] as Float64Array)[row] = value
  }
  add(row: number, column: number, value: number): void {
    ;(this.#columns[column] as Float64Array)[row] = this.get(row, column) + value
  }

  has(row: number, bit: number): boolean {
    return ((this.#bits[row] as number) & bit) !== 0
  }
  mark(row: number, bit: number): void {
    this.#bits[row] = (this.#bits[row] as number) | bit
  }
  /** The type that its names say, 0 when nothing was said. */
  type(row: number): number {
    return (this.#bits[row] as number) & 0x0f
  }

  inos(): IterableIterator<[Ino, number]> {
    return this.#rowOf.entries()
  }

  #grow(): void {
    const rows = this.#bits.length * 2
    const columns = InodeRows.#make(rows)
    for (const [index, column] of columns.entries()) {
      column.set(this.#columns[index] as Float64Array)
    }
    this.#columns = columns
    const bits = new Uint8Array(rows)
    bits.set(this.#bits)
    this.#bits = bits
  }
}

const { LINKS, ENTRIES, SUBDIRECTORIES, BYTES, END, PARENT, OWN_PARENT } = InodeRows
const { SEEN, DIRECTORY, XATTRS, REACHED } = InodeRows

/**
 * Walks one moment of a volume's view, whatever others do meanwhile: every value opens and decodes, and all of them
 * agree. Kinds come in the order of their letters: chunks, entries, extents, inodes, orphans, packable, totals, xattrs.
 */
export async function checkIndex(volume: LocalVolume, work: Work): Promise<IndexCheck> {
  return await new IndexWalk(volume).run(work)
}

class IndexWalk {
  readonly #volume: LocalVolume
  readonly #rows = new InodeRows()
  readonly #result: IndexCheck
  readonly #hash = Buffer.allocUnsafe(8)
  /** Inode and offset of each inline extent, in order: packable keys must be the same. */
  readonly #inline: number[] = []
  #inlineAt = 0
  #inlineBytes = 0
  #bytes = 0
  #highest = 0
  #lastIno = 0
  #lastOffset = 0
  #lastEnd = 0
  #totals: Totals | null = null
  readonly #nameless = new Map<Ino, Inode>()
  readonly #unknown = new Map<ChunkId, { ino: Ino; liveBytes: number; plainBytes: number }>()

  constructor(volume: LocalVolume) {
    this.#volume = volume
    this.#result = {
      seq: 0,
      inodes: 0,
      entries: 0,
      bad: [],
      problems: [],
      chunks: new Map(),
      orphans: 0,
      orphanBytes: 0,
      unlisted: 0,
    }
  }

  async run(work: Work): Promise<IndexCheck> {
    const result = this.#result
    const { head, entries } = this.#volume.view.audit()
    result.seq = head.seq
    try {
      for (const [key, value] of entries) {
        result.entries++
        if (!value) result.bad.push({ key: Buffer.from(key), why: 'seal' })
        else this.#take(key, value)
        if (result.entries % ENTRIES_PER_TURN === 0) await turn(work)
      }
    } finally {
      entries.return(undefined)
    }
    if (result.bad.length > 0) return result
    this.#judge()
    return result
  }

  #take(key: Buffer, value: Buffer): void {
    try {
      this.#see(key, value)
    } catch (error) {
      const form =
        error instanceof CorruptError ||
        error instanceof ProtocolError ||
        error instanceof RangeError
      if (!form) throw error
      this.#result.bad.push({ key: Buffer.from(key), why: 'form' })
    }
  }

  #see(key: Buffer, value: Buffer): void {
    const { KIND } = keys
    switch (key[0] as number) {
      case KIND.chunk: {
        const { drive, keyEpoch, plainBytes, storedBytes, liveBytes } = decodeChunkInfo(value)
        const seen = { drive, keyEpoch, plainBytes, storedBytes, liveBytes, counted: 0 }
        this.#result.chunks.set(keys.chunkOfKey(key), seen)
        return
      }
      case KIND.dirent:
        this.#bucket(key, value)
        return
      case KIND.extent:
        this.#extent(keys.inoOfKey(key), keys.offsetOfKey(key), value)
        return
      case KIND.inode:
        this.#inode(keys.inoOfKey(key), decodeInode(value))
        return
      case KIND.orphan:
        this.#orphan(keys.inoOfKey(key))
        return
      case KIND.packable:
        this.#packable(keys.inoOfKey(key), keys.offsetOfKey(key))
        return
      case KIND.totals:
        this.#totals = decodeTotals(value)
        return
      case KIND.xattr:
        decodeXattrs(value)
        this.#rows.mark(this.#rows.row(keys.inoOfKey(key)), XATTRS)
        return
    }
  }

  #bucket(key: Buffer, value: Buffer): void {
    const rows = this.#rows
    const parent = keys.inoOfKey(key)
    const parentRow = rows.row(parent)
    for (const { ino, type, name } of decodeDirents(value)) {
      const row = rows.row(ino)
      rows.add(parentRow, ENTRIES, 1)
      if (type === IS_DIRECTORY) rows.add(parentRow, SUBDIRECTORIES, 1)
      rows.add(row, LINKS, 1)
      rows.set(row, PARENT, parent)
      const said = rows.type(row)
      if (said !== 0 && said !== type) this.#found({ kind: 'type', ino })
      rows.mark(row, type & 0x0f)
      if (this.#hashOf(name).compare(key, 9, 17) !== 0) {
        const place = { ino, parent, key: Buffer.from(key), name: Buffer.from(name) }
        this.#found({ kind: 'misplaced-name', ...place })
      }
    }
  }

  #hashOf(name: Buffer): Buffer {
    return direntHash(this.#volume.keys.nameKey, name, this.#hash)
  }

  #extent(ino: Ino, offset: number, value: Buffer): void {
    const rows = this.#rows
    const extent = decodeExtent(value)
    const end = offset + extent.length
    if (extent.length <= 0 || end > limits.fileBytesMax) throw new RangeError('extent of no length')
    if (ino === this.#lastIno && offset < this.#lastEnd) {
      this.#found({ kind: 'overlap', ino, offset: this.#lastOffset, nextOffset: offset })
    }
    this.#lastEnd = ino === this.#lastIno ? Math.max(this.#lastEnd, end) : end
    this.#lastIno = ino
    this.#lastOffset = offset
    const row = rows.row(ino)
    rows.add(row, BYTES, extent.length)
    rows.set(row, END, Math.max(rows.get(row, END), end))
    this.#bytes += extent.length
    if (extent.kind === 'inline') {
      this.#inline.push(ino, offset)
      this.#inlineBytes += extent.length
    }
    if (extent.kind !== 'chunk') return
    const { chunk, at, length } = extent
    const seen = this.#result.chunks.get(chunk)
    if (seen) {
      seen.counted += length
      if (at + length > seen.plainBytes) this.#found({ kind: 'beyond-chunk', ino, offset, chunk })
      return
    }
    const known = this.#unknown.get(chunk) ?? { ino, liveBytes: 0, plainBytes: 0 }
    known.liveBytes += length
    known.plainBytes = Math.max(known.plainBytes, at + length)
    this.#unknown.set(chunk, known)
  }

  #inode(ino: Ino, inode: Inode): void {
    const rows = this.#rows
    const row = rows.row(ino)
    this.#result.inodes++
    this.#highest = Math.max(this.#highest, ino)
    rows.mark(row, SEEN)
    const type = inode.mode & S_IFMT
    if (!TYPES.has(type)) this.#found({ kind: 'mode', ino, mode: inode.mode })
    const said = rows.type(row)
    if (said !== 0 && said !== type >>> 12) this.#found({ kind: 'type', ino })
    const bytes = rows.get(row, BYTES)
    if (bytes !== inode.bytes) {
      const delta = bytes - inode.bytes
      this.#found({ kind: 'bytes', ino, recorded: inode.bytes, delta })
    }
    const links = rows.get(row, LINKS)
    if (type === S_IFDIR) this.#directory(ino, row, inode, links)
    else if (rows.get(row, ENTRIES) > 0) this.#found({ kind: 'file-with-entries', ino })
    else if (links > 0 && links !== inode.nlink) {
      const delta = links - inode.nlink
      this.#found({ kind: 'links', ino, recorded: inode.nlink, delta, directory: false })
    }
    if (links === 0 && ino !== ROOT_INO) this.#nameless.set(ino, inode)
  }

  #directory(ino: Ino, row: number, inode: Inode, links: number): void {
    const rows = this.#rows
    rows.mark(row, DIRECTORY)
    rows.set(row, OWN_PARENT, inode.parent)
    const entries = rows.get(row, ENTRIES)
    if (entries !== inode.size) {
      this.#found({ kind: 'entries', ino, recorded: inode.size, delta: entries - inode.size })
    }
    if (links === 0 && ino !== ROOT_INO) return
    const wanted = 2 + rows.get(row, SUBDIRECTORIES)
    if (wanted !== inode.nlink) {
      const delta = wanted - inode.nlink
      this.#found({ kind: 'links', ino, recorded: inode.nlink, delta, directory: true })
    }
    if (links > 1) this.#found({ kind: 'several-names', ino, names: links })
    const found = (ino === ROOT_INO ? ROOT_INO : rows.get(row, PARENT)) as Ino
    if (found !== inode.parent && links <= 1) {
      this.#found({ kind: 'parent', ino, recorded: inode.parent, found })
    }
  }

  #orphan(ino: Ino): void {
    const inode = this.#nameless.get(ino)
    if (inode) {
      // Kept as it should be: nameless, and noted so that its space comes back.
      this.#nameless.delete(ino)
      this.#result.orphans++
      this.#result.orphanBytes += inode.bytes
      return
    }
    const row = this.#rows.known(ino)
    this.#found({ kind: 'orphan', ino, named: row >= 0 && this.#rows.has(row, SEEN) })
  }

  #packable(ino: Ino, offset: number): void {
    const inline = this.#inline
    for (; this.#inlineAt < inline.length; this.#inlineAt += 2) {
      const nextIno = inline[this.#inlineAt] as Ino
      const nextOffset = inline[this.#inlineAt + 1] as number
      if (nextIno > ino || (nextIno === ino && nextOffset > offset)) break
      if (nextIno === ino && nextOffset === offset) {
        this.#inlineAt += 2
        return
      }
      this.#found({ kind: 'packable', ino: nextIno, offset: nextOffset, missing: true })
    }
    this.#found({ kind: 'packable', ino, offset, missing: false })
  }

  #judge(): void {
    const rows = this.#rows
    for (; this.#inlineAt < this.#inline.length; this.#inlineAt += 2) {
      const ino = this.#inline[this.#inlineAt] as Ino
      const offset = this.#inline[this.#inlineAt + 1] as number
      this.#found({ kind: 'packable', ino, offset, missing: true })
    }
    for (const [ino, inode] of this.#nameless) {
      const directory = (inode.mode & S_IFMT) === S_IFDIR
      const subdirectories = rows.get(rows.row(ino), SUBDIRECTORIES)
      this.#found({ kind: 'nameless', ino, directory, subdirectories })
    }
    rows.row(ROOT_INO)
    for (const [ino, row] of rows.inos()) {
      if (!rows.has(row, SEEN)) this.#missing(ino, row)
    }
    this.#findLoops()
    for (const [chunk, { counted, liveBytes }] of this.#result.chunks) {
      if (counted === liveBytes) continue
      this.#found({ kind: 'live-bytes', chunk, recorded: liveBytes, delta: counted - liveBytes })
    }
    for (const [chunk, known] of this.#unknown) {
      this.#found({ kind: 'unknown-chunk', chunk, ...known })
    }
    this.#judgeTotals()
  }

  #missing(ino: Ino, row: number): void {
    const rows = this.#rows
    const entries = rows.get(row, ENTRIES)
    const bytes = rows.get(row, BYTES)
    if (entries > 0 || bytes > 0 || ino === ROOT_INO) {
      const subdirectories = rows.get(row, SUBDIRECTORIES)
      const end = rows.get(row, END)
      this.#found({ kind: 'lost-inode', ino, entries, subdirectories, bytes, end })
    } else if (rows.get(row, LINKS) > 0) {
      this.#found({ kind: 'dangling', ino, parent: rows.get(row, PARENT) as Ino })
    } else if (rows.has(row, XATTRS)) {
      this.#found({ kind: 'stray-xattrs', ino })
    }
  }

  /** Directories that have a name and cannot be reached from the root: their parents go in a circle. */
  #findLoops(): void {
    const rows = this.#rows
    const root = rows.known(ROOT_INO)
    if (root >= 0) rows.mark(root, REACHED)
    for (const [ino, start] of rows.inos()) {
      if (!rows.has(start, DIRECTORY) || rows.has(start, REACHED)) continue
      const path: number[] = []
      const onPath = new Set<number>()
      let row = start
      while (row >= 0 && !rows.has(row, REACHED) && !onPath.has(row)) {
        path.push(row)
        onPath.add(row)
        // What has no name was told already; what is below it is reached once it is mended.
        if (rows.get(row, LINKS) === 0) break
        row = rows.known(rows.get(row, PARENT) as Ino)
      }
      if (row >= 0 && onPath.has(row) && rows.get(row, LINKS) > 0) {
        this.#found({ kind: 'loop', ino })
      }
      for (const one of path) rows.mark(one, REACHED)
    }
  }

  #judgeTotals(): void {
    const totals = this.#totals
    const { inodes } = this.#result
    const wanted = { bytes: this.#bytes, inodes, inlineBytes: this.#inlineBytes }
    const bytes = wanted.bytes - (totals?.bytes ?? 0)
    const inodesDelta = wanted.inodes - (totals?.inodes ?? 0)
    const inlineBytes = wanted.inlineBytes - (totals?.inlineBytes ?? 0)
    if (bytes !== 0 || inodesDelta !== 0 || inlineBytes !== 0) {
      this.#found({ kind: 'totals', bytes, inodes: inodesDelta, inlineBytes })
    }
    const recorded = totals?.inoReserved ?? 0
    if (this.#highest >= recorded) {
      this.#found({ kind: 'reserved', highest: this.#highest as Ino, recorded })
    }
  }

  #found(problem: IndexProblem): void {
    if (this.#result.problems.length < PROBLEMS_MAX) this.#result.problems.push(problem)
    else this.#result.unlisted++
  }
}

/** The 8 bytes that stand for a name in keys: as VolumeFs.hash. */
export function direntHash(nameKey: Buffer, name: Buffer, out = Buffer.allocUnsafe(8)): Buffer {
  nameHash(nameKey, name, out, 0)
  out[0] = ((out[0] as number) & 0x3f) | 0x40
  return out
}
