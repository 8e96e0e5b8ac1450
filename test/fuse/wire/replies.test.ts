import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as wire from '../../../src/fuse/wire/index.ts'
import { nodeId, parseDirents, parseReply } from '../../support/fuse-requests.ts'

/** Expected bytes are what a C program printed with <linux/fuse.h> for the values the tests name. */

const VOLUME = 0xabcdef
const INO = 0x1234567890

const attr: wire.Attr = {
  volume: VOLUME,
  ino: INO,
  size: 2 ** 53 - 1,
  blocks: 2 ** 32 + 2,
  atime: -2,
  atimensec: 1,
  mtime: 1700000000,
  mtimensec: 999999999,
  ctime: 0x123456789,
  ctimensec: 3,
  btime: 1600000000,
  btimensec: 4,
  mode: 0o100644,
  nlink: 2,
  uid: 4294967294,
  gid: 1000,
  rdev: 0x12345678,
  blksize: 4096,
}

const ATTR_HEX =
  '9078563412efcdabffffffffffff1f000200000001000000feffffffffffffff00f1536500000000896745230100000' +
  '001000000ffc99a3b03000000a481000002000000feffffffe8030000785634120010000000000000'

/** What an encoder writes at an odd place of a dirty buffer; anything written outside is a failure. */
function written(encode: (buf: Buffer, at: number) => number): string {
  const buf = Buffer.alloc(600, 0xee)
  const end = encode(buf, 21)
  assert.ok(
    buf.subarray(0, 21).every((byte) => byte === 0xee),
    'wrote before its place',
  )
  assert.ok(
    buf.subarray(end).every((byte) => byte === 0xee),
    'wrote behind its end',
  )
  return buf.toString('hex', 21, end)
}

test('a reply header carries a negative errno and unique as it came', () => {
  const buf = Buffer.alloc(16, 0xee)
  wire.encodeReplyHeader(buf, 16, -2, 4, 0x80000005)
  assert.is(buf.toString('hex'), '10000000feffffff0400000005000080')
  assert.equal(parseReply(buf), {
    len: 16,
    error: -2,
    unique: 0x8000000500000004n,
    body: Buffer.alloc(0),
  })
})

test('attributes are laid out as fuse_attr, also alone in fuse_attr_out', () => {
  assert.is(
    written((buf, at) => wire.encodeAttr(buf, at, attr)),
    ATTR_HEX,
  )
  assert.is(
    written((buf, at) => wire.encodeAttrOut(buf, at, attr, 1500)),
    `01000000000000000065cd1d00000000${ATTR_HEX}`,
  )
})

test('an entry is laid out as fuse_entry_out', () => {
  const entry = { attr, generation: 0x100000007, entryValidMs: 3600001, attrValidMs: 2250 }
  const hex = `9078563412efcdab0700000001000000100e000000000000020000000000000040420f0080b2e60e${ATTR_HEX}`
  assert.is(
    written((buf, at) => wire.encodeEntry(buf, at, entry)),
    hex,
  )
  assert.is(
    written((buf, at) => wire.encodeCreateOut(buf, at, entry, INO, 0x22)),
    `${hex}90785634120000002200000000000000`,
  )
})

test('the root of the namespace has the node id that FUSE gives to a root', () => {
  const buf = Buffer.alloc(wire.ATTR_BYTES)
  wire.encodeAttr(buf, 0, { ...attr, volume: 0, ino: 1 })
  assert.is(buf.readBigUInt64LE(0), BigInt(wire.FUSE_ROOT_ID))
})

test('a negative entry is node id 0 and a life for the name', () => {
  const hex = written((buf, at) => wire.encodeNegativeEntry(buf, at, 2250))
  const expected = Buffer.alloc(wire.ENTRY_BYTES)
  expected.writeUInt32LE(2, 16)
  expected.writeUInt32LE(250_000_000, 32)
  assert.is(hex, expected.toString('hex'))
})

test('INIT announces flags2 by FUSE_INIT_EXT whenever it has one', () => {
  const init: wire.InitOut = {
    major: 7,
    minor: 45,
    max_readahead: 1048576,
    flags: wire.INIT_FLAGS.FUSE_ASYNC_READ | wire.INIT_FLAGS.FUSE_MAX_PAGES,
    flags2: wire.INIT_FLAGS2.FUSE_HAS_RESEND,
    max_background: 64,
    congestion_threshold: 48,
    max_write: 1048576,
    time_gran: 1,
    max_pages: 256,
    max_stack_depth: 0,
    request_timeout: 30,
  }
  assert.is(
    written((buf, at) => wire.encodeInitOut(buf, at, init)),
    '070000002d0000000000100001004040400030000000100001000000000100008000000000000000' +
      `1e00${'00'.repeat(22)}`,
  )
  const buf = Buffer.alloc(64)
  wire.encodeInitOut(buf, 0, { ...init, flags2: 0 })
  assert.is(buf.readUInt32LE(12) & wire.INIT_FLAGS.FUSE_INIT_EXT, 0)
})

test('the small answers are laid out as their structs', () => {
  const small: [string, (buf: Buffer, at: number) => number][] = [
    [
      '90785634120000002200000000000000',
      (buf, at) => wire.encodeOpenOut(buf, at, INO, wire.FOPEN_KEEP_CACHE | wire.FOPEN_NOFLUSH),
    ],
    ['0000100000000000', (buf, at) => wire.encodeWriteOut(buf, at, 1048576)],
    ['0000010000000000', (buf, at) => wire.encodeGetxattrSize(buf, at, 65536)],
    ['ffffffffffff1f00', (buf, at) => wire.encodeLseek(buf, at, 2 ** 53 - 1)],
    ['0000000001000000', (buf, at) => wire.encodeCopyFileRange64Out(buf, at, 2 ** 32)],
    [
      '0a00000000000000ffffffffffffff7f010000004d000000',
      (buf, at) =>
        wire.encodeLk(buf, at, { start: 10n, end: 2n ** 63n - 1n, type: wire.F_WRLCK, pid: 77 }),
    ],
  ]
  for (const [hex, encode] of small) assert.is(written(encode), hex)
})

test('STATFS is laid out as fuse_kstatfs with its spare fields zero', () => {
  const statfs = {
    blocks: 0x1000000001,
    bfree: 2,
    bavail: 3,
    files: 4,
    ffree: 5,
    bsize: 4096,
    namelen: 255,
    frsize: 4096,
  }
  assert.is(
    written((buf, at) => wire.encodeStatfs(buf, at, statfs)),
    '0100000010000000020000000000000003000000000000000400000000000000050000000000000000100000ff000000' +
      `00100000${'00'.repeat(28)}`,
  )
})

test('STATX carries the time of birth and device numbers taken apart', () => {
  assert.is(
    written((buf, at) => wire.encodeStatx(buf, at, attr, 1500)),
    `01000000000000000065cd1d${'00'.repeat(20)}` +
      'ff0f000000100000000000000000000002000000feffffffe8030000a48100009078563412efcdabffffffffffff1f00' +
      '02000000010000000000000000000000feffffffffffffff010000000000000000105e5f000000000400000000000000' +
      '8967452301000000030000000000000000f1536500000000ffc99a3b00000000' +
      `5604000078230100${'00'.repeat(120)}`,
  )
})

test('directory entries are aligned, padded with zeros and end where the limit does', () => {
  const buf = Buffer.alloc(400, 0xee)
  const names = ['a', '12345678', Buffer.from([0xff, 0xfe]).toString('latin1'), 'x'.repeat(255)]
  let at = 16
  const fitted: string[] = []
  names.forEach((name, i) => {
    const bytes = Buffer.from(name, 'latin1')
    const end = wire.encodeDirent(buf, at, 400, VOLUME, INO + i, i + 1, 0x70000000, 8, bytes)
    if (end === -1) return
    fitted.push(name)
    at = end
  })
  assert.equal(fitted, names)
  assert.is(at, 16 + 32 + 32 + 32 + 280)
  const dirents = parseDirents(buf.subarray(16, at), false)
  assert.equal(
    dirents,
    names.map((name, i) => ({
      ino: nodeId(VOLUME, INO + i),
      off: 0x7000000000000001n + BigInt(i),
      type: 8,
      name,
    })),
  )
  assert.ok(buf.subarray(at).every((byte) => byte === 0xee))
})

test('a directory entry that does not fit writes nothing and says so', () => {
  const buf = Buffer.alloc(64, 0xee)
  const name = Buffer.from('123456789')
  assert.is(wire.encodeDirent(buf, 0, 39, 1, 1, 1, 0, 4, name), -1)
  assert.ok(buf.every((byte) => byte === 0xee))
  assert.is(wire.encodeDirent(buf, 0, 40, 1, 1, 1, 0, 4, name), 40)
  assert.is(wire.encodeDirent(buf, 40, 4096, 1, 1, 1, 0, 4, name), -1, 'past the buffer itself')
})

test('READDIRPLUS puts an entry before each name, with node id 0 where none is given', () => {
  const buf = Buffer.alloc(1000, 0xee)
  const entry = { attr, generation: 1, entryValidMs: 1000, attrValidMs: 1000 }
  const dot = Buffer.from('.')
  const name = Buffer.from('name')
  const first = wire.encodeDirentPlus(buf, 0, 1000, null, VOLUME, 1, 1, 0, 4, dot)
  const second = wire.encodeDirentPlus(buf, first, 1000, entry, VOLUME, INO, 2, 0, 8, name)
  assert.is(first, 128 + 32)
  assert.is(wire.encodeDirentPlus(buf, second, second + 159, entry, 1, 1, 3, 0, 8, dot), -1)
  const dirents = parseDirents(buf.subarray(0, second), true)
  assert.equal(dirents, [
    { ino: nodeId(VOLUME, 1), off: 1n, type: 4, name: '.', nodeid: 0n },
    { ino: nodeId(VOLUME, INO), off: 2n, type: 8, name: 'name', nodeid: nodeId(VOLUME, INO) },
  ])
  assert.ok(buf.subarray(0, 128).every((byte) => byte === 0))
  assert.is(buf.toString('hex', first + 40, first + 128), ATTR_HEX)
})

test('the type of a directory entry is the type of the mode', () => {
  assert.equal(
    [0o100644, 0o40755, 0o120777, 0o20600, 0o60600, 0o10600, 0o140600].map(wire.direntType),
    [8, 4, 10, 2, 6, 1, 12],
  )
})

test('notifications have unique 0, their code as error and a name with its NUL', () => {
  const head = (len: number, code: number): string =>
    `${Buffer.from([len, 0, 0, 0, code, 0, 0, 0]).toString('hex')}0000000000000000`
  const name = Buffer.from('abc')
  const messages: [string, (buf: Buffer) => number][] = [
    [
      `${head(40, 2)}0500000000030000ffffffffffffffff0000000000000000`,
      (buf) => wire.encodeNotifyInvalInode(buf, 3, 5, -1, 0),
    ],
    [
      `${head(36, 3)}0500000000030000030000000100000061626300`,
      (buf) => wire.encodeNotifyInvalEntry(buf, 3, 5, name, wire.FUSE_EXPIRE_ONLY),
    ],
    [
      `${head(44, 6)}05000000000300000600000000030000030000000000000061626300`,
      (buf) => wire.encodeNotifyDelete(buf, 3, 5, 3, 6, name),
    ],
    [head(16, 7), (buf) => wire.encodeNotifyResend(buf)],
    [head(16, 8), (buf) => wire.encodeNotifyIncEpoch(buf)],
    [
      `${head(48, 9)}0200000000000000000000000000000005000000000300000600000000030000`,
      (buf) =>
        wire.encodeNotifyPrune(buf, [
          { volume: 3, ino: 5 },
          { volume: 3, ino: 6 },
        ]),
    ],
  ]
  for (const [hex, encode] of messages) {
    const buf = Buffer.alloc(100, 0xee)
    assert.is(buf.toString('hex', 0, encode(buf)), hex)
  }
})

test('an encoder whose buffer is too short throws instead of cutting off', () => {
  const tooShort = (encode: (buf: Buffer) => number): void =>
    assert.throws(
      () => encode(Buffer.alloc(30)),
      (error: unknown) => error instanceof RangeError,
    )
  tooShort((buf) => wire.encodeAttr(buf, 0, attr))
  tooShort((buf) => wire.encodeInitOut(buf, 0, { ...initZero }))
  tooShort((buf) => wire.encodeStatx(buf, 0, attr, 0))
  tooShort((buf) => wire.encodeNotifyInvalEntry(buf, 1, 1, Buffer.alloc(10), 0))
})

const initZero: wire.InitOut = {
  major: 7,
  minor: 45,
  max_readahead: 0,
  flags: 0,
  flags2: 0,
  max_background: 0,
  congestion_threshold: 0,
  max_write: 0,
  time_gran: 1,
  max_pages: 0,
  max_stack_depth: 0,
  request_timeout: 0,
}

test.run()
