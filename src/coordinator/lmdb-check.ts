import { CorruptError } from '../base/index.ts'

/**
 * Bytes of an LMDB data file as the pinned lmdb package (3.5.6, data version 2) writes them, all little endian.
 * Source: node_modules/lmdb/dependencies/lmdb/libraries/liblmdb/mdb.c, structs MDB_page_header, MDB_meta, MDB_db,
 * MDB_node, MDB_ovpage.
 */
const HEADER_BYTES = 24 // u64 page number, u64 transaction, u16 pad, u16 flags, u16 lower and u16 upper (or u32 pages)
const MAGIC = 0xbeefc0de
const DATA_VERSION = 2
const META = {
  magic: 24,
  version: 28,
  pageBytes: 48,
  freeTree: 48,
  mainTree: 96,
  lastPage: 144,
  txn: 152,
  end: 168,
}
const TREE = { depth: 6, root: 40, end: 48 }
const NODE_HEADER_BYTES = 8 // u16 low, u16 high, u16 flags, u16 key bytes
const EMPTY_ROOT = 0xffff_ffff_ffff_ffffn
const DEPTH_MAX = 32 // CURSOR_STACK of mdb.c
const P_BRANCH = 0x01
const P_LEAF = 0x02
const P_OVERFLOW = 0x04
const P_META = 0x08
const F_BIGDATA = 0x01
const F_SUBDATA = 0x02

/** What the check reads of a file: a Buffer of all of it, or pages on demand. */
export interface LmdbBytes {
  readonly length: number
  readUInt16LE(at: number): number
  readUInt32LE(at: number): number
  readBigUInt64LE(at: number): bigint
}

/**
 * Walk every page that the newest state of an LMDB file uses, before LMDB maps it.
 *
 * LMDB trusts its file: on one that is truncated, zeroed or overwritten, `open` or the first read ends the process with
 * SIGSEGV or SIGBUS (measured 2026-11, lmdb 3.5.6), and a daemon that dies so at each start can tell nobody why.
 * Values are not judged here: they carry a checksum of their own (embedded.ts). Nor is the list of free pages, whose
 * form is the package's own: a damaged one is met by LMDB's own checks when it allocates.
 * @param file the whole data file; an empty one is a database not begun
 * @throws CorruptError naming the page
 */
export function checkLmdbFile(file: LmdbBytes): void {
  if (file.length === 0) return
  const walk = new Walk(file)
  walk.tree(walk.meta + META.freeTree, 'other')
  walk.tree(walk.meta + META.mainTree, 'main')
}

class Walk {
  /** Offset of the meta page that counts: the one with the higher transaction number. */
  readonly meta: number
  readonly #file: LmdbBytes
  readonly #pageBytes: number
  readonly #lastPage: number
  readonly #used = new Set<number>([0, 1])

  constructor(file: LmdbBytes) {
    this.#file = file
    if (file.length < META.end || !isMeta(file, 0))
      throw damaged('is not an LMDB file', { bytes: file.length })
    const pageBytes = file.readUInt32LE(META.pageBytes)
    const powerOfTwo = pageBytes >= 512 && pageBytes <= 65536 && (pageBytes & (pageBytes - 1)) === 0
    if (!powerOfTwo || file.length < 2 * pageBytes || !isMeta(file, pageBytes)) {
      throw damaged('has a damaged head', { page: 1, bytes: file.length })
    }
    this.#pageBytes = pageBytes
    const second = file.readBigUInt64LE(pageBytes + META.txn) > file.readBigUInt64LE(META.txn)
    this.meta = second ? pageBytes : 0
    this.#lastPage = this.#number(this.meta + META.lastPage, 'last page')
  }

  /** @param at offset of an MDB_db; `main` is the one whose leaves hold further trees */
  tree(at: number, kind: 'main' | 'other'): void {
    if (this.#file.readBigUInt64LE(at + TREE.root) === EMPTY_ROOT) return
    const depth = this.#file.readUInt16LE(at + TREE.depth)
    const root = this.#number(at + TREE.root, 'root')
    if (depth < 1 || depth > DEPTH_MAX) throw damaged('has a damaged tree', { page: root, depth })
    this.#page(root, depth, kind)
  }

  #page(page: number, depth: number, kind: 'main' | 'other'): void {
    const at = this.#take(page, 1)
    const flags = this.#file.readUInt16LE(at + 18)
    if ((flags & (P_BRANCH | P_LEAF)) !== (depth === 1 ? P_LEAF : P_BRANCH))
      throw damaged('has a damaged page', { page, flags })
    const lower = this.#file.readUInt16LE(at + 20)
    const upper = this.#file.readUInt16LE(at + 22)
    const room = this.#pageBytes - HEADER_BYTES
    if (lower % 2 !== 0 || lower > upper || upper > room || (lower === 0 && depth > 1))
      throw damaged('has a damaged page', { page })
    for (let i = 0; i < lower; i += 2) {
      const node = this.#file.readUInt16LE(at + HEADER_BYTES + i)
      const keyBytes =
        node + NODE_HEADER_BYTES <= room
          ? this.#file.readUInt16LE(at + HEADER_BYTES + node + 6)
          : room
      if (node < upper || node + NODE_HEADER_BYTES + keyBytes > room)
        throw damaged('has a damaged page', { page, node: i / 2 })
      const nodeAt = at + HEADER_BYTES + node
      if (depth > 1) this.#page(this.#childOf(nodeAt), depth - 1, kind)
      else this.#leaf(nodeAt, at + this.#pageBytes, page, kind)
    }
  }

  #childOf(nodeAt: number): number {
    return this.#file.readUInt32LE(nodeAt) + this.#file.readUInt16LE(nodeAt + 4) * 2 ** 32
  }

  #leaf(nodeAt: number, end: number, page: number, kind: 'main' | 'other'): void {
    const bytes = this.#file.readUInt32LE(nodeAt)
    const flags = this.#file.readUInt16LE(nodeAt + 4)
    let at = nodeAt + NODE_HEADER_BYTES + this.#file.readUInt16LE(nodeAt + 6)
    if (flags & F_BIGDATA) {
      if (at + 24 > end) throw damaged('has a damaged page', { page })
      const pages = Math.ceil((HEADER_BYTES + bytes) / this.#pageBytes)
      const first = this.#number(at, 'overflow page')
      if (this.#number(at + 16, 'overflow pages') !== pages)
        throw damaged('has a damaged value', { page })
      at = this.#take(first, pages)
      if ((this.#file.readUInt16LE(at + 18) & P_OVERFLOW) === 0)
        throw damaged('has a damaged value', { page: first })
      at += HEADER_BYTES
    } else if (at + bytes > end) {
      throw damaged('has a damaged page', { page })
    }
    if (kind === 'main' && flags & F_SUBDATA) {
      if (bytes !== TREE.end) throw damaged('has a damaged table', { page })
      this.tree(at, 'other')
    }
  }

  /** Offset of a page that is inside the file, carries its own number, and is used once. */
  #take(page: number, count: number): number {
    const at = page * this.#pageBytes
    if (page < 2 || page + count - 1 > this.#lastPage)
      throw damaged('refers to a page it does not have', { page })
    if (at + count * this.#pageBytes > this.#file.length)
      throw damaged('is cut short', { page, bytes: this.#file.length })
    if (this.#file.readBigUInt64LE(at) !== BigInt(page))
      throw damaged('has a damaged page', { page })
    for (let i = page; i < page + count; i++) {
      if (this.#used.has(i)) throw damaged('uses a page twice', { page: i })
      this.#used.add(i)
    }
    return at
  }

  #number(at: number, what: string): number {
    const value = this.#file.readBigUInt64LE(at)
    if (value > 0xffff_ffffn) throw damaged(`has a damaged ${what}`, { offset: at })
    return Number(value)
  }
}

function isMeta(file: LmdbBytes, at: number): boolean {
  return (
    (file.readUInt16LE(at + 18) & P_META) !== 0 &&
    file.readUInt32LE(at + META.magic) === MAGIC &&
    (file.readUInt32LE(at + META.version) & 0xffff) === DATA_VERSION
  )
}

function damaged(what: string, subject: Record<string, number>): CorruptError {
  return new CorruptError(`the file ${what}`, subject)
}
