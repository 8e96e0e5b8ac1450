import { type Ino, limits, ROOT_INO, type Timespec } from '../base/index.ts'
import {
  type Dirent,
  decodeChunkInfo,
  decodeDirents,
  decodeExtent,
  type Extent,
  encodeChunkInfo,
  encodeDirents,
  type Inode,
  keys,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
} from '../meta/index.ts'
import type { Draft } from './draft.ts'
import { direntHash, type IndexProblem } from './fsck-index.ts'
import type { Paths } from './fsck-paths.ts'
import type { LocalVolume } from './local-volume.ts'

/** What has no name any more gets one here, as `#<inode number>`. */
export const LOST_FOUND = 'lost+found'

/**
 * Mends one problem of the index in a draft, under the lock, over the view as it is now. What was found may have
 * changed meanwhile: then nothing is done.
 * @returns true when the problem is gone, false when a person has to look at it
 */
export function repairProblem(
  volume: LocalVolume,
  draft: Draft,
  problem: IndexProblem,
  paths: Paths,
  now: Timespec,
): boolean {
  const lost = new LostFound(volume, draft, now)
  switch (problem.kind) {
    case 'links':
      return edit(draft, problem.ino, (inode) => {
        inode.nlink = Math.max(0, inode.nlink + problem.delta)
      })
    case 'entries':
      return edit(draft, problem.ino, (inode) => {
        inode.size = Math.max(0, inode.size + problem.delta)
      })
    case 'bytes':
      return edit(draft, problem.ino, (inode) => {
        inode.bytes = Math.max(0, inode.bytes + problem.delta)
      })
    case 'parent':
      return edit(draft, problem.ino, (inode) => {
        inode.parent = problem.found
      })
    case 'type':
      return mendTypes(volume, draft, problem.ino, paths)
    case 'dangling':
      return dropNames(volume, draft, problem.ino, paths)
    case 'nameless':
      return adopt(draft, lost, problem.ino)
    case 'lost-inode':
      return recreate(volume, draft, lost, problem, now)
    case 'stray-xattrs': {
      const start = keys.startOfIno(keys.KIND.xattr, problem.ino)
      const end = keys.endOfIno(keys.KIND.xattr, problem.ino)
      for (const [key] of draft.entries.range(start, end)) draft.delete(Buffer.from(key))
      return true
    }
    case 'loop':
      return breakLoop(volume, draft, lost, problem.ino)
    case 'misplaced-name':
      return moveName(volume, draft, problem)
    case 'overlap':
      return trim(draft, lost, problem.ino, problem.offset, problem.nextOffset, now)
    case 'unknown-chunk': {
      const { chunk, liveBytes, plainBytes } = problem
      if (draft.get(keys.chunkKey(chunk))) return true
      const drive = volume.drives.find((one) => volume.chunks.has(chunk, one.id))
      const at = drive ?? volume.drives[0]
      if (!at) return false
      const stored = drive ? headerOf(volume, drive.id, chunk) : null
      const info = {
        drive: at.id,
        keyEpoch: stored?.keyEpoch ?? volume.keys.newest,
        plainBytes: stored?.plainBytes ?? plainBytes,
        storedBytes: stored?.storedBytes ?? 0,
        liveBytes,
      }
      draft.put(keys.chunkKey(chunk), encodeChunkInfo(info))
      return true
    }
    case 'live-bytes': {
      const value = draft.entries.get(keys.chunkKey(problem.chunk))
      if (!value) return true
      if (decodeChunkInfo(value).liveBytes + problem.delta < 0) return false
      draft.recount(problem.chunk, problem.delta)
      return true
    }
    case 'packable': {
      const { ino, offset } = problem
      const value = draft.entries.get(keys.extentKey(ino, offset))
      const inline = value !== null && decodeExtent(value).kind === 'inline'
      if (inline) draft.put(keys.packableKey(ino, offset), Buffer.alloc(0))
      else draft.delete(keys.packableKey(ino, offset))
      return true
    }
    case 'orphan':
      draft.delete(keys.orphanKey(problem.ino))
      return true
    case 'totals':
      draft.bytesDelta += problem.bytes
      draft.inodesDelta += problem.inodes
      draft.inlineDelta += problem.inlineBytes
      return true
    case 'reserved': {
      const { shared } = volume
      if (shared.inoReserved <= problem.highest) {
        shared.inoReserved = problem.highest + 1 + limits.inoBlock
      }
      shared.inoNext = Math.max(shared.inoNext, problem.highest + 1)
      return true
    }
    case 'mode':
    case 'file-with-entries':
    case 'several-names':
    case 'beyond-chunk':
      return false
  }
}

function headerOf(
  volume: LocalVolume,
  drive: Parameters<LocalVolume['chunks']['statSync']>[1],
  chunk: Parameters<LocalVolume['chunks']['statSync']>[0],
) {
  try {
    return volume.chunks.statSync(chunk, drive)
  } catch {
    // Damaged: what extents say of it is all there is.
    return null
  }
}

function edit(draft: Draft, ino: Ino, change: (inode: Inode) => void): boolean {
  const inode = draft.inode(ino)
  if (!inode) return true
  change(inode)
  draft.putInode(ino, inode)
  return true
}

/** The directory for what has no name; made when it is first needed, at the root. */
class LostFound {
  readonly #volume: LocalVolume
  readonly #draft: Draft
  readonly #now: Timespec

  constructor(volume: LocalVolume, draft: Draft, now: Timespec) {
    this.#volume = volume
    this.#draft = draft
    this.#now = now
  }

  get volume(): LocalVolume {
    return this.#volume
  }

  /** Gives an inode a name here. @param isDirectory counts into our links, and its parent becomes this */
  take(ino: Ino, type: number): Ino {
    const directory = this.#directory()
    const name = Buffer.from(`#${ino}`)
    putEntry(this.#volume, this.#draft, directory, { ino, type, name })
    const inode = this.#draft.inode(directory) as Inode
    inode.size++
    if (type === S_IFDIR >>> 12) inode.nlink++
    inode.mtime = this.#now
    inode.ctime = this.#now
    this.#draft.putInode(directory, inode)
    return directory
  }

  #directory(): Ino {
    const draft = this.#draft
    for (let number = 0; ; number++) {
      const name = Buffer.from(number === 0 ? LOST_FOUND : `${LOST_FOUND}.${number}`)
      const entry = findEntry(this.#volume, draft, ROOT_INO, name)
      if (entry?.type === S_IFDIR >>> 12) return entry.ino
      if (entry) continue
      return this.#make(name)
    }
  }

  #make(name: Buffer): Ino {
    const draft = this.#draft
    const now = this.#now
    const ino = this.#volume.newIno()
    const mode = S_IFDIR | 0o700
    draft.putInode(ino, { ...emptyInode(this.#volume, mode, now), nlink: 2, parent: ROOT_INO })
    draft.inodesDelta++
    putEntry(this.#volume, draft, ROOT_INO, { ino, type: S_IFDIR >>> 12, name })
    const root = draft.inode(ROOT_INO)
    if (root)
      draft.putInode(ROOT_INO, {
        ...root,
        size: root.size + 1,
        nlink: root.nlink + 1,
        mtime: now,
        ctime: now,
      })
    return ino
  }
}

function emptyInode(volume: LocalVolume, mode: number, now: Timespec): Inode {
  return {
    mode,
    nlink: 1,
    uid: 0,
    gid: 0,
    rdev: 0,
    size: 0,
    bytes: 0,
    atime: now,
    mtime: now,
    ctime: now,
    btime: now,
    generation: volume.shared.epoch,
    version: volume.shared.seq + 1,
    timesSetAt: 0,
    dataThrough: 0,
    xattrs: true,
    parent: 0 as Ino,
    target: null,
  }
}

function keyOfName(volume: LocalVolume, parent: Ino, name: Buffer): Buffer {
  return keys.direntKey(parent, direntHash(volume.keys.nameKey, name))
}

function bucketAt(draft: Draft, key: Buffer): Dirent[] {
  const value = draft.get(key)
  return value ? decodeDirents(value) : []
}

function putBucket(draft: Draft, key: Buffer, bucket: readonly Dirent[]): void {
  if (bucket.length > 0) draft.put(key, encodeDirents(bucket))
  else draft.delete(key)
}

function findEntry(volume: LocalVolume, draft: Draft, parent: Ino, name: Buffer): Dirent | null {
  const bucket = bucketAt(draft, keyOfName(volume, parent, name))
  return bucket.find((entry) => entry.name.equals(name)) ?? null
}

function putEntry(volume: LocalVolume, draft: Draft, parent: Ino, entry: Dirent): void {
  const key = keyOfName(volume, parent, entry.name)
  const others = bucketAt(draft, key).filter(({ name }) => !name.equals(entry.name))
  putBucket(draft, key, [...others, entry])
}

/** @returns the entry that was there */
function takeEntry(draft: Draft, key: Buffer, name: Buffer, ino: Ino): Dirent | null {
  const bucket = bucketAt(draft, key)
  const entry = bucket.find((one) => one.ino === ino && one.name.equals(name))
  if (entry)
    putBucket(
      draft,
      key,
      bucket.filter((one) => one !== entry),
    )
  return entry ?? null
}

function mendTypes(volume: LocalVolume, draft: Draft, ino: Ino, paths: Paths): boolean {
  const inode = draft.inode(ino)
  if (!inode) return true
  const type = (inode.mode & S_IFMT) >>> 12
  for (const { parent, name } of paths.names(ino)) {
    const key = keyOfName(volume, parent, name)
    const bucket = bucketAt(draft, key)
    const entry = bucket.find((one) => one.ino === ino && one.name.equals(name))
    if (!entry || entry.type === type) continue
    // A directory counts into its parent's links, as nothing else does.
    const sub = Number(type === S_IFDIR >>> 12) - Number(entry.type === S_IFDIR >>> 12)
    entry.type = type
    putBucket(draft, key, bucket)
    if (sub !== 0)
      edit(draft, parent, (above) => {
        above.nlink += sub
      })
  }
  return true
}

/** Names that lead to no inode. */
function dropNames(volume: LocalVolume, draft: Draft, ino: Ino, paths: Paths): boolean {
  if (draft.inode(ino)) return true
  for (const { parent, name } of paths.names(ino)) {
    const entry = takeEntry(draft, keyOfName(volume, parent, name), name, ino)
    if (!entry) continue
    edit(draft, parent, (above) => {
      above.size = Math.max(0, above.size - 1)
      if (entry.type === S_IFDIR >>> 12) above.nlink = Math.max(2, above.nlink - 1)
    })
  }
  return true
}

function adopt(draft: Draft, lost: LostFound, ino: Ino): boolean {
  const inode = draft.inode(ino)
  // It went, or somebody gave it a name or noted it as nameless.
  if (!inode || draft.get(keys.orphanKey(ino))) return true
  const type = (inode.mode & S_IFMT) >>> 12
  const directory = lost.take(ino, type)
  if (type !== S_IFDIR >>> 12) {
    draft.putInode(ino, { ...inode, nlink: 1 })
    return true
  }
  let subdirectories = 0
  const start = keys.startOfIno(keys.KIND.dirent, ino)
  for (const [, value] of draft.entries.range(start, keys.endOfIno(keys.KIND.dirent, ino))) {
    subdirectories += decodeDirents(value).filter((entry) => entry.type === type).length
  }
  draft.putInode(ino, { ...inode, nlink: 2 + subdirectories, parent: directory })
  return true
}

/** Makes an inode again for entries or extents that have none. */
function recreate(
  volume: LocalVolume,
  draft: Draft,
  lost: LostFound,
  problem: Extract<IndexProblem, { kind: 'lost-inode' }>,
  now: Timespec,
): boolean {
  const { ino, entries, subdirectories, bytes, end } = problem
  if (draft.inode(ino)) return true
  if (entries > 0 && bytes > 0) return false
  draft.inodesDelta++
  const { shared } = volume
  if (ino >= shared.inoReserved) shared.inoReserved = ino + limits.inoBlock
  shared.inoNext = Math.max(shared.inoNext, ino + 1)
  if (ino === ROOT_INO) {
    const root = emptyInode(volume, S_IFDIR | 0o755, now)
    const nlink = 2 + subdirectories
    draft.putInode(ino, { ...root, nlink, size: entries, parent: ROOT_INO })
    return true
  }
  if (bytes > 0) {
    draft.putInode(ino, { ...emptyInode(volume, S_IFREG | 0o600, now), size: end, bytes })
    lost.take(ino, S_IFREG >>> 12)
    return true
  }
  const made = {
    ...emptyInode(volume, S_IFDIR | 0o700, now),
    nlink: 2 + subdirectories,
    size: entries,
  }
  const parent = lost.take(ino, S_IFDIR >>> 12)
  draft.putInode(ino, { ...made, parent })
  return true
}

/** Takes one directory of a circle out of it. */
function breakLoop(volume: LocalVolume, draft: Draft, lost: LostFound, ino: Ino): boolean {
  const inode = draft.inode(ino)
  if (!inode) return true
  const start = keys.startOfIno(keys.KIND.dirent, inode.parent)
  const end = keys.endOfIno(keys.KIND.dirent, inode.parent)
  for (const [key, value] of draft.entries.range(start, end)) {
    const entry = decodeDirents(value).find((one) => one.ino === ino)
    if (!entry) continue
    takeEntry(draft, Buffer.from(key), Buffer.from(entry.name), ino)
    edit(draft, inode.parent, (above) => {
      above.size--
      above.nlink--
    })
    const parent = lost.take(ino, S_IFDIR >>> 12)
    edit(draft, ino, (directory) => {
      directory.parent = parent
    })
    return true
  }
  return volume.view.get(keys.inodeKey(inode.parent)) === null
}

/** A name under the wrong hash is found by nobody: to its place, or beside the one that has it. */
function moveName(
  volume: LocalVolume,
  draft: Draft,
  problem: Extract<IndexProblem, { kind: 'misplaced-name' }>,
): boolean {
  const { parent, key, name, ino } = problem
  const entry = takeEntry(draft, key, name, ino)
  if (!entry) return true
  const twin = findEntry(volume, draft, parent, name)
  const free = twin ? Buffer.concat([name.subarray(0, 200), Buffer.from(`#${ino}`)]) : name
  putEntry(volume, draft, parent, { ...entry, name: Buffer.from(free) })
  return true
}

/** Two extents claim the same bytes: the one that begins first is cut, and what it had there becomes a file of its own. */
function trim(
  draft: Draft,
  lost: LostFound,
  ino: Ino,
  offset: number,
  nextOffset: number,
  now: Timespec,
): boolean {
  const value = draft.entries.get(keys.extentKey(ino, offset))
  const next = draft.entries.get(keys.extentKey(ino, nextOffset))
  if (!value || !next) return true
  const extent = decodeExtent(value)
  const over = offset + extent.length - nextOffset
  if (over <= 0) return true
  const kept = nextOffset - offset
  const { volume } = lost
  const file = volume.newIno()
  const cut = part(extent, kept, extent.length)
  draft.deleteExtent(ino, offset, extent)
  draft.putExtent(ino, offset, part(extent, 0, kept))
  draft.putExtent(file, 0, cut)
  const mode = S_IFREG | 0o600
  draft.putInode(file, { ...emptyInode(volume, mode, now), size: over, bytes: over })
  draft.inodesDelta++
  lost.take(file, S_IFREG >>> 12)
  edit(draft, ino, (inode) => {
    inode.bytes -= over
  })
  return true
}

function part(extent: Extent, from: number, to: number): Extent {
  switch (extent.kind) {
    case 'chunk':
      return { ...extent, length: to - from, at: extent.at + from }
    case 'inline':
      return { kind: 'inline', length: to - from, data: extent.data.subarray(from, to) }
    case 'zero':
      return { kind: 'zero', length: to - from }
  }
}
