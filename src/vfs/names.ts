import { assert, FsError, type Ino, limits } from '../base/index.ts'
import {
  copyInode,
  type Dirent,
  decodeDirents,
  type Inode,
  keys,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
} from '../meta/index.ts'
import type { Draft } from '../store/index.ts'
import { inheritAcl, noAcls } from './acl.ts'
import { settledInode } from './settled-inode.ts'
import type { Attributes, Caller, Request, VolumeFs } from './volume-fs.ts'

/** Operations on names: what changes a directory. Checks of permission are the kernel's (default_permissions). */

const S_ISGID = 0o2000
export const RENAME_NOREPLACE = 1
export const RENAME_EXCHANGE = 2

export function lookup(fs: VolumeFs, parent: Ino, name: Buffer): Attributes | null {
  fs.directory(parent)
  if (name.length === 1 && name[0] === 0x2e) return fs.attributes(parent)
  if (name.length === 2 && name[0] === 0x2e && name[1] === 0x2e) {
    return fs.attributes(fs.inode(parent).parent)
  }
  const entry = fs.entry(parent, name)
  return entry ? fs.attributes(entry.ino) : null
}

export interface Creation {
  /** Type and permission bits as the caller gave them; `umask` not yet applied. */
  mode: number
  umask: number
  rdev?: number
  target?: Buffer
}

/** mknod, mkdir, symlink, create: a new inode under a new name. @throws EEXIST, ENOENT, ENOTDIR, EMLINK, ENAMETOOLONG */
export function create(
  fs: VolumeFs,
  request: Request | null,
  caller: Caller,
  parent: Ino,
  name: Buffer,
  creation: Creation,
): Attributes {
  return fs.change(
    request,
    (draft) => {
      const directory = linkableDirectory(fs, parent)
      if (fs.entry(parent, name)) throw new FsError('EEXIST', 'create', { parent })
      const ino = newInode(fs, draft, caller, parent, directory, creation)
      const isDirectory = (creation.mode & S_IFMT) === S_IFDIR
      if (isDirectory && directory.nlink >= limits.linkCountMax) {
        throw new FsError('EMLINK', 'create', { parent })
      }
      fs.putEntry(draft, parent, { ino, type: (creation.mode & S_IFMT) >>> 12, name })
      touchDirectory(fs, draft, parent, directory, 1, isDirectory ? 1 : 0)
      return fs.attributes(ino)
    },
    (attributes) => attributes.ino,
  )
}

/** O_TMPFILE: an inode without a name. It goes when the kernel forgets it, unless it was linked meanwhile. */
export function tmpfile(
  fs: VolumeFs,
  request: Request | null,
  caller: Caller,
  parent: Ino,
  creation: Creation,
): Attributes {
  return fs.change(
    request,
    (draft) => {
      const ino = newInode(fs, draft, caller, parent, linkableDirectory(fs, parent), creation)
      const inode = copyInode(fs.inode(ino))
      inode.nlink = 0
      fs.putInode(draft, ino, inode)
      makeOrphan(fs, draft, ino)
      return { ino, inode }
    },
    (attributes) => attributes.ino,
  )
}

function newInode(
  fs: VolumeFs,
  draft: Draft,
  caller: Caller,
  parent: Ino,
  directory: Inode,
  creation: Creation,
): Ino {
  const ino = fs.volume.newIno()
  const type = creation.mode & S_IFMT
  const isDirectory = type === S_IFDIR
  const { mode, acls } =
    type === S_IFLNK
      ? { mode: creation.mode, acls: noAcls }
      : inheritAcl(fs, draft, parent, directory, creation)
  const inherited = acls(ino)
  const setgid = (directory.mode & S_ISGID) !== 0
  const now = fs.now()
  fs.putInode(draft, ino, {
    mode: isDirectory && setgid ? mode | S_ISGID : mode,
    nlink: isDirectory ? 2 : 1,
    uid: caller.uid,
    gid: setgid ? directory.gid : caller.gid,
    rdev: creation.rdev ?? 0,
    size: creation.target?.length ?? 0,
    bytes: 0,
    atime: now,
    mtime: now,
    ctime: now,
    btime: now,
    generation: fs.volume.shared.epoch,
    version: 0,
    timesSetAt: 0,
    dataThrough: 0,
    xattrs: inherited.length > 0,
    parent: isDirectory ? parent : (0 as Ino),
    target: creation.target ? Buffer.from(creation.target) : null,
  })
  for (const { key, value } of inherited) draft.put(key, value)
  draft.inodesDelta++
  return ino
}

export function link(
  fs: VolumeFs,
  request: Request,
  ino: Ino,
  parent: Ino,
  name: Buffer,
): Attributes {
  fs.flush(ino)
  return fs.change(
    request,
    (draft) => {
      const directory = linkableDirectory(fs, parent)
      const inode = fs.inode(ino)
      if ((inode.mode & S_IFMT) === S_IFDIR) throw new FsError('EPERM', 'link', { ino })
      if (inode.nlink >= limits.linkCountMax) throw new FsError('EMLINK', 'link', { ino })
      if (fs.entry(parent, name)) throw new FsError('EEXIST', 'link', { parent })
      fs.putEntry(draft, parent, { ino, type: (inode.mode & S_IFMT) >>> 12, name })
      touchDirectory(fs, draft, parent, directory, 1, 0)
      if (inode.nlink === 0) keepOrphan(fs, draft, ino)
      const linked = settledInode(fs, ino)
      linked.nlink++
      linked.ctime = fs.now()
      fs.putInode(draft, ino, linked)
      return fs.attributes(ino)
    },
    (attributes) => attributes.ino,
  )
}

export function unlink(fs: VolumeFs, request: Request, parent: Ino, name: Buffer): Ino {
  return fs.change(
    request,
    (draft) => {
      const entry = existing(fs, parent, name, 'unlink')
      if (entry.type === S_IFDIR >>> 12) throw new FsError('EISDIR', 'unlink', { parent })
      fs.removeEntry(draft, parent, name)
      touchDirectory(fs, draft, parent, fs.directory(parent), -1, 0)
      dropLink(fs, draft, entry.ino)
      return entry.ino
    },
    undefined,
    true,
  )
}

export function rmdir(fs: VolumeFs, request: Request, parent: Ino, name: Buffer): Ino {
  return fs.change(
    request,
    (draft) => {
      if (isDots(name)) throw new FsError(name.length === 1 ? 'EINVAL' : 'ENOTEMPTY', 'rmdir')
      const entry = existing(fs, parent, name, 'rmdir')
      const inode = fs.directory(entry.ino)
      if (inode.size > 0) throw new FsError('ENOTEMPTY', 'rmdir', { ino: entry.ino })
      fs.removeEntry(draft, parent, name)
      touchDirectory(fs, draft, parent, fs.directory(parent), -1, -1)
      dropDirectory(fs, draft, entry.ino)
      return entry.ino
    },
    undefined,
    true,
  )
}

/**
 * rename(2) and renameat2(2) with NOREPLACE or EXCHANGE.
 * @throws ENOENT, EEXIST, ENOTEMPTY, EISDIR, ENOTDIR, EINVAL (into its own child, or unknown flags)
 */
export function rename(
  fs: VolumeFs,
  request: Request,
  from: { parent: Ino; name: Buffer },
  to: { parent: Ino; name: Buffer },
  flags: number,
): void {
  if (flags !== 0 && flags !== RENAME_NOREPLACE && flags !== RENAME_EXCHANGE) {
    throw new FsError('EINVAL', 'rename', { flags })
  }
  const moving = fs.entry(from.parent, from.name)
  if (moving) fs.flush(moving.ino)
  fs.change(request, (draft) => {
    const source = existing(fs, from.parent, from.name, 'rename')
    linkableDirectory(fs, to.parent)
    const target = fs.entry(to.parent, to.name)
    if (flags === RENAME_EXCHANGE) {
      if (!target) throw new FsError('ENOENT', 'rename', { parent: to.parent })
      exchange(fs, draft, from, source, to, target)
      return
    }
    if (target && flags === RENAME_NOREPLACE) throw new FsError('EEXIST', 'rename', {})
    if (target?.ino === source.ino) return
    const isDirectory = source.type === S_IFDIR >>> 12
    if (isDirectory) refuseLoop(fs, source.ino, to.parent)
    if (target) replaceTarget(fs, draft, source, target)
    fs.removeEntry(draft, from.parent, from.name)
    const { ino, type } = source
    fs.putEntry(draft, to.parent, { ino, type, name: to.name })
    const moves = from.parent !== to.parent
    const replaced = target ? 1 : 0
    const replacedDirectory = target && isDirectory ? 1 : 0
    const sub = isDirectory ? 1 : 0
    if (moves) {
      touchDirectory(fs, draft, from.parent, fs.directory(from.parent), -1, -sub)
      const gained = sub - replacedDirectory
      touchDirectory(fs, draft, to.parent, fs.directory(to.parent), 1 - replaced, gained)
    } else {
      const directory = fs.directory(from.parent)
      touchDirectory(fs, draft, from.parent, directory, -replaced, -replacedDirectory)
    }
    const inode = settledInode(fs, ino)
    inode.ctime = fs.now()
    if (isDirectory) inode.parent = to.parent
    fs.putInode(draft, ino, inode)
  })
}

function replaceTarget(fs: VolumeFs, draft: Draft, source: Dirent, target: Dirent): void {
  const isDirectory = source.type === S_IFDIR >>> 12
  if (target.type === S_IFDIR >>> 12) {
    if (!isDirectory) throw new FsError('EISDIR', 'rename', { ino: target.ino })
    if (fs.directory(target.ino).size > 0) {
      throw new FsError('ENOTEMPTY', 'rename', { ino: target.ino })
    }
    dropDirectory(fs, draft, target.ino)
  } else {
    if (isDirectory) throw new FsError('ENOTDIR', 'rename', { ino: target.ino })
    dropLink(fs, draft, target.ino)
  }
}

function exchange(
  fs: VolumeFs,
  draft: Draft,
  from: { parent: Ino; name: Buffer },
  source: Dirent,
  to: { parent: Ino; name: Buffer },
  target: Dirent,
): void {
  const sourceIsDirectory = source.type === S_IFDIR >>> 12
  const targetIsDirectory = target.type === S_IFDIR >>> 12
  if (sourceIsDirectory) refuseLoop(fs, source.ino, to.parent)
  if (targetIsDirectory) refuseLoop(fs, target.ino, from.parent)
  fs.putEntry(draft, from.parent, { ...target, name: from.name })
  fs.putEntry(draft, to.parent, { ...source, name: to.name })
  const moved =
    from.parent === to.parent ? 0 : Number(sourceIsDirectory) - Number(targetIsDirectory)
  touchDirectory(fs, draft, from.parent, fs.directory(from.parent), 0, -moved)
  if (from.parent !== to.parent) {
    touchDirectory(fs, draft, to.parent, fs.directory(to.parent), 0, moved)
  }
  const now = fs.now()
  for (const [entry, parent] of [
    [source, to.parent],
    [target, from.parent],
  ] as const) {
    const inode = settledInode(fs, entry.ino)
    inode.ctime = now
    if (entry.type === S_IFDIR >>> 12) inode.parent = parent
    fs.putInode(draft, entry.ino, inode)
  }
}

/** The kernel gives up its last reference to an inode: a nameless one goes. Nobody waits for that. */
export function forget(fs: VolumeFs, ino: Ino): void {
  if (!fs.orphans.delete(ino)) return
  fs.dropInode(ino)
  fs.staged.forget(ino)
  if (fs.volume.shared.forgotten.push(ino)) fs.wakeEngine()
  else fs.world.purge([ino])
}

/** No kernel knows an inode any more, but for those that were nameless before this thread began. */
export function forgetAll(fs: VolumeFs): void {
  for (const ino of [...fs.orphans]) if (!fs.inherited.has(ino)) forget(fs, ino)
}

export interface ListedEntry extends Dirent {
  /** Cookie behind this entry, as two halves: where READDIR goes on. */
  cookieHi: number
  cookieLo: number
}

/**
 * Entries of a directory behind a cookie (0, 0: from the start), in the order of their hashes. `.` and `..` have the
 * cookies 1 and 2. All names of one bucket share a cookie, so the last but one of a bucket has the cookie before it.
 * `accept` returns false when the reply is full.
 */
export function readdir(
  fs: VolumeFs,
  ino: Ino,
  cookieHi: number,
  cookieLo: number,
  accept: (entry: ListedEntry) => boolean,
): void {
  const directory = fs.directory(ino)
  if (cookieHi === 0 && cookieLo < 2) {
    const dots: ListedEntry[] = [
      { ino, type: 4, name: Buffer.from('.'), cookieHi: 0, cookieLo: 1 },
      { ino: directory.parent, type: 4, name: Buffer.from('..'), cookieHi: 0, cookieLo: 2 },
    ]
    for (const dot of dots.slice(cookieLo)) if (!accept(dot)) return
  }
  const start = Buffer.alloc(18)
  keys.startOfIno(keys.KIND.dirent, ino).copy(start)
  start.writeUInt32BE(cookieHi, 9)
  start.writeUInt32BE(cookieLo, 13)
  fs.overlay.settle(start)
  let previousHi = cookieHi
  let previousLo = cookieLo
  for (const [key, value] of fs.overlay.range(start, keys.endOfIno(keys.KIND.dirent, ino))) {
    const bucket = decodeDirents(value)
    const hi = key.readUInt32BE(9)
    const lo = key.readUInt32BE(13)
    let left = bucket.length
    for (const { ino, type, name } of bucket) {
      left -= 1
      const cookieHi = left === 0 ? hi : previousHi
      const cookieLo = left === 0 ? lo : previousLo
      if (!accept({ ino, type, name, cookieHi, cookieLo })) return
    }
    previousHi = hi
    previousLo = lo
  }
}

function existing(fs: VolumeFs, parent: Ino, name: Buffer, op: string): Dirent {
  fs.directory(parent)
  const entry = fs.entry(parent, name)
  if (!entry) throw new FsError('ENOENT', op, { parent })
  return entry
}

/** A directory that can get a new name: not one that was removed while somebody stands in it. */
function linkableDirectory(fs: VolumeFs, ino: Ino): Inode {
  const directory = fs.directory(ino)
  if (directory.nlink === 0) throw new FsError('ENOENT', 'create', { ino })
  return directory
}

function touchDirectory(
  fs: VolumeFs,
  draft: Draft,
  ino: Ino,
  directory: Inode,
  entries: number,
  subdirectories: number,
): void {
  const now = fs.now()
  const touched = copyInode(directory)
  touched.size += entries
  touched.nlink += subdirectories
  touched.mtime = now
  touched.ctime = now
  fs.putInode(draft, ino, touched)
}

function dropLink(fs: VolumeFs, draft: Draft, ino: Ino): void {
  const inode = settledInode(fs, ino)
  assert(inode.nlink > 0, 'a named inode has links')
  inode.nlink--
  inode.ctime = fs.now()
  fs.putInode(draft, ino, inode)
  if (inode.nlink === 0) makeOrphan(fs, draft, ino)
}

function dropDirectory(fs: VolumeFs, draft: Draft, ino: Ino): void {
  const inode = copyInode(fs.inode(ino))
  inode.nlink = 0
  inode.ctime = fs.now()
  fs.putInode(draft, ino, inode)
  makeOrphan(fs, draft, ino)
}

function makeOrphan(fs: VolumeFs, draft: Draft, ino: Ino): void {
  draft.put(keys.orphanKey(ino), Buffer.alloc(0))
  fs.orphans.add(ino)
}

function keepOrphan(fs: VolumeFs, draft: Draft, ino: Ino): void {
  draft.delete(keys.orphanKey(ino))
  fs.orphans.delete(ino)
}

/** @throws EINVAL when `directory` is `ino` or lies below it */
function refuseLoop(fs: VolumeFs, ino: Ino, directory: Ino): void {
  for (let at = directory; ; at = fs.directory(at).parent) {
    if (at === ino) throw new FsError('EINVAL', 'rename', { ino })
    if (at === fs.root) return
  }
}

function isDots(name: Buffer): boolean {
  return name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e))
}

export function readlink(fs: VolumeFs, ino: Ino): Buffer {
  const { target } = fs.inode(ino)
  if (!target) throw new FsError('EINVAL', 'readlink', { ino })
  return target
}
