import { basename, dirname } from 'node:path'
import { assert, type ErrnoCode, FsError, type Random } from '../base/index.ts'
import {
  type Disk,
  type DiskHandle,
  type DiskStat,
  type OpenMode,
  readFileBytesMax,
} from './disk.ts'

/** What a drive writes as one: a cut in power leaves a sector old or new, never a mixture. */
export const sectorBytes = 512

export type DiskOp =
  | 'open'
  | 'read'
  | 'write'
  | 'fdatasync'
  | 'fsyncDirectory'
  | 'truncate'
  | 'rename'
  | 'unlink'

type FileNode = {
  kind: 'file'
  /** Content as programs see it. The arrays may be longer than the content. */
  now: Content
  /** Content that survives a power cut. */
  synced: Content
  /** Writes and truncates since the last sync, in order. */
  pending: Pending[]
  /** Its bytes count as used: false once it has no name. */
  counted: boolean
}
/** A copy of the bytes written; null for a truncate. */
type Pending = { at: number; bytes: Buffer | null }
type DirectoryNode = { kind: 'directory'; now: Map<string, Node>; synced: Map<string, Node> }
type Node = FileNode | DirectoryNode
type Content = { bytes: Buffer; length: number }

/** One change of names, kept or lost as a whole: a rename never leaves both names or none. */
type NameChange = {
  sets: { directory: DirectoryNode; name: string; node: Node } | null
  deletes: { directory: DirectoryNode; name: string } | null
}

/**
 * A disk in memory whose power can be cut. It keeps what Disk promises and nothing more: bytes not fdatasync'd and
 * names not fsync'd are kept, lost or torn at the will of the Random. Single-threaded. Times stand still.
 */
export class SimulatedDisk implements Disk {
  readonly #root: DirectoryNode = newDirectory()
  readonly #handles = new Map<DiskHandle, { node: FileNode; mode: OpenMode }>()
  readonly #failures = new Map<DiskOp, { code: ErrnoCode; after: number; times: number }>()
  #changes: NameChange[] = []
  #nextHandle = 3
  /** Calls that may still change or sync something; the power is off at 0, and it stays on while this is infinite. */
  #callsLeft = Number.POSITIVE_INFINITY
  #capacityBytes: number
  #usedBytes = 0

  constructor(capacityBytes: number = Number.MAX_SAFE_INTEGER) {
    this.#capacityBytes = capacityBytes
  }

  /** Bytes that files may hold together from now on. */
  resize(capacityBytes: number): void {
    this.#capacityBytes = capacityBytes
  }

  /** Lets `after` calls of `op` pass and fails the `times` (1 when not given) behind them. A failing write writes half. */
  fail(op: DiskOp, code: ErrnoCode, { after = 0, times = 1 } = {}): void {
    this.#failures.set(op, { code, after, times })
  }

  /**
   * Lets so many further calls change or sync something; at the next one the power goes off, before it does anything.
   * Then every call but `close` throws EIO, as no program is there to see, until `powerCut`.
   */
  powerOffAfter(calls: number): void {
    this.#callsLeft = calls
  }

  get off(): boolean {
    return this.#callsLeft < 0
  }

  /**
   * The machine goes off and comes back: every handle is dead, what was synced is there, and of the rest a part:
   * per file nothing, all, the first writes with the last one torn, or any sectors out of order; of names any changes.
   */
  powerCut(random: Random): void {
    this.#handles.clear()
    this.#failures.clear()
    this.#callsLeft = Number.POSITIVE_INFINITY
    const keep = below(random, 4)
    const prefix = below(random, this.#changes.length + 1)
    this.#changes.forEach((change, i) => {
      const kept =
        keep === 0 ? false : keep === 1 ? true : keep === 2 ? i < prefix : below(random, 2) === 1
      if (kept) applyNames(change, 'synced')
    })
    this.#changes = []
    this.#usedBytes = 0
    this.#reload(this.#root, random, new Set())
  }

  open(path: string, mode: OpenMode): DiskHandle {
    this.#mayFail('open')
    const found = this.#find(path)
    if (found?.kind === 'directory') throw new FsError('EISDIR', 'open', { path })
    if (found && mode === 'createNew') throw new FsError('EEXIST', 'open', { path })
    if (!found && mode !== 'create' && mode !== 'createNew')
      throw new FsError('ENOENT', 'open', { path })
    const node = found ?? this.#createFile(path)
    const handle = this.#nextHandle++ as DiskHandle
    this.#handles.set(handle, { node, mode })
    return handle
  }

  close(handle: DiskHandle): void {
    if (!this.off) this.#node(handle, 'close')
    this.#handles.delete(handle)
  }

  read(handle: DiskHandle, into: Uint8Array, intoAt: number, len: number, pos: number): number {
    this.#mayFail('read')
    const { now } = this.#node(handle, 'read')
    const count = Math.max(0, Math.min(len, now.length - pos))
    into.set(now.bytes.subarray(pos, pos + count), intoAt)
    return count
  }

  write(handle: DiskHandle, from: Uint8Array, fromAt: number, len: number, pos: number): void {
    const node = this.#node(handle, 'write')
    if (this.#handles.get(handle)?.mode === 'read')
      throw new FsError('EIO', 'write', { handle, mode: 'read' })
    this.#spend('write')
    const failure = this.#failureOf('write')
    const growth = Math.max(0, pos + len - node.now.length)
    const free = this.#capacityBytes - this.#usedBytes
    const fits = failure ? len >> 1 : growth > free ? Math.max(0, len - (growth - free)) : len
    if (fits > 0) {
      const bytes = Buffer.from(from.subarray(fromAt, fromAt + fits))
      if (node.counted) this.#usedBytes += Math.max(0, pos + fits - node.now.length)
      overwrite(node.now, pos, bytes)
      node.pending.push({ at: pos, bytes })
    }
    if (failure) throw new FsError(failure, 'write', { handle, pos, len })
    if (fits < len) throw new FsError('ENOSPC', 'write', { handle, pos, len })
  }

  fdatasync(handle: DiskHandle): void {
    const node = this.#node(handle, 'fdatasync')
    this.#sync(handle, node, node.pending)
  }

  /** Takes a turn of the event loop, and then syncs what was written before the call and nothing else. */
  async fdatasyncAsync(handle: DiskHandle): Promise<void> {
    const wanted = [...this.#node(handle, 'fdatasync').pending]
    await new Promise((resolve) => setImmediate(resolve))
    this.#sync(handle, this.#node(handle, 'fdatasync'), wanted)
  }

  #sync(handle: DiskHandle, node: FileNode, wanted: readonly Pending[]): void {
    this.#spend('fdatasync')
    const failure = this.#failureOf('fdatasync')
    // Another sync may have been quicker with some of it.
    const left = new Set(node.pending)
    const now = wanted.filter((one) => left.has(one))
    const synced = new Set(now)
    node.pending = node.pending.filter((one) => !synced.has(one))
    // As Linux does: the pages count as clean from now on and never reach the drive unless written again.
    if (failure) throw new FsError(failure, 'fdatasync', { handle })
    for (const { at, bytes } of now) replay(node.synced, at, bytes)
  }

  truncate(handle: DiskHandle, bytes: number): void {
    this.#mayFail('truncate')
    const node = this.#node(handle, 'truncate')
    this.#spend('truncate')
    if (node.counted) this.#usedBytes += bytes - node.now.length
    cut(node.now, bytes)
    node.pending.push({ at: bytes, bytes: null })
  }

  size(handle: DiskHandle): number {
    return this.#node(handle, 'size').now.length
  }

  stat(path: string): DiskStat | null {
    const node = this.#find(path)
    if (!node) return null
    return { kind: node.kind, bytes: node.kind === 'file' ? node.now.length : 0, modifiedMs: 0 }
  }

  exists(path: string): boolean {
    return this.#find(path) !== null
  }

  list(path: string): string[] {
    return [...this.#directory(path, 'list').now.keys()].sort()
  }

  readFile(path: string, bytesMax: number = readFileBytesMax): Buffer {
    const node = this.#find(path)
    if (!node) throw new FsError('ENOENT', 'readFile', { path })
    if (node.kind !== 'file') throw new FsError('EISDIR', 'readFile', { path })
    if (node.now.length > bytesMax) throw new FsError('EFBIG', 'readFile', { path, bytesMax })
    return Buffer.from(node.now.bytes.subarray(0, node.now.length))
  }

  replaceFile(path: string, bytes: Uint8Array): void {
    const fresh = `${path}.new`
    const handle = this.open(fresh, 'create')
    try {
      this.truncate(handle, 0)
      this.write(handle, bytes, 0, bytes.length, 0)
      this.fdatasync(handle)
    } catch (error) {
      this.close(handle)
      this.unlink(fresh)
      throw error
    }
    this.close(handle)
    this.rename(fresh, path)
    this.fsyncDirectory(dirname(path))
  }

  mkdir(path: string): void {
    const found = this.#find(path)
    if (found?.kind === 'file') throw new FsError('ENOTDIR', 'mkdir', { path })
    if (found) return
    this.mkdir(dirname(path))
    const directory = this.#directory(dirname(path), 'mkdir')
    const sets = { directory, name: basename(path), node: newDirectory() }
    this.#change({ sets, deletes: null })
    this.fsyncDirectory(dirname(path))
  }

  rename(from: string, to: string): void {
    this.#mayFail('rename')
    const node = this.#find(from)
    if (!node) throw new FsError('ENOENT', 'rename', { from, to })
    const replaced = this.#find(to)
    if (replaced === node) return
    if (replaced?.kind === 'directory') throw new FsError('EISDIR', 'rename', { from, to })
    this.#change({
      sets: { directory: this.#directory(dirname(to), 'rename'), name: basename(to), node },
      deletes: { directory: this.#directory(dirname(from), 'rename'), name: basename(from) },
    })
    if (replaced) this.#forget(replaced)
  }

  unlink(path: string): void {
    this.#mayFail('unlink')
    const node = this.#find(path)
    if (!node) throw new FsError('ENOENT', 'unlink', { path })
    if (node.kind === 'directory') throw new FsError('EISDIR', 'unlink', { path })
    this.#remove(path)
    this.#forget(node)
  }

  rmdir(path: string): void {
    if (this.#directory(path, 'rmdir').now.size > 0)
      throw new FsError('ENOTEMPTY', 'rmdir', { path })
    this.#remove(path)
  }

  fsyncDirectory(path: string): void {
    this.#mayFail('fsyncDirectory')
    this.#spend('fsyncDirectory')
    const directory = this.#directory(path, 'fsyncDirectory')
    this.#changes = this.#changes.filter((change) => {
      if (change.sets?.directory !== directory && change.deletes?.directory !== directory)
        return true
      applyNames(change, 'synced')
      return false
    })
  }

  freeBytes(_path: string): number {
    return Math.max(0, this.#capacityBytes - this.#usedBytes)
  }

  totalBytes(_path: string): number {
    return this.#capacityBytes
  }

  device(_path: string): number {
    return 1
  }

  #createFile(path: string): FileNode {
    const node: FileNode = {
      kind: 'file',
      now: empty(),
      synced: empty(),
      pending: [],
      counted: true,
    }
    const sets = { directory: this.#directory(dirname(path), 'open'), name: basename(path), node }
    this.#change({ sets, deletes: null })
    return node
  }

  #remove(path: string): void {
    const deletes = { directory: this.#directory(dirname(path), 'unlink'), name: basename(path) }
    this.#change({ sets: null, deletes })
  }

  #forget(node: FileNode): void {
    node.counted = false
    this.#usedBytes -= node.now.length
  }

  #change(change: NameChange): void {
    this.#spend('names')
    applyNames(change, 'now')
    this.#changes.push(change)
  }

  /** What is left becomes what programs see. */
  #reload(directory: DirectoryNode, random: Random, seen: Set<Node>): void {
    directory.now = new Map(directory.synced)
    for (const node of directory.now.values()) {
      if (seen.has(node)) continue
      seen.add(node)
      if (node.kind === 'directory') {
        this.#reload(node, random, seen)
      } else {
        tear(node, random)
        node.counted = true
        this.#usedBytes += node.now.length
      }
    }
  }

  /** One call that changes or syncs something. */
  #spend(op: string): void {
    this.#callsLeft--
    this.#refuseOff(op)
  }

  #refuseOff(op: string): void {
    if (this.off) throw new FsError('EIO', op, { message: `${op}: the power is off` })
  }

  #find(path: string): Node | null {
    this.#refuseOff('find')
    let at: Node | undefined = this.#root
    for (const name of path.split('/')) {
      if (name === '') continue
      if (at?.kind !== 'directory') return null
      at = at.now.get(name)
    }
    return at ?? null
  }

  #directory(path: string, op: string): DirectoryNode {
    const node = this.#find(path)
    if (!node) throw new FsError('ENOENT', op, { path })
    if (node.kind !== 'directory') throw new FsError('ENOTDIR', op, { path })
    return node
  }

  #node(handle: DiskHandle, op: string): FileNode {
    this.#refuseOff(op)
    const open = this.#handles.get(handle)
    if (!open)
      throw new FsError('EIO', op, { handle, message: `${op}: handle ${handle} is not open` })
    return open.node
  }

  #mayFail(op: DiskOp): void {
    const code = this.#failureOf(op)
    if (code) throw new FsError(code, op, { simulated: true })
  }

  #failureOf(op: DiskOp): ErrnoCode | null {
    const failure = this.#failures.get(op)
    if (!failure) return null
    if (failure.after > 0) {
      failure.after--
      return null
    }
    if (--failure.times === 0) this.#failures.delete(op)
    return failure.code
  }
}

function newDirectory(): DirectoryNode {
  return { kind: 'directory', now: new Map(), synced: new Map() }
}

function applyNames({ sets, deletes }: NameChange, side: 'now' | 'synced'): void {
  if (deletes) deletes.directory[side].delete(deletes.name)
  if (sets) sets.directory[side].set(sets.name, sets.node)
}

/** Decides what of the unsynced writes reached the drive before the power went. */
function tear(node: FileNode, random: Random): void {
  const { synced, pending } = node
  const way = below(random, 4)
  if (way === 1) {
    for (const { at, bytes } of pending) replay(synced, at, bytes)
  } else if (way === 2) {
    const whole = below(random, pending.length + 1)
    for (const { at, bytes } of pending.slice(0, whole)) replay(synced, at, bytes)
    const torn = pending[whole]
    if (torn?.bytes) {
      const end = torn.at + below(random, torn.bytes.length + 1)
      const sectorEnd = Math.max(torn.at, end - (end % sectorBytes))
      replay(synced, torn.at, torn.bytes.subarray(0, sectorEnd - torn.at))
    }
  } else if (way === 3) {
    const target = copy(synced)
    for (const { at, bytes } of pending) replay(target, at, bytes)
    scatter(synced, target, random)
  }
  node.pending = []
  node.now = copy(synced)
}

/** Any sector may have got its new content, the others keep the old; what is new to the file and was lost reads as zeros. */
function scatter(synced: Content, target: Content, random: Random): void {
  const length = below(random, 2) === 0 ? target.length : synced.length
  cut(synced, length)
  for (let at = 0; at < length; at += sectorBytes) {
    if (at >= target.length || below(random, 2) === 0) continue
    const end = Math.min(at + sectorBytes, length)
    synced.bytes.fill(0, at, end)
    overwrite(synced, at, target.bytes.subarray(at, Math.min(end, target.length)))
  }
}

function replay(content: Content, at: number, bytes: Buffer | null): void {
  if (bytes) overwrite(content, at, bytes)
  else cut(content, at)
}

function empty(): Content {
  return { bytes: Buffer.alloc(0), length: 0 }
}

function copy(content: Content): Content {
  return { bytes: Buffer.from(content.bytes.subarray(0, content.length)), length: content.length }
}

function overwrite(content: Content, at: number, bytes: Uint8Array): void {
  if (bytes.length === 0) return
  grow(content, Math.max(content.length, at + bytes.length))
  content.bytes.set(bytes, at)
}

/** Bytes beyond a content's length are always zero in its array, so growing again shows zeros. */
function cut(content: Content, length: number): void {
  if (length < content.length) {
    content.bytes.fill(0, length, content.length)
    content.length = length
  } else {
    grow(content, length)
  }
}

function grow(content: Content, length: number): void {
  if (length > content.bytes.length) {
    const bytes = Buffer.alloc(Math.max(length, content.bytes.length * 2, 4096))
    content.bytes.copy(bytes, 0, 0, content.length)
    content.bytes = bytes
  }
  content.length = length
}

/** A whole number from 0 to `end` - 1. */
function below(random: Random, end: number): number {
  assert(end > 0, 'a range to draw from')
  return random.bytes(4).readUInt32LE(0) % end
}
