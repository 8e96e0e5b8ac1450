import { existsSync } from 'node:fs'
import type { Ino } from '../base/index.ts'
import { OPCODES } from './opcodes.ts'
import * as wire from './wire/index.ts'

/**
 * A change that was answered this long before its owner was last known to own the volume is committed: an owner commits
 * each second, and gives the volume up when that takes 3 s (design §6.7). With a wide margin for a thread that stands still.
 */
const COMMITTED_MS = 60_000
/** So many inodes are counted before those whose changes are committed are dropped. */
const LOOK_AT = 4096
/** Likewise, so many threads of one inode: of a log that a thousand short programs append to each is another. */
const THREADS_LOOK_AT = 256
const O_TRUNC = 0o1000
/** fuse_in_header.nodeid. */
const NODE_AT = 16
const NONE: readonly Ino[] = []

/** An inode was changed by a thread of a program, and answered at this time. */
export interface Change {
  readonly ino: Ino
  readonly thread: number
  readonly atMs: number
}

/** Of one inode. */
interface Changed {
  /** When the last change of each was answered. */
  readonly threads: Map<number, number>
  lookAt: number
  /** When the last change of all was answered. */
  atMs: number
  /** Place of the last change among all changes and all that was asked for: clocks of two threads may be 10 ms apart. */
  order: number
}

interface Owed {
  /** That made the changes, and were not told. */
  readonly threads: Set<number>
  readonly told: Set<number>
  /** Nobody but the threads was told yet. */
  next: boolean
}

/**
 * What programs of one kernel changed in a volume and did not sync, and which of that may be lost since, because another
 * owner took the volume over without it. For that the next fsync fails: of each thread that made such a change, and of
 * the first other, for a program may leave syncing to another (design §6.2). So it does for descriptors opened after the
 * loss, and for directories, which have none.
 */
export class Unsynced {
  readonly #changes = new Map<Ino, Changed>()
  #order = 0
  readonly #owed = new Map<Ino, Owed>()
  /** By all that was lost, for syncfs. */
  #all: Owed | null = null
  readonly #ownedMs: () => number
  readonly #isAlive: (thread: number) => boolean
  #lookAt = LOOK_AT
  /** Before this, others may have been made. */
  #uncountedMs = Number.NEGATIVE_INFINITY
  /** Anything may have been lost but for these, whose fsync has failed; null for all. */
  #told: Set<Ino | null> | null = null

  /** @param ownedMs when the owner was last known to own the volume; the clock is that of the changes */
  constructor(ownedMs: () => number, isAlive = isThread) {
    this.#ownedMs = ownedMs
    this.#isAlive = isAlive
  }

  /** A life of the daemon before this one may have made changes until now. */
  uncounted(nowMs: number): void {
    this.#uncountedMs = nowMs
  }

  get ownedMs(): number {
    return this.#ownedMs()
  }

  changed({ ino, thread, atMs }: Change): void {
    let of = this.#changes.get(ino)
    if (!of) {
      if (this.#changes.size >= this.#lookAt) this.#dropCommitted()
      of = { threads: new Map(), lookAt: THREADS_LOOK_AT, atMs, order: 0 }
      this.#changes.set(ino, of)
    }
    if (of.threads.size >= of.lookAt) this.#dropCommittedThreads(of)
    of.threads.set(thread, Math.max(of.threads.get(thread) ?? atMs, atMs))
    of.atMs = Math.max(of.atMs, atMs)
    of.order = ++this.#order
  }

  /** @returns what `synced` is told of an fsync that is asked for now */
  asked(): number {
    return this.#order
  }

  /** An fsync of an inode, or of all when it is null, has succeeded. @param asked when it was asked for */
  synced(ino: Ino | null, asked: number): void {
    if (ino === null) this.#drop(({ order }) => order <= asked)
    else if ((this.#changes.get(ino)?.order ?? 0) <= asked) this.#changes.delete(ino)
  }

  /** Another owner has, or may have, the volume without what was not committed. */
  lose(): void {
    if (this.#uncountedMs > this.#ownedMs() - COMMITTED_MS) this.#told = new Set()
    this.#uncountedMs = Number.NEGATIVE_INFINITY
    this.#dropCommitted()
    for (const [ino, of] of this.#changes) {
      for (const thread of of.threads.keys()) this.lost(ino, thread)
    }
    this.#changes.clear()
  }

  lost(ino: Ino, thread: number): void {
    const owed = this.#owed.get(ino) ?? newOwed()
    this.#all ??= newOwed()
    for (const one of [owed, this.#all]) {
      one.threads.add(thread)
      one.told.delete(thread)
      one.next = true
    }
    this.#owed.set(ino, owed)
  }

  /** The fsync of some inode is to fail. */
  get owes(): boolean {
    return this.#told !== null || this.#owed.size > 0
  }

  /** @param ino null for syncfs @returns whether this thread's fsync is to fail, of which it is told once */
  take(ino: Ino | null, thread: number): boolean {
    const isOwed = this.#takeOwed(ino, thread)
    const isUntold = this.#told !== null && !this.#told.has(ino)
    this.#told?.add(ino)
    return isOwed || isUntold
  }

  #takeOwed(ino: Ino | null, thread: number): boolean {
    const owed = ino === null ? this.#all : this.#owed.get(ino)
    if (!owed) return false
    const isOwn = owed.threads.delete(thread)
    if (!isOwn && (!owed.next || owed.told.has(thread))) return false
    owed.told.add(thread)
    if (!isOwn) {
      owed.next = false
      for (const other of owed.threads) if (!this.#isAlive(other)) owed.threads.delete(other)
    }
    if (owed.threads.size === 0) {
      if (ino === null) this.#all = null
      else this.#owed.delete(ino)
    }
    return true
  }

  /** What was changed and neither synced nor lost. */
  list(): Change[] {
    return [...this.#changes].flatMap(([ino, { threads }]) =>
      [...threads].map(([thread, atMs]) => ({ ino, thread, atMs })),
    )
  }

  #dropCommittedThreads(of: Changed): void {
    const untilMs = this.#ownedMs() - COMMITTED_MS
    for (const [thread, atMs] of of.threads) if (atMs < untilMs) of.threads.delete(thread)
    of.lookAt = Math.max(THREADS_LOOK_AT, of.threads.size * 2)
  }

  #dropCommitted(): void {
    const untilMs = this.#ownedMs() - COMMITTED_MS
    this.#drop(({ atMs }) => atMs < untilMs)
    this.#lookAt = Math.max(LOOK_AT, this.#changes.size * 2)
  }

  #drop(which: (changed: Changed) => boolean): void {
    for (const [ino, changed] of this.#changes) if (which(changed)) this.#changes.delete(ino)
  }
}

/** Hot. The inodes whose fsync has to do with what a request changes; of one that makes a name, its directory. */
export function changedBy(request: Buffer, opcode: number): readonly Ino[] {
  const at = wire.IN_HEADER_BYTES
  switch (opcode) {
    case OPCODES.WRITE.code:
    case OPCODES.SETATTR.code:
    case OPCODES.FALLOCATE.code:
    case OPCODES.SETXATTR.code:
    case OPCODES.REMOVEXATTR.code:
    case OPCODES.MKNOD.code:
    case OPCODES.MKDIR.code:
    case OPCODES.SYMLINK.code:
    case OPCODES.CREATE.code:
    case OPCODES.LINK.code:
    case OPCODES.UNLINK.code:
    case OPCODES.RMDIR.code:
      return [wire.nodeInoAt(request, NODE_AT)]
    // fuse_rename_in and fuse_rename2_in begin with the directory of the new name.
    case OPCODES.RENAME.code:
    case OPCODES.RENAME2.code:
      return [wire.nodeInoAt(request, NODE_AT), wire.nodeInoAt(request, at)]
    // fuse_copy_file_range_in: fh_in, off_in, nodeid_out.
    case OPCODES.COPY_FILE_RANGE.code:
    case OPCODES.COPY_FILE_RANGE_64.code:
      return [wire.nodeInoAt(request, at + 16)]
    case OPCODES.OPEN.code: {
      const truncates = (request.readUInt32LE(at) & O_TRUNC) !== 0
      return truncates ? [wire.nodeInoAt(request, NODE_AT)] : NONE
    }
    default:
      return NONE
  }
}

/** Hot. Of a request that makes changes durable: the inode, null for all; undefined for any other request. */
export function syncedBy(request: Buffer, opcode: number): Ino | null | undefined {
  if (opcode === OPCODES.SYNCFS.code) return null
  const isSync = opcode === OPCODES.FSYNC.code || opcode === OPCODES.FSYNCDIR.code
  return isSync ? wire.nodeInoAt(request, NODE_AT) : undefined
}

function newOwed(): Owed {
  return { threads: new Set(), told: new Set(), next: true }
}

function isThread(thread: number): boolean {
  return existsSync(`/proc/${thread}`)
}
