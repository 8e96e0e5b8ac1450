import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ProtocolError } from '../../../src/base/index.ts'
import * as wire from '../../../src/fuse/wire/index.ts'
import * as make from '../../support/fuse-requests.ts'

/** Seeded: `--seed N` or WEFT_SEED repeats a run. */
const seedText = process.argv[process.argv.indexOf('--seed') + 1] ?? ''
const seed = /^\d+$/.test(seedText)
  ? Number(seedText)
  : Number(process.env.WEFT_SEED ?? Date.now() % 2 ** 31)
console.log(`seed ${seed}`)

const ROUNDS = 20_000

type Decode = (buf: Buffer, at: number, end: number) => unknown

const node = make.nodeId(7, 9)
const lock = { fh: 1, owner: 5n, start: 0n, end: 9n, type: 1 }
const copy = { fh_in: 1, off_in: 0, nodeOut: node, fh_out: 2, off_out: 0, len: 4096 }

/** Every decoder with a message it accepts, which mutation starts from. */
const DECODERS: Record<string, { decode: Decode; valid: Buffer }> = {
  LOOKUP: {
    decode: (buf, at, end) => wire.decodeLookup(buf, at, end, wire.newLookupIn()),
    valid: make.lookup(node, 'name'),
  },
  FORGET: { decode: wire.decodeForget, valid: make.forget(node, 2) },
  BATCH_FORGET: {
    decode: (buf, at, end) => wire.decodeBatchForget(buf, at, end, () => {}),
    valid: make.batchForget([{ node, nlookup: 1 }]),
  },
  GETATTR: {
    decode: (buf, at, end) => wire.decodeGetattr(buf, at, end, wire.newGetattrIn()),
    valid: make.getattr(node, 3),
  },
  SETATTR: { decode: wire.decodeSetattr, valid: make.setattr(node, { valid: 0xfff, mode: 1 }) },
  STATX: { decode: wire.decodeStatx, valid: make.statx(node) },
  EMPTY: { decode: wire.decodeEmpty, valid: make.readlink(node) },
  NAME: { decode: wire.decodeName, valid: make.unlink(node, 'name') },
  SYMLINK: { decode: wire.decodeSymlink, valid: make.symlink(node, 'name', 'target') },
  MKNOD: { decode: wire.decodeMknod, valid: make.mknod(node, 'name', 0o100644) },
  MKDIR: { decode: wire.decodeMkdir, valid: make.mkdir(node, 'name', 0o755) },
  LINK: { decode: wire.decodeLink, valid: make.link(node, 'name', node) },
  RENAME: { decode: wire.decodeRename, valid: make.rename(node, 'a', node, 'b') },
  RENAME2: { decode: wire.decodeRename2, valid: make.rename2(node, 'a', node, 'b', 1) },
  OPEN: { decode: wire.decodeOpen, valid: make.open(node, 2) },
  CREATE: { decode: wire.decodeCreate, valid: make.create(node, 'name', 2, 0o644) },
  READ: {
    decode: (buf, at, end) => wire.decodeRead(buf, at, end, wire.newReadIn()),
    valid: make.read(node, 1, 4096, 4096),
  },
  WRITE: {
    decode: (buf, at, end) => wire.decodeWrite(buf, at, end, wire.newWriteIn()),
    valid: make.write(node, 1, 4096, Buffer.alloc(20, 1)),
  },
  READDIR: {
    decode: (buf, at, end) => wire.decodeReaddir(buf, at, end, wire.newReaddirIn()),
    valid: make.readdir(node, 1, 0, 4096),
  },
  RELEASE: { decode: wire.decodeRelease, valid: make.release(node, 1) },
  FLUSH: { decode: wire.decodeFlush, valid: make.flush(node, 1) },
  FSYNC: { decode: wire.decodeFsync, valid: make.fsync(node, 1) },
  SYNCFS: { decode: wire.decodeSyncfs, valid: make.syncfs(node) },
  ACCESS: { decode: wire.decodeAccess, valid: make.access(node, 4) },
  SETXATTR_EXT: {
    decode: (buf, at, end) => wire.decodeSetxattr(buf, at, end, true),
    valid: make.setxattr(node, 'user.a', Buffer.from('value')),
  },
  SETXATTR: {
    decode: (buf, at, end) => wire.decodeSetxattr(buf, at, end, false),
    valid: make.setxattrCompat(node, 'user.a', Buffer.from('value')),
  },
  GETXATTR: { decode: wire.decodeGetxattr, valid: make.getxattr(node, 'user.a', 9) },
  LISTXATTR: { decode: wire.decodeListxattr, valid: make.listxattr(node, 9) },
  LK: { decode: wire.decodeLk, valid: make.setlk(node, lock) },
  INIT: { decode: wire.decodeInit, valid: make.init(45, 0x73fffffb, 0x7fd) },
  INTERRUPT: { decode: wire.decodeInterrupt, valid: make.interrupt(4n) },
  FALLOCATE: { decode: wire.decodeFallocate, valid: make.fallocate(node, 1, 0, 4096, 0) },
  LSEEK: { decode: wire.decodeLseek, valid: make.lseek(node, 1, 0, 3) },
  COPY_FILE_RANGE: { decode: wire.decodeCopyFileRange, valid: make.copyFileRange(node, copy) },
}

/** xorshift32 */
function randomOf(start: number): (below: number) => number {
  let state = start | 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

/** A decoder may refuse with ProtocolError or accept; anything else is a bug, told with the bytes. */
function mustHold(name: string, decode: Decode, buf: Buffer, at: number, end: number): boolean {
  try {
    decode(buf, at, end)
    return true
  } catch (error) {
    if (error instanceof ProtocolError) return false
    throw new Error(`${name} on ${buf.toString('hex', at, end)}: ${error}`, { cause: error })
  }
}

const bodyOf = (message: Buffer): Buffer => message.subarray(wire.IN_HEADER_BYTES)

test('every decoder is in the table', () => {
  const exported = Object.keys(wire).filter((key) => /^decode(?!Header)/.test(key))
  assert.is(exported.length, Object.keys(DECODERS).length - 1, 'SETXATTR stands there twice')
})

test('every truncation of a valid body is refused', () => {
  for (const [name, { decode, valid }] of Object.entries(DECODERS)) {
    const body = bodyOf(valid)
    assert.ok(mustHold(name, decode, body, 0, body.length), `${name} accepts its valid message`)
    for (let end = 0; end < body.length; end++) {
      const whole = mustHold(name, decode, body, 0, end)
      const cut = mustHold(name, decode, Buffer.from(body.subarray(0, end)), 0, end)
      assert.is(whole, cut, `${name}: bytes behind the end were read at ${end}`)
      // An INIT cut behind flags2 is one of a kernel with fewer fields.
      if (!(name === 'INIT' && end >= 20)) assert.not.ok(cut, `${name} accepted ${end} bytes`)
    }
  }
})

test('an end behind the buffer is refused', () => {
  for (const [name, { decode, valid }] of Object.entries(DECODERS)) {
    const body = bodyOf(valid)
    if (body.length === 0) continue
    const cut = body.subarray(0, body.length - 1)
    assert.not.ok(mustHold(name, decode, cut, 0, body.length), name)
  }
})

test('only ProtocolError comes out of random bytes', () => {
  const random = randomOf(seed)
  for (const [name, { decode }] of Object.entries(DECODERS)) {
    for (let round = 0; round < ROUNDS / 10; round++) {
      const buf = Buffer.alloc(random(120))
      for (let i = 0; i < buf.length; i++) buf[i] = random(4) === 0 ? 0 : random(256)
      mustHold(name, decode, buf, 0, buf.length)
    }
  }
})

test('only ProtocolError comes out of a valid body with a few bytes changed', () => {
  const random = randomOf(seed + 1)
  for (const [name, { decode, valid }] of Object.entries(DECODERS)) {
    const body = bodyOf(valid)
    if (body.length === 0) continue
    let accepted = 0
    for (let round = 0; round < ROUNDS / 10; round++) {
      const buf = Buffer.from(body)
      for (let i = random(3); i >= 0; i--) {
        buf[random(buf.length)] = [0, 1, 0x7f, 0x80, 0xff][random(5)] as number
      }
      if (mustHold(name, decode, buf, 0, buf.length)) accepted++
    }
    assert.ok(accepted > 0, `${name} refused every mutation, so the mutations prove nothing`)
  }
})

test('only ProtocolError comes out of a header with changed or random bytes', () => {
  const random = randomOf(seed + 2)
  const valid = make.mkdir(node, 'name', 0o755, 0, { extensions: Buffer.alloc(8) })
  let accepted = 0
  for (let round = 0; round < ROUNDS; round++) {
    const buf = Buffer.from(valid)
    for (let i = random(4); i > 0; i--) buf[random(buf.length)] = random(256)
    const n = random(4) === 0 ? random(buf.length + 20) : buf.length
    const header = wire.newRequestHeader()
    if (mustHold('header', () => wire.decodeHeader(buf, n, header), buf, 0, buf.length)) {
      accepted++
      assert.ok(header.bodyEnd >= wire.IN_HEADER_BYTES && header.bodyEnd <= n)
    }
  }
  assert.ok(accepted > 0 && accepted < ROUNDS)
})

test.run()
