import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ProtocolError } from '../../../src/base/index.ts'
import { OPCODES } from '../../../src/fuse/opcodes.ts'
import * as wire from '../../../src/fuse/wire/index.ts'
import * as make from '../../support/fuse-requests.ts'

/** Struct bytes below are what a C program printed with <linux/fuse.h> for the values the tests name. */

const VOLUME = 0xabcdef
const INO = 0x1234567890
const OWNER = 0xfedcba9876543210n
const OFFSET_MAX = 2n ** 63n - 1n

const bytes = (hex: string, ...rest: (string | Buffer)[]): Buffer =>
  Buffer.concat([Buffer.from(hex, 'hex'), ...rest.map((part) => Buffer.from(part as string))])

/** Decode a body that stands in the middle of a larger buffer, so that `at` and `end` are put to use. */
function inside<T>(body: Buffer, decode: (buf: Buffer, at: number, end: number) => T): T {
  const buf = Buffer.concat([Buffer.alloc(13, 0xaa), body, Buffer.alloc(9, 0xbb)])
  return decode(buf, 13, 13 + body.length)
}

/** The body of a whole message as a decoder gets it from decodeHeader. */
function decodeWhole<T>(message: Buffer, decode: (buf: Buffer, at: number, end: number) => T): T {
  const header = wire.newRequestHeader()
  wire.decodeHeader(message, message.length, header)
  return decode(message, wire.IN_HEADER_BYTES, header.bodyEnd)
}

const throwsProtocol = (call: () => unknown, what: RegExp): void =>
  assert.throws(
    call,
    (error: unknown) =>
      error instanceof ProtocolError &&
      !(error instanceof wire.OffsetTooBigError) &&
      what.test(error.message),
  )

const throwsTooBig = (call: () => unknown): void =>
  assert.throws(call, (error: unknown) => error instanceof wire.OffsetTooBigError)

test('a header is taken apart without losing a bit of unique or node id', () => {
  const golden = bytes(
    '380000000300000004000000050000809078563412efcdabe8030000e90300009210000002000000',
    Buffer.alloc(16),
  )
  const header = wire.newRequestHeader()
  wire.decodeHeader(golden, 56, header)
  assert.equal(header, {
    len: 56,
    opcode: OPCODES.GETATTR.code,
    uniqueLo: 4,
    uniqueHi: 0x80000005,
    nodeLo: 0x34567890,
    nodeHi: 0xabcdef12,
    uid: 1000,
    gid: 1001,
    pid: 4242,
    totalExtlen: 2,
    bodyEnd: 40,
  })
  assert.is(wire.nodeVolume(header.nodeHi), VOLUME)
  assert.is(wire.nodeIno(header.nodeLo, header.nodeHi), INO)
  assert.ok(wire.isResend(header.uniqueHi))
  assert.not.ok(wire.isResend(0x7fffffff))
})

test('the largest and the smallest node id come apart exactly', () => {
  assert.is(wire.nodeVolume(0xffffffff), 2 ** 24 - 1)
  assert.is(wire.nodeIno(0xffffffff, 0xffffffff), 2 ** 40 - 1)
  assert.is(wire.nodeVolume(0), 0)
  assert.is(wire.nodeIno(wire.FUSE_ROOT_ID, 0), 1)
})

test('a header is refused when the length is not what was read, or extensions leave no room for it', () => {
  const header = wire.newRequestHeader()
  const message = make.getattr(make.ROOT_NODE)
  throwsProtocol(() => wire.decodeHeader(message, 39, header), /39 bytes/)
  throwsProtocol(() => wire.decodeHeader(message, 55, header), /says 56/)
  throwsProtocol(() => wire.decodeHeader(message.subarray(0, 50), 56, header), /56 bytes/)
  message.writeUInt16LE(3, 36)
  throwsProtocol(() => wire.decodeHeader(message, 56, header), /24 bytes of extensions/)
  message.writeUInt16LE(2, 36)
  wire.decodeHeader(message, 56, header)
  assert.is(header.bodyEnd, 40)
})

test('extensions behind a body are no part of it', () => {
  const message = make.mkdir(1n, 'd', 0o755, 0o22, { extensions: Buffer.alloc(16, 0x61) })
  assert.equal(decodeWhole(message, wire.decodeMkdir), {
    mode: 0o755,
    umask: 0o22,
    name: Buffer.from('d'),
  })
})

test('INIT gives flags2 only when the kernel says that it is there', () => {
  const golden = bytes(`070000002d00000000000200fbffff73fd070000${'00'.repeat(44)}`)
  assert.equal(inside(golden, wire.decodeInit), {
    major: 7,
    minor: 45,
    max_readahead: 131072,
    flags: 0x73fffffb,
    flags2: 0x7fd,
  })
  const old = decodeWhole(make.init(31, 0x03fffffb), wire.decodeInit)
  assert.equal(old, { major: 7, minor: 31, max_readahead: 131072, flags: 0x03fffffb, flags2: 0 })
  const short = bytes('070000002d00000000000200fbffff73')
  throwsProtocol(() => inside(short, wire.decodeInit), /INIT: body of 16/)
})

test('GETATTR, LOOKUP, READ, WRITE and READDIR fill the object they are given', () => {
  const getattrIn = wire.newGetattrIn()
  inside(bytes('01000000000000009078563412000000'), (buf, at, end) =>
    wire.decodeGetattr(buf, at, end, getattrIn),
  )
  assert.equal(getattrIn, { getattr_flags: wire.FUSE_GETATTR_FH, fh: INO })

  const lookupIn = wire.newLookupIn()
  inside(bytes('', 'name\0'), (buf, at, end) => wire.decodeLookup(buf, at, end, lookupIn))
  assert.equal(lookupIn, { nameAt: 13, nameEnd: 17 })

  const readIn = wire.newReadIn()
  inside(
    bytes('907856341200000000f0ffffffff0100000010000200000001000000000000000040000000000000'),
    (buf, at, end) => wire.decodeRead(buf, at, end, readIn),
  )
  assert.equal(readIn, {
    fh: INO,
    offset: 0x1fffffffff000,
    size: 1048576,
    read_flags: 2,
    flags: 0o40000,
  })

  const writeIn = wire.newWriteIn()
  inside(
    bytes(
      '907856341200000000f0ffffffff0100040000000300000001000000000000000104000000000000',
      'data',
    ),
    (buf, at, end) => wire.decodeWrite(buf, at, end, writeIn),
  )
  assert.equal(writeIn, {
    fh: INO,
    offset: 0x1fffffffff000,
    size: 4,
    write_flags: wire.FUSE_WRITE_CACHE | wire.FUSE_WRITE_LOCKOWNER,
    flags: 0o2001,
    dataAt: 53,
  })

  const readdirIn = wire.newReaddirIn()
  decodeWhole(make.readdir(1n, 9, 0x7000000000000002n, 4096), (buf, at, end) =>
    wire.decodeReaddir(buf, at, end, readdirIn),
  )
  assert.equal(readdirIn, { fh: 9, cookieLo: 2, cookieHi: 0x70000000, size: 4096 })
})

test('SETATTR keeps nanoseconds, times before 1970 and the lock owner whole', () => {
  const golden = bytes(
    'ff0f0000000000000700000000000000ffffffffffff1f001032547698badcfefbffffffffffffff00f1536500000000' +
      '030000000000000004000000ffc99a3b06000000ed01000000000000e8030000feffffff00000000',
  )
  assert.equal(inside(golden, wire.decodeSetattr), {
    valid: 0xfff,
    fh: 7,
    size: 2 ** 53 - 1,
    lock_owner: OWNER,
    atime: -5,
    atimensec: 4,
    mtime: 1700000000,
    mtimensec: 999999999,
    ctime: 3,
    ctimensec: 6,
    mode: 0o755,
    uid: 1000,
    gid: 4294967294,
  })
})

test('SETATTR looks at size, handle and owner only where their bit is set', () => {
  const ignored = make.setattr(1n, { valid: wire.FATTR_MODE, size: 2n ** 63n, mode: 0o600 })
  assert.is(decodeWhole(ignored, wire.decodeSetattr).size, 0)
  const sized = make.setattr(1n, { valid: wire.FATTR_SIZE, size: 2n ** 53n })
  throwsTooBig(() => decodeWhole(sized, wire.decodeSetattr))
})

test('SETATTR clamps seconds that no number holds and refuses a second of nanoseconds', () => {
  const message = make.setattr(1n, { valid: wire.FATTR_ATIME | wire.FATTR_MTIME })
  message.writeBigInt64LE(2n ** 62n, 40 + 32)
  message.writeBigInt64LE(-(2n ** 62n), 40 + 40)
  const setattrIn = decodeWhole(message, wire.decodeSetattr)
  assert.is(setattrIn.atime, Number.MAX_SAFE_INTEGER)
  assert.is(setattrIn.mtime, Number.MIN_SAFE_INTEGER)
  message.writeUInt32LE(1_000_000_000, 40 + 60)
  throwsProtocol(() => decodeWhole(message, wire.decodeSetattr), /nanoseconds/)
})

test('what makes, moves and links names is decoded with its names', () => {
  const high = Buffer.from([0xff, 0xfe, 0x01])
  assert.equal(inside(bytes('a4210000010500001200000000000000', 'n\0'), wire.decodeMknod), {
    mode: 0o20644,
    rdev: 0x501,
    umask: 0o22,
    name: Buffer.from('n'),
  })
  assert.equal(inside(bytes('ed01000012000000', high, '\0'), wire.decodeMkdir), {
    mode: 0o755,
    umask: 0o22,
    name: high,
  })
  assert.equal(inside(bytes('', 's\0../ziel\0'), wire.decodeSymlink), {
    name: Buffer.from('s'),
    target: Buffer.from('../ziel'),
  })
  assert.equal(inside(bytes('9078563412efcdab', 'h\0'), wire.decodeLink), {
    oldVolume: VOLUME,
    oldIno: INO,
    name: Buffer.from('h'),
  })
  const moved = {
    newdirVolume: VOLUME,
    newdirIno: INO,
    oldname: Buffer.from('old'),
    newname: Buffer.from('n'),
  }
  const renamed = inside(bytes('9078563412efcdab', 'old\0n\0'), wire.decodeRename)
  assert.equal(renamed, { ...moved, flags: 0 })
  const exchanged = inside(
    bytes('9078563412efcdab0200000000000000', 'old\0n\0'),
    wire.decodeRename2,
  )
  assert.equal(exchanged, { ...moved, flags: wire.RENAME_EXCHANGE })
  assert.equal(inside(bytes('', 'gone\0'), wire.decodeName), Buffer.from('gone'))
})

test('a name of any length passes, one without its NUL or with bytes behind it does not', () => {
  assert.is(inside(bytes('', 'x'.repeat(4096), '\0'), wire.decodeName).length, 4096)
  for (const body of ['', 'x', 'x\0y', 'x\0\0', 'x\0y\0']) {
    throwsProtocol(() => inside(bytes('', body), wire.decodeName), /name/)
    const into = wire.newLookupIn()
    const decode = (buf: Buffer, at: number, end: number) => wire.decodeLookup(buf, at, end, into)
    throwsProtocol(() => inside(bytes('', body), decode), /name/)
  }
  throwsProtocol(() => inside(bytes('', 'only\0'), wire.decodeSymlink), /NUL/)
  throwsProtocol(() => inside(bytes('', 'a\0b\0c\0'), wire.decodeSymlink), /behind/)
})

test('opening, closing and syncing are decoded', () => {
  assert.equal(inside(bytes('0104000001000000'), wire.decodeOpen), {
    flags: 0o2001,
    open_flags: wire.FUSE_OPEN_KILL_SUIDGID,
  })
  assert.equal(inside(bytes('42000000a48100001200000001000000', 'c\0'), wire.decodeCreate), {
    flags: 0o102,
    mode: 0o100644,
    umask: 0o22,
    open_flags: 1,
    name: Buffer.from('c'),
  })
  assert.equal(
    inside(bytes('090000000000000002000000030000001032547698badcfe'), wire.decodeRelease),
    { fh: 9, flags: 2, release_flags: 3, lock_owner: OWNER },
  )
  assert.equal(
    inside(bytes('090000000000000000000000000000001032547698badcfe'), wire.decodeFlush),
    { fh: 9, lock_owner: OWNER },
  )
  assert.equal(inside(bytes('09000000000000000100000000000000'), wire.decodeFsync), {
    fh: 9,
    fsync_flags: wire.FUSE_FSYNC_FDATASYNC,
  })
  assert.is(inside(bytes('0600000000000000'), wire.decodeAccess), 6)
  inside(bytes('0000000000000000'), wire.decodeSyncfs)
  inside(bytes(''), wire.decodeEmpty)
  throwsProtocol(() => inside(bytes('00'), wire.decodeEmpty), /none expected/)
})

test('SETXATTR is decoded in both forms, and only with all of its value', () => {
  const short = (buf: Buffer, at: number, end: number) => wire.decodeSetxattr(buf, at, end, false)
  const long = (buf: Buffer, at: number, end: number) => wire.decodeSetxattr(buf, at, end, true)
  const golden = bytes('03000000010000000100000000000000', 'user.a\0v\0w')
  assert.equal(inside(golden, long), {
    flags: wire.XATTR_CREATE,
    setxattr_flags: wire.FUSE_SETXATTR_ACL_KILL_SGID,
    name: Buffer.from('user.a'),
    value: Buffer.from('v\0w'),
  })
  assert.equal(inside(bytes('0300000001000000', 'user.a\0v\0w'), short), {
    flags: wire.XATTR_CREATE,
    setxattr_flags: 0,
    name: Buffer.from('user.a'),
    value: Buffer.from('v\0w'),
  })
  const empty = decodeWhole(make.setxattr(1n, 'user.e', Buffer.alloc(0)), long)
  assert.is(empty.value.length, 0)
  throwsProtocol(() => inside(golden.subarray(0, -1), long), /3 bytes with 2/)
  throwsProtocol(() => inside(bytes('', golden, 'x'), long), /3 bytes with 4/)
})

test('GETXATTR and LISTXATTR give the room the caller has', () => {
  assert.equal(inside(bytes('0001000000000000', 'user.a\0'), wire.decodeGetxattr), {
    size: 256,
    name: Buffer.from('user.a'),
  })
  assert.is(inside(bytes('0001000000000000'), wire.decodeListxattr), 256)
})

test('lock owner and open-ended range keep all 64 bits', () => {
  const golden = bytes(
    '09000000000000001032547698badcfe0a00000000000000ffffffffffffff7f010000004d0000000100000000000000',
  )
  assert.equal(inside(golden, wire.decodeLk), {
    fh: 9,
    owner: OWNER,
    start: 10n,
    end: OFFSET_MAX,
    type: wire.F_WRLCK,
    pid: 77,
    lk_flags: wire.FUSE_LK_FLOCK,
  })
})

test('ranges are decoded, clamped where less is legal and EFBIG where it is not', () => {
  const hole = bytes('0900000000000000001000000000000000000000010000000300000000000000')
  assert.equal(inside(hole, wire.decodeFallocate), {
    fh: 9,
    offset: 4096,
    length: 2 ** 32,
    mode: wire.FALLOC_FL_KEEP_SIZE | wire.FALLOC_FL_PUNCH_HOLE,
  })
  const all = decodeWhole(make.fallocate(1n, 9, 0, OFFSET_MAX, 3), wire.decodeFallocate)
  assert.is(all.length, Number.MAX_SAFE_INTEGER)
  throwsTooBig(() => decodeWhole(make.fallocate(1n, 9, 0, OFFSET_MAX, 0), wire.decodeFallocate))
  throwsTooBig(() => decodeWhole(make.fallocate(1n, 9, 2n ** 53n, 1, 0), wire.decodeFallocate))

  assert.equal(
    inside(bytes('090000000000000000100000000000000300000000000000'), wire.decodeLseek),
    { fh: 9, offset: 4096, whence: wire.SEEK_DATA },
  )
  const negative = decodeWhole(make.lseek(1n, 9, -1, wire.SEEK_HOLE), wire.decodeLseek)
  assert.is(negative.offset, Number.MAX_SAFE_INTEGER)

  const copy = bytes(
    '090000000000000001000000000000009078563412efcdab0a0000000000000002000000000000000000000001000000' +
      '0000000000000000',
  )
  assert.equal(inside(copy, wire.decodeCopyFileRange), {
    fh_in: 9,
    off_in: 1,
    outVolume: VOLUME,
    outIno: INO,
    fh_out: 10,
    off_out: 2,
    len: 2 ** 32,
    flags: 0,
  })
  const fields = {
    fh_in: 1,
    off_in: OFFSET_MAX,
    nodeOut: 1n,
    fh_out: 2,
    off_out: 0,
    len: 2n ** 63n,
  }
  const clamped = decodeWhole(make.copyFileRange(1n, fields), wire.decodeCopyFileRange)
  assert.is(clamped.off_in, Number.MAX_SAFE_INTEGER)
  assert.is(clamped.len, Number.MAX_SAFE_INTEGER)
  const tooBig = make.copyFileRange64(1n, { ...fields, off_out: 2n ** 53n })
  throwsTooBig(() => decodeWhole(tooBig, wire.decodeCopyFileRange))
})

test('reading behind the largest offset is clamped, writing there is EFBIG, a handle so large is nonsense', () => {
  const readIn = wire.newReadIn()
  const decodeRead = (buf: Buffer, at: number, end: number) => wire.decodeRead(buf, at, end, readIn)
  decodeWhole(make.read(1n, 1, OFFSET_MAX, 4096), decodeRead)
  assert.is(readIn.offset, Number.MAX_SAFE_INTEGER)
  const writeIn = wire.newWriteIn()
  const decodeWrite = (buf: Buffer, at: number, end: number) =>
    wire.decodeWrite(buf, at, end, writeIn)
  decodeWhole(make.write(1n, 1, 2n ** 53n - 1n, Buffer.alloc(1)), decodeWrite)
  assert.is(writeIn.offset, Number.MAX_SAFE_INTEGER)
  throwsTooBig(() => decodeWhole(make.write(1n, 1, 2n ** 53n, Buffer.alloc(1)), decodeWrite))
  const handle = make.read(1n, 1, 0, 1)
  handle.writeUInt32LE(0x200000, 44)
  throwsProtocol(() => decodeWhole(handle, decodeRead), /fh/)
})

test('WRITE with less or more data than it says is refused', () => {
  const writeIn = wire.newWriteIn()
  const message = make.write(1n, 1, 0, Buffer.alloc(10))
  for (const size of [9, 11, 0xffffffff]) {
    message.writeUInt32LE(size, 40 + 16)
    throwsProtocol(
      () => decodeWhole(message, (buf, at, end) => wire.decodeWrite(buf, at, end, writeIn)),
      /with 10 of data/,
    )
  }
})

test('STATX, FORGET and INTERRUPT are decoded', () => {
  assert.equal(
    inside(bytes('0100000000000000090000000000000000400000ff0f0000'), wire.decodeStatx),
    { getattr_flags: 1, fh: 9, sx_flags: 0x4000, sx_mask: 0xfff },
  )
  assert.is(inside(bytes('0300000000000000'), wire.decodeForget), 3)
  assert.equal(inside(bytes('0400000005000080'), wire.decodeInterrupt), {
    uniqueLo: 4,
    uniqueHi: 0x80000005,
  })
})

test('BATCH_FORGET gives every node, or none when the count is wrong', () => {
  const given: unknown[] = []
  const decode = (buf: Buffer, at: number, end: number) =>
    wire.decodeBatchForget(buf, at, end, (lo, hi, nlookup) =>
      given.push([wire.nodeVolume(hi), wire.nodeIno(lo, hi), nlookup]),
    )
  const message = make.batchForget([
    { node: make.nodeId(VOLUME, INO), nlookup: 3 },
    { node: make.nodeId(1, 2), nlookup: 2n ** 64n - 1n },
  ])
  decodeWhole(message, decode)
  assert.equal(given, [
    [VOLUME, INO, 3],
    [1, 2, Number.MAX_SAFE_INTEGER],
  ])
  for (const count of [0, 1, 3, 0x10000002]) {
    message.writeUInt32LE(count, 40)
    throwsProtocol(() => decodeWhole(message, decode), /BATCH_FORGET/)
  }
  assert.is(given.length, 2)
})

/** What a real kernel sent must pass, and some of it is compared with what the recording program did. */
test('every request recorded from Linux 6.18 decodes', () => {
  const path = resolve(import.meta.dirname, '../../../..', RECORDED)
  const lines = readFileSync(path, 'utf8').split('\n')
  const seen = new Map<string, unknown>()
  for (const line of lines) {
    if (line === '' || line.startsWith('#')) continue
    const [name = '', hex = ''] = line.split(' ')
    const message = Buffer.from(hex, 'hex')
    const header = wire.newRequestHeader()
    wire.decodeHeader(message, message.length, header)
    seen.set(name, decodeAny(header.opcode, message, wire.IN_HEADER_BYTES, header.bodyEnd))
  }
  assert.ok(seen.size >= 41, `${seen.size} requests`)
  assert.equal(seen.get('SYMLINK'), { name: Buffer.from('s'), target: Buffer.from('ziel/x') })
  assert.equal(seen.get('MKDIR'), { mode: 0o777, umask: 0o22, name: Buffer.from('d') })
  const mknod = seen.get('MKNOD') as wire.MknodIn
  assert.equal([mknod.mode, mknod.rdev], [0o20600, 0x501])
  const utimens = seen.get('SETATTR48') as wire.SetattrIn
  assert.equal(
    [utimens.atime, utimens.atimensec, utimens.mtime, utimens.mtimensec],
    [-2, 500000000, 1700000000, 123456789],
  )
  const setxattr = seen.get('SETXATTR') as wire.SetxattrIn
  assert.equal([setxattr.name.toString(), setxattr.value.toString()], ['user.a', 'abc'])
  const copy = seen.get('COPY_FILE_RANGE_64') as wire.CopyFileRangeIn
  assert.equal([copy.off_in, copy.off_out, copy.len, copy.outVolume], [0, 500, 10, VOLUME])
  assert.equal((seen.get('TMPFILE') as wire.CreateIn).mode, 0o100600)
})

const RECORDED = 'test/fixtures/fuse-requests-linux-6.18.txt'

function decodeAny(opcode: number, buf: Buffer, at: number, end: number): unknown {
  switch (opcode) {
    case OPCODES.LOOKUP.code:
      return wire.decodeLookup(buf, at, end, wire.newLookupIn())
    case OPCODES.FORGET.code:
      return wire.decodeForget(buf, at, end)
    case OPCODES.GETATTR.code:
      return wire.decodeGetattr(buf, at, end, wire.newGetattrIn())
    case OPCODES.SETATTR.code:
      return wire.decodeSetattr(buf, at, end)
    case OPCODES.READLINK.code:
    case OPCODES.STATFS.code:
    case OPCODES.DESTROY.code:
      return wire.decodeEmpty(buf, at, end)
    case OPCODES.SYMLINK.code:
      return wire.decodeSymlink(buf, at, end)
    case OPCODES.MKNOD.code:
      return wire.decodeMknod(buf, at, end)
    case OPCODES.MKDIR.code:
      return wire.decodeMkdir(buf, at, end)
    case OPCODES.UNLINK.code:
    case OPCODES.RMDIR.code:
    case OPCODES.REMOVEXATTR.code:
      return wire.decodeName(buf, at, end)
    case OPCODES.RENAME.code:
      return wire.decodeRename(buf, at, end)
    case OPCODES.RENAME2.code:
      return wire.decodeRename2(buf, at, end)
    case OPCODES.LINK.code:
      return wire.decodeLink(buf, at, end)
    case OPCODES.OPEN.code:
    case OPCODES.OPENDIR.code:
      return wire.decodeOpen(buf, at, end)
    case OPCODES.CREATE.code:
    case OPCODES.TMPFILE.code:
      return wire.decodeCreate(buf, at, end)
    case OPCODES.READ.code:
      return wire.decodeRead(buf, at, end, wire.newReadIn())
    case OPCODES.WRITE.code:
      return wire.decodeWrite(buf, at, end, wire.newWriteIn())
    case OPCODES.READDIR.code:
    case OPCODES.READDIRPLUS.code:
      return wire.decodeReaddir(buf, at, end, wire.newReaddirIn())
    case OPCODES.RELEASE.code:
    case OPCODES.RELEASEDIR.code:
      return wire.decodeRelease(buf, at, end)
    case OPCODES.FLUSH.code:
      return wire.decodeFlush(buf, at, end)
    case OPCODES.FSYNC.code:
    case OPCODES.FSYNCDIR.code:
      return wire.decodeFsync(buf, at, end)
    case OPCODES.SETXATTR.code:
      return wire.decodeSetxattr(buf, at, end, true)
    case OPCODES.GETXATTR.code:
      return wire.decodeGetxattr(buf, at, end)
    case OPCODES.LISTXATTR.code:
      return wire.decodeListxattr(buf, at, end)
    case OPCODES.INIT.code:
      return wire.decodeInit(buf, at, end)
    case OPCODES.GETLK.code:
    case OPCODES.SETLK.code:
    case OPCODES.SETLKW.code:
      return wire.decodeLk(buf, at, end)
    case OPCODES.FALLOCATE.code:
      return wire.decodeFallocate(buf, at, end)
    case OPCODES.LSEEK.code:
      return wire.decodeLseek(buf, at, end)
    case OPCODES.COPY_FILE_RANGE.code:
    case OPCODES.COPY_FILE_RANGE_64.code:
      return wire.decodeCopyFileRange(buf, at, end)
    case OPCODES.STATX.code:
      return wire.decodeStatx(buf, at, end)
    default:
      throw new Error(`opcode ${opcode} has no decoder in this test`)
  }
}

test.run()
