import { FsError, type Ino } from '../base/index.ts'
import { encodeXattrs, type Inode, keys, S_IFDIR, S_IFMT } from '../meta/index.ts'
import type { Draft } from '../store/index.ts'
import type { VolumeFs } from './volume-fs.ts'
import { find, putXattr } from './xattr-bucket.ts'

/**
 * POSIX ACLs. The kernel checks access by them (FUSE_POSIX_ACL); inheritance, and keeping mode and ACL in step, is
 * ours. Wire form: u32 version 2, then entries of u16 tag, u16 permissions, u32 id.
 * Source: linux include/uapi/linux/posix_acl_xattr.h; fs/posix_acl.c, posix_acl_create_masq and __posix_acl_chmod_masq.
 */
export const ACL_ACCESS = Buffer.from('system.posix_acl_access')
const ACL_DEFAULT = Buffer.from('system.posix_acl_default')

const VERSION = 2
const USER_OBJ = 0x01
const USER = 0x02
const GROUP_OBJ = 0x04
const GROUP = 0x08
const MASK = 0x10
const OTHER = 0x20

interface AclEntry {
  tag: number
  perm: number
  id: number
}

/** @throws FsError EINVAL */
export function checkAcl(value: Buffer): void {
  const tags = decode(value).map((entry) => entry.tag)
  for (const tag of [USER_OBJ, GROUP_OBJ, OTHER]) {
    if (tags.filter((other) => other === tag).length !== 1) throw new FsError('EINVAL', 'acl')
  }
}

/** An ACL of owner, group and others alone: the mode says it all. */
export function isPlainAcl(value: Buffer): boolean {
  return isPlain(decode(value))
}

/** The mode's permission bits as an access ACL says them: the group's are the mask's where there is one. */
export function modeOfAcl(mode: number, acl: Buffer): number {
  return (mode & ~0o777) | permissionBits(decode(acl))
}

/** Keep an access ACL in step with a chmod. */
export function chmodAcl(fs: VolumeFs, draft: Draft, ino: Ino, { mode, xattrs }: Inode): void {
  if (!xattrs) return
  const key = keys.xattrKey(ino, fs.hash(ACL_ACCESS))
  const acl = find(draft.get(key), ACL_ACCESS)
  if (!acl) return
  const entries = decode(acl)
  const group = entries.some((entry) => entry.tag === MASK) ? MASK : GROUP_OBJ
  for (const entry of entries) {
    if (entry.tag === USER_OBJ) entry.perm = (mode >> 6) & 7
    if (entry.tag === group) entry.perm = (mode >> 3) & 7
    if (entry.tag === OTHER) entry.perm = mode & 7
  }
  putXattr(draft, key, { name: ACL_ACCESS, value: encode(entries) })
}

export const noAcls = (): { key: Buffer; value: Buffer }[] => []

/**
 * Mode and ACLs of a new inode: the parent's default ACL masked by the mode, or, without one, the umask.
 * `acls` gives the attribute entries once the inode's number is known.
 */
export function inheritAcl(
  fs: VolumeFs,
  draft: Draft,
  parent: Ino,
  directory: Inode,
  { mode, umask }: { mode: number; umask: number },
): { mode: number; acls: (ino: Ino) => { key: Buffer; value: Buffer }[] } {
  const inherited =
    directory.xattrs && find(draft.get(keys.xattrKey(parent, fs.hash(ACL_DEFAULT))), ACL_DEFAULT)
  if (!inherited) return { mode: mode & ~umask, acls: noAcls }
  const entries = decode(inherited)
  const group = entries.some((entry) => entry.tag === MASK) ? MASK : GROUP_OBJ
  for (const entry of entries) {
    if (entry.tag === USER_OBJ) entry.perm &= mode >> 6
    if (entry.tag === group) entry.perm &= mode >> 3
    if (entry.tag === OTHER) entry.perm &= mode
  }
  const plain = isPlain(entries)
  const isDirectory = (mode & S_IFMT) === S_IFDIR
  return {
    mode: (mode & ~0o777) | permissionBits(entries),
    acls: (ino) => {
      const acls: { key: Buffer; value: Buffer }[] = []
      const add = (name: Buffer, value: Buffer) =>
        acls.push({
          key: keys.xattrKey(ino, fs.hash(name)),
          value: encodeXattrs([{ name, value }]),
        })
      if (!plain) add(ACL_ACCESS, encode(entries))
      if (isDirectory) add(ACL_DEFAULT, inherited)
      return acls
    },
  }
}

function isPlain(entries: readonly AclEntry[]): boolean {
  return entries.every((entry) => [USER_OBJ, GROUP_OBJ, OTHER].includes(entry.tag))
}

function permissionBits(entries: readonly AclEntry[]): number {
  const perm = (tag: number) => entries.find((entry) => entry.tag === tag)?.perm
  const group = perm(MASK) ?? perm(GROUP_OBJ) ?? 0
  return ((perm(USER_OBJ) ?? 0) << 6) | (group << 3) | (perm(OTHER) ?? 0)
}

function decode(value: Buffer): AclEntry[] {
  if (value.length < 4 || (value.length - 4) % 8 !== 0 || value.readUInt32LE(0) !== VERSION) {
    throw new FsError('EINVAL', 'acl')
  }
  const entries: AclEntry[] = []
  for (let at = 4; at < value.length; at += 8) {
    const tag = value.readUInt16LE(at)
    const perm = value.readUInt16LE(at + 2)
    if (![USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER].includes(tag) || perm > 7) {
      throw new FsError('EINVAL', 'acl')
    }
    entries.push({ tag, perm, id: value.readUInt32LE(at + 4) })
  }
  return entries
}

function encode(entries: readonly AclEntry[]): Buffer {
  const out = Buffer.allocUnsafe(4 + entries.length * 8)
  out.writeUInt32LE(VERSION, 0)
  for (const [index, { tag, perm, id }] of entries.entries()) {
    out.writeUInt16LE(tag, 4 + index * 8)
    out.writeUInt16LE(perm, 6 + index * 8)
    out.writeUInt32LE(id, 8 + index * 8)
  }
  return out
}
