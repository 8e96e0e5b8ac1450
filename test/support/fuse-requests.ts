/**
 * Requests as the kernel writes them, made without the codecs of src so that a mistake there cannot hide here.
 * Every builder gives a whole message, header included. Layouts: linux include/uapi/linux/fuse.h.
 */

/** Fields of the header a test cares about; the rest is zero. */
export interface Head {
  unique?: bigint
  uid?: number
  gid?: number
  pid?: number
  /** Bytes put behind the body as extensions; a multiple of 8. */
  extensions?: Buffer
}

export function u16(value: number): Buffer {
  const out = Buffer.alloc(2)
  out.writeUInt16LE(value)
  return out
}

export function u32(value: number): Buffer {
  const out = Buffer.alloc(4)
  out.writeUInt32LE(value)
  return out
}

/** Negative values as two's complement. */
export function u64(value: bigint | number): Buffer {
  const out = Buffer.alloc(8)
  out.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)))
  return out
}

/** A name with its NUL. */
export function cstr(name: string | Buffer): Buffer {
  return Buffer.concat([Buffer.from(name as string), Buffer.alloc(1)])
}

/** Node id of an inode; volume 0 inode 1 is the root of the namespace. */
export function nodeId(volume: number, ino: number): bigint {
  return (BigInt(volume) << 40n) | BigInt(ino)
}

export const ROOT_NODE = nodeId(0, 1)

/** A request of any opcode and body. */
export function request(opcode: number, node: bigint, head: Head, ...body: Buffer[]): Buffer {
  const extensions = head.extensions ?? Buffer.alloc(0)
  const rest = Buffer.concat([...body, extensions])
  return Buffer.concat([
    u32(40 + rest.length),
    u32(opcode),
    u64(head.unique ?? 2n),
    u64(node),
    u32(head.uid ?? 0),
    u32(head.gid ?? 0),
    u32(head.pid ?? 0),
    u16(extensions.length / 8),
    u16(0),
    rest,
  ])
}

type Name = string | Buffer

export const lookup = (parent: bigint, name: Name, head: Head = {}): Buffer =>
  request(1, parent, head, cstr(name))

export const forget = (node: bigint, nlookup: bigint | number, head: Head = {}): Buffer =>
  request(2, node, head, u64(nlookup))

export const getattr = (node: bigint, fh?: number, head: Head = {}): Buffer =>
  request(3, node, head, u32(fh === undefined ? 0 : 1), u32(0), u64(fh ?? 0))

export interface SetattrFields {
  valid: number
  fh?: number
  size?: bigint | number
  lock_owner?: bigint
  /** Nanoseconds since 1970, floored to seconds and the rest. */
  atimeNs?: bigint
  mtimeNs?: bigint
  ctimeNs?: bigint
  mode?: number
  uid?: number
  gid?: number
}

export function setattr(node: bigint, fields: SetattrFields, head: Head = {}): Buffer {
  const times = [fields.atimeNs ?? 0n, fields.mtimeNs ?? 0n, fields.ctimeNs ?? 0n]
  const nsec = times.map((ns) => ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n)
  const seconds = times.map((ns, i) => (ns - (nsec[i] as bigint)) / 1_000_000_000n)
  return request(
    4,
    node,
    head,
    u32(fields.valid),
    u32(0),
    u64(fields.fh ?? 0),
    u64(fields.size ?? 0),
    u64(fields.lock_owner ?? 0n),
    ...seconds.map(u64),
    ...nsec.map((ns) => u32(Number(ns))),
    u32(fields.mode ?? 0),
    u32(0),
    u32(fields.uid ?? 0),
    u32(fields.gid ?? 0),
    u32(0),
  )
}

export const readlink = (node: bigint, head: Head = {}): Buffer => request(5, node, head)

export const symlink = (parent: bigint, name: Name, target: Name, head: Head = {}): Buffer =>
  request(6, parent, head, cstr(name), cstr(target))

export const mknod = (
  parent: bigint,
  name: Name,
  mode: number,
  rdev = 0,
  umask = 0,
  head: Head = {},
): Buffer => request(8, parent, head, u32(mode), u32(rdev), u32(umask), u32(0), cstr(name))

export const mkdir = (
  parent: bigint,
  name: Name,
  mode: number,
  umask = 0,
  head: Head = {},
): Buffer => request(9, parent, head, u32(mode), u32(umask), cstr(name))

export const unlink = (parent: bigint, name: Name, head: Head = {}): Buffer =>
  request(10, parent, head, cstr(name))

export const rmdir = (parent: bigint, name: Name, head: Head = {}): Buffer =>
  request(11, parent, head, cstr(name))

export const rename = (
  parent: bigint,
  oldname: Name,
  newdir: bigint,
  newname: Name,
  head: Head = {},
): Buffer => request(12, parent, head, u64(newdir), cstr(oldname), cstr(newname))

export const rename2 = (
  parent: bigint,
  oldname: Name,
  newdir: bigint,
  newname: Name,
  flags: number,
  head: Head = {},
): Buffer =>
  request(45, parent, head, u64(newdir), u32(flags), u32(0), cstr(oldname), cstr(newname))

export const link = (parent: bigint, name: Name, oldnode: bigint, head: Head = {}): Buffer =>
  request(13, parent, head, u64(oldnode), cstr(name))

export const open = (node: bigint, flags: number, openFlags = 0, head: Head = {}): Buffer =>
  request(14, node, head, u32(flags), u32(openFlags))

export const read = (
  node: bigint,
  fh: number,
  offset: bigint | number,
  size: number,
  flags = 0,
  head: Head = {},
): Buffer => request(15, node, head, ...readBody(fh, offset, size, flags))

function readBody(fh: number, offset: bigint | number, size: number, flags: number): Buffer[] {
  return [u64(fh), u64(offset), u32(size), u32(0), u64(0), u32(flags), u32(0)]
}

export const write = (
  node: bigint,
  fh: number,
  offset: bigint | number,
  data: Buffer,
  flags = 0,
  writeFlags = 0,
  head: Head = {},
): Buffer =>
  request(
    16,
    node,
    head,
    u64(fh),
    u64(offset),
    u32(data.length),
    u32(writeFlags),
    u64(0),
    u32(flags),
    u32(0),
    data,
  )

export const statfs = (node: bigint, head: Head = {}): Buffer => request(17, node, head)

export const release = (
  node: bigint,
  fh: number,
  flags = 0,
  releaseFlags = 0,
  lockOwner = 0n,
  head: Head = {},
): Buffer => request(18, node, head, u64(fh), u32(flags), u32(releaseFlags), u64(lockOwner))

export const fsync = (node: bigint, fh: number, datasync = false, head: Head = {}): Buffer =>
  request(20, node, head, u64(fh), u32(datasync ? 1 : 0), u32(0))

/** The 16-byte form, agreed with FUSE_SETXATTR_EXT. */
export const setxattr = (
  node: bigint,
  name: Name,
  value: Buffer,
  flags = 0,
  setxattrFlags = 0,
  head: Head = {},
): Buffer =>
  request(
    21,
    node,
    head,
    u32(value.length),
    u32(flags),
    u32(setxattrFlags),
    u32(0),
    cstr(name),
    value,
  )

/** The 8-byte form of kernels and servers without FUSE_SETXATTR_EXT. */
export const setxattrCompat = (
  node: bigint,
  name: Name,
  value: Buffer,
  flags = 0,
  head: Head = {},
): Buffer => request(21, node, head, u32(value.length), u32(flags), cstr(name), value)

export const getxattr = (node: bigint, name: Name, size: number, head: Head = {}): Buffer =>
  request(22, node, head, u32(size), u32(0), cstr(name))

export const listxattr = (node: bigint, size: number, head: Head = {}): Buffer =>
  request(23, node, head, u32(size), u32(0))

export const removexattr = (node: bigint, name: Name, head: Head = {}): Buffer =>
  request(24, node, head, cstr(name))

export const flush = (node: bigint, fh: number, lockOwner = 0n, head: Head = {}): Buffer =>
  request(25, node, head, u64(fh), u32(0), u32(0), u64(lockOwner))

/** The 64-byte form with flags2 when flags has FUSE_INIT_EXT (bit 30), else the 16-byte one. */
export function init(minor: number, flags: number, flags2 = 0, head: Head = {}): Buffer {
  const body = [u32(7), u32(minor), u32(131072), u32(flags)]
  if (flags & (1 << 30)) body.push(u32(flags2), Buffer.alloc(44))
  return request(26, 0n, head, ...body)
}

export const opendir = (node: bigint, flags = 0, head: Head = {}): Buffer =>
  request(27, node, head, u32(flags), u32(0))

export const readdir = (
  node: bigint,
  fh: number,
  cookie: bigint | number,
  size: number,
  head: Head = {},
): Buffer => request(28, node, head, ...readBody(fh, cookie, size, 0))

export const readdirplus = (
  node: bigint,
  fh: number,
  cookie: bigint | number,
  size: number,
  head: Head = {},
): Buffer => request(44, node, head, ...readBody(fh, cookie, size, 0))

export const releasedir = (node: bigint, fh: number, head: Head = {}): Buffer =>
  request(29, node, head, u64(fh), u32(0), u32(0), u64(0))

export const fsyncdir = (node: bigint, fh: number, datasync = false, head: Head = {}): Buffer =>
  request(30, node, head, u64(fh), u32(datasync ? 1 : 0), u32(0))

export interface LockFields {
  fh: number
  owner: bigint
  start: bigint
  end: bigint
  type: number
  pid?: number
  lk_flags?: number
}

function lockRequest(opcode: number): (node: bigint, lock: LockFields, head?: Head) => Buffer {
  return (node, lock, head = {}) =>
    request(
      opcode,
      node,
      head,
      u64(lock.fh),
      u64(lock.owner),
      u64(lock.start),
      u64(lock.end),
      u32(lock.type),
      u32(lock.pid ?? 0),
      u32(lock.lk_flags ?? 0),
      u32(0),
    )
}

export const getlk = lockRequest(31)
export const setlk = lockRequest(32)
export const setlkw = lockRequest(33)

export const access = (node: bigint, mask: number, head: Head = {}): Buffer =>
  request(34, node, head, u32(mask), u32(0))

export const create = (
  parent: bigint,
  name: Name,
  flags: number,
  mode: number,
  umask = 0,
  head: Head = {},
): Buffer => request(35, parent, head, u32(flags), u32(mode), u32(umask), u32(0), cstr(name))

export const tmpfile = (
  parent: bigint,
  flags: number,
  mode: number,
  umask = 0,
  head: Head = {},
): Buffer => request(51, parent, head, u32(flags), u32(mode), u32(umask), u32(0), cstr('/'))

/** @param unique of the request to be interrupted */
export const interrupt = (unique: bigint, head: Head = {}): Buffer =>
  request(36, 0n, { unique: unique | 1n, ...head }, u64(unique))

export const destroy = (head: Head = {}): Buffer => request(38, 0n, head)

export const batchForget = (
  nodes: readonly { node: bigint; nlookup: bigint | number }[],
  head: Head = {},
): Buffer =>
  request(
    42,
    0n,
    head,
    u32(nodes.length),
    u32(0),
    ...nodes.flatMap((one) => [u64(one.node), u64(one.nlookup)]),
  )

export const fallocate = (
  node: bigint,
  fh: number,
  offset: bigint | number,
  length: bigint | number,
  mode: number,
  head: Head = {},
): Buffer => request(43, node, head, u64(fh), u64(offset), u64(length), u32(mode), u32(0))

export const lseek = (
  node: bigint,
  fh: number,
  offset: bigint | number,
  whence: number,
  head: Head = {},
): Buffer => request(46, node, head, u64(fh), u64(offset), u32(whence), u32(0))

export interface CopyFields {
  fh_in: number
  off_in: bigint | number
  nodeOut: bigint
  fh_out: number
  off_out: bigint | number
  len: bigint | number
}

function copyRequest(opcode: number): (node: bigint, copy: CopyFields, head?: Head) => Buffer {
  return (node, copy, head = {}) =>
    request(
      opcode,
      node,
      head,
      u64(copy.fh_in),
      u64(copy.off_in),
      u64(copy.nodeOut),
      u64(copy.fh_out),
      u64(copy.off_out),
      u64(copy.len),
      u64(0),
    )
}

export const copyFileRange = copyRequest(47)
export const copyFileRange64 = copyRequest(53)

export const syncfs = (node: bigint, head: Head = {}): Buffer => request(50, node, head, u64(0))

export const statx = (node: bigint, mask = 0xfff, fh?: number, head: Head = {}): Buffer =>
  request(52, node, head, u32(fh === undefined ? 0 : 1), u32(0), u64(fh ?? 0), u32(0), u32(mask))

export interface Reply {
  len: number
  error: number
  unique: bigint
  body: Buffer
}

/** An answer as the kernel would take it apart. Throws when its length is not what it says. */
export function parseReply(reply: Buffer): Reply {
  const len = reply.readUInt32LE(0)
  if (len !== reply.length) throw new Error(`answer says ${len} bytes and has ${reply.length}`)
  return {
    len,
    error: reply.readInt32LE(4),
    unique: reply.readBigUInt64LE(8),
    body: reply.subarray(16),
  }
}

export interface Dirent {
  ino: bigint
  off: bigint
  type: number
  name: string
  /** Node id of the entry before it; only in READDIRPLUS. */
  nodeid?: bigint
}

/** The entries in the body of a READDIR (`plus` false) or READDIRPLUS answer, padding checked as the kernel does. */
export function parseDirents(body: Buffer, plus: boolean): Dirent[] {
  const out: Dirent[] = []
  for (let at = 0; at < body.length; ) {
    const start = at
    const head = plus ? 128 : 0
    const dirent = at + head
    if (body.length - dirent < 24) throw new Error('entry is cut off')
    const namelen = body.readUInt32LE(dirent + 16)
    const end = dirent + 24 + namelen
    at = dirent + ((24 + namelen + 7) & ~7)
    if (at > body.length) throw new Error('name is cut off')
    if (body.subarray(end, at).some((byte) => byte !== 0)) throw new Error('padding is not zero')
    out.push({
      ino: body.readBigUInt64LE(dirent),
      off: body.readBigUInt64LE(dirent + 8),
      type: body.readUInt32LE(dirent + 20),
      name: body.toString('latin1', dirent + 24, end),
      ...(plus ? { nodeid: body.readBigUInt64LE(start) } : {}),
    })
  }
  return out
}
