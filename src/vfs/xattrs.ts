import { FsError, type Ino, limits } from '../base/index.ts'
import { decodeXattrs, encodeXattrs, keys } from '../meta/index.ts'
import type { Draft } from '../store/index.ts'
import { ACL_ACCESS, checkAcl, isPlainAcl, modeOfAcl } from './acl.ts'
import { settledInode } from './settled-inode.ts'
import type { Request, VolumeFs } from './volume-fs.ts'
import { bucketOf, find } from './xattr-bucket.ts'

/** Extended attributes: user, trusted, security and the POSIX ACLs; the kernel checks who may touch which. */

const XATTR_CREATE = 1
const XATTR_REPLACE = 2
/** Linux XATTR_LIST_MAX: a list that listxattr(2) could not return is refused at the set. */
const LIST_BYTES_MAX = 65_536
/** Name spaces of xattr(7); system has the ACLs alone. */
const PREFIXES = ['user.', 'trusted.', 'security.', 'system.posix_acl_']
const CAPABILITY = Buffer.from('security.capability')

/** Asked for once with every new file that is written (security.capability): its stack would cost more than the answer. */
const NO_SUCH_ATTRIBUTE = new FsError('ENODATA', 'getxattr')

/** @throws FsError ENODATA */
export function getxattr(fs: VolumeFs, ino: Ino, name: Buffer): Buffer {
  if (!fs.inode(ino).xattrs) throw NO_SUCH_ATTRIBUTE
  const value = fs.overlay.get(keys.xattrKey(ino, fs.hash(name)))
  const found = value && find(value, name)
  if (!found) throw NO_SUCH_ATTRIBUTE
  return found
}

/** @param trusted whether the caller may see trusted.*: who has CAP_SYS_ADMIN */
export function listxattr(fs: VolumeFs, ino: Ino, trusted: boolean): Buffer {
  if (!fs.inode(ino).xattrs) return Buffer.alloc(0)
  const start = keys.startOfIno(keys.KIND.xattr, ino)
  fs.overlay.settle(start)
  const names: Buffer[] = []
  for (const [, value] of fs.overlay.range(start, keys.endOfIno(keys.KIND.xattr, ino))) {
    for (const { name } of decodeXattrs(value)) {
      if (trusted || !startsWith(name, 'trusted.')) names.push(name, Buffer.of(0))
    }
  }
  return Buffer.concat(names)
}

/** @throws FsError EEXIST, ENODATA (by flags), ERANGE, E2BIG, ENOSPC (the list grew too long), EINVAL (a bad ACL) */
export function setxattr(
  fs: VolumeFs,
  request: Request,
  ino: Ino,
  name: Buffer,
  value: Buffer,
  flags: number,
  killSetgid: boolean,
): void {
  if (name.length > limits.xattrNameBytesMax) throw new FsError('ERANGE', 'setxattr', { ino })
  if (value.length > limits.xattrValueBytesMax) throw new FsError('E2BIG', 'setxattr', { ino })
  if (!PREFIXES.some((prefix) => startsWith(name, prefix))) {
    throw new FsError('EOPNOTSUPP', 'setxattr', { ino })
  }
  const listed = listxattr(fs, ino, true)
  fs.change(request, (draft) => {
    const inode = settledInode(fs, ino)
    const key = keys.xattrKey(ino, fs.hash(name))
    const bucket = bucketOf(draft.get(key))
    const exists = bucket.some((old) => old.name.equals(name))
    if (exists && flags & XATTR_CREATE) throw new FsError('EEXIST', 'setxattr', { ino })
    if (!exists && flags & XATTR_REPLACE) throw new FsError('ENODATA', 'setxattr', { ino })
    if (!exists && listed.length + name.length + 1 > LIST_BYTES_MAX) {
      throw new FsError('ENOSPC', 'setxattr', { ino })
    }
    if (name.equals(ACL_ACCESS)) {
      checkAcl(value)
      inode.mode = modeOfAcl(inode.mode, value)
      if (killSetgid) inode.mode &= ~0o2000
    }
    const kept = bucket.filter((old) => !old.name.equals(name))
    // An access ACL that says no more than the mode is the mode.
    if (!name.equals(ACL_ACCESS) || !isPlainAcl(value)) {
      kept.push({ name: Buffer.from(name), value: Buffer.from(value) })
    }
    if (kept.length > 0) draft.put(key, encodeXattrs(kept))
    else draft.delete(key)
    inode.xattrs = true
    inode.ctime = fs.now()
    fs.putInode(draft, ino, inode)
  })
}

export function removexattr(fs: VolumeFs, request: Request, ino: Ino, name: Buffer): void {
  fs.change(request, (draft) => {
    const key = keys.xattrKey(ino, fs.hash(name))
    const bucket = bucketOf(draft.get(key))
    const kept = bucket.filter((old) => !old.name.equals(name))
    if (kept.length === bucket.length) throw new FsError('ENODATA', 'removexattr', { ino })
    if (kept.length > 0) draft.put(key, encodeXattrs(kept))
    else draft.delete(key)
    fs.putInode(draft, ino, { ...settledInode(fs, ino), ctime: fs.now() })
  })
}

/** File capabilities do not survive a write or a change of owner. */
export function dropCapability(fs: VolumeFs, draft: Draft, ino: Ino): void {
  if (!fs.inode(ino).xattrs) return
  const key = keys.xattrKey(ino, fs.hash(CAPABILITY))
  const bucket = bucketOf(draft.get(key))
  if (!bucket.some((old) => old.name.equals(CAPABILITY))) return
  const kept = bucket.filter((old) => !old.name.equals(CAPABILITY))
  if (kept.length > 0) draft.put(key, encodeXattrs(kept))
  else draft.delete(key)
}

function startsWith(name: Buffer, prefix: string): boolean {
  return name.toString('latin1', 0, prefix.length) === prefix
}
