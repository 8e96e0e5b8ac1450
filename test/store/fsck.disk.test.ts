import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type ChunkId,
  CorruptError,
  type DriveId,
  type Ino,
  newId,
  ROOT_INO,
  systemRandom,
} from '../../src/base/index.ts'
import { ChunkStore } from '../../src/chunks/index.ts'
import { keys, S_IFDIR, S_IFREG } from '../../src/meta/index.ts'
import { putPieces } from '../../src/store/chunk-pieces.ts'
import { fsckClosed, sweep, type VolumeCheck } from '../../src/store/index.ts'
import { clock, quietWork, VolumeWorld } from './volume-world.ts'

const PAGE = 16 * 1024

function data(bytes: number, seed: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + seed + (i >> 8)) & 0xff))
}

function flipBit(path: string, at: number): void {
  const bytes = readFileSync(path)
  bytes[at] = (bytes[at] as number) ^ 1
  writeFileSync(path, bytes)
}

function damage(check: VolumeCheck) {
  return check.findings.filter((finding) => finding.severity === 'damage')
}

/** Offset in a small chunk's file of plain byte 0: behind a block of header and one of tags (docs/format.md). */
const DATA_AT = 2 * 4096

/** Makes damage, sees it found, repairs it, sees nothing left. */
async function mends(
  world: VolumeWorld,
  expected: RegExp,
  path: string | null,
): Promise<VolumeCheck> {
  const before = await world.fsck()
  const found = damage(before).filter(({ what }) => expected.test(what))
  assert.ok(found.length > 0, `not found among ${JSON.stringify(before.findings)}`)
  assert.is(found[0]?.path, path)
  assert.is(found[0]?.outcome, 'left')
  const seq = world.volume.shared.seq
  const repaired = await world.fsck(true)
  assert.ok(
    damage(repaired).every(({ outcome }) => outcome === 'repaired'),
    JSON.stringify(repaired.findings),
  )
  assert.ok(world.volume.shared.seq >= seq)
  const after = await world.fsck()
  assert.equal(after.findings, [])
  return repaired
}

async function inWorld(work: (world: VolumeWorld) => Promise<void>): Promise<void> {
  const world = await VolumeWorld.open()
  try {
    await work(world)
  } finally {
    await world.end()
  }
}

test('a whole volume has no finding, and everything of it was looked at', () =>
  inWorld(async (world) => {
    const dir = world.mkdir(ROOT_INO, 'dir')
    await world.file(dir, 'big', data(5 * PAGE, 1))
    await world.file(dir, 'small', data(100, 2), true)
    const { findings, checked } = await world.fsck()
    assert.equal(findings, [])
    assert.is(checked.inodes, 4)
    assert.is(checked.chunks, 1)
    assert.is(checked.records, world.volume.shared.seq)
    assert.ok(checked.bytes > 5 * PAGE)
  }))

test('without --repair nothing is written', () =>
  inWorld(async (world) => {
    const { ino } = await world.file(ROOT_INO, 'f', data(10, 1), true)
    world.change((draft) => {
      const inode = draft.inode(ino)
      if (inode) draft.putInode(ino, { ...inode, nlink: 3 })
    })
    const { seq } = world.volume.shared
    assert.is(damage(await world.fsck()).length, 1)
    assert.is(world.volume.shared.seq, seq)
  }))

test('a wrong link count of a file is found and mended', () =>
  inWorld(async (world) => {
    const dir = world.mkdir(ROOT_INO, 'dir')
    const { ino } = await world.file(dir, 'f', data(10, 1), true)
    world.change((draft) => {
      const inode = draft.inode(ino)
      if (inode) draft.putInode(ino, { ...inode, nlink: 5 })
    })
    await mends(world, /link count is 5 and should be 1/, '/dir/f')
    assert.is(world.volume.view.get(keys.inodeKey(ino))?.readUInt32LE(5), 1)
  }))

test('wrong counts of a directory are found and mended', () =>
  inWorld(async (world) => {
    const dir = world.mkdir(ROOT_INO, 'dir')
    world.mkdir(dir, 'sub')
    world.change((draft) => {
      const inode = draft.inode(dir)
      if (inode) draft.putInode(dir, { ...inode, nlink: 9, size: 7, parent: 99 as Ino })
    })
    await mends(world, /counts 7 entries and has 1/, '/dir')
  }))

test('a name that leads nowhere is removed, with a note of what it was', () =>
  inWorld(async (world) => {
    world.change((draft) => {
      world.putName(draft, ROOT_INO, 'ghost', 1234 as Ino)
      const root = draft.inode(ROOT_INO)
      if (root) draft.putInode(ROOT_INO, { ...root, size: root.size + 1 })
    })
    await mends(world, /leads to inode 1234, which does not exist/, '/ghost')
    assert.is(world.inodeOf('ghost'), null)
  }))

test('a file without a name comes back in lost+found with its bytes', () =>
  inWorld(async (world) => {
    const bytes = data(3 * PAGE, 3)
    const { ino } = await world.file(ROOT_INO, 'f', bytes)
    world.change((draft) => {
      world.dropName(draft, ROOT_INO, 'f')
      const root = draft.inode(ROOT_INO)
      if (root) draft.putInode(ROOT_INO, { ...root, size: root.size - 1 })
    })
    await mends(world, /has no name/, null)
    const lost = world.inodeOf('lost+found')
    assert.ok(lost)
    assert.is(world.inodeOf(`#${ino}`, lost as Ino), ino)
    assert.equal(world.read(ino, 0, bytes.length), bytes)
  }))

test('a directory without a name comes back in lost+found with what is in it', () =>
  inWorld(async (world) => {
    const dir = world.mkdir(ROOT_INO, 'dir')
    world.mkdir(dir, 'sub')
    world.change((draft) => {
      world.dropName(draft, ROOT_INO, 'dir')
      const root = draft.inode(ROOT_INO)
      if (root) draft.putInode(ROOT_INO, { ...root, size: root.size - 1, nlink: root.nlink - 1 })
    })
    await mends(world, /has no name/, null)
    assert.ok(world.inodeOf('sub', dir))
  }))

test('bytes whose inode is missing become a file in lost+found', () =>
  inWorld(async (world) => {
    const bytes = data(2 * PAGE, 4)
    const { ino } = await world.file(ROOT_INO, 'f', bytes)
    world.change((draft) => {
      draft.delete(keys.inodeKey(ino))
      draft.inodesDelta--
      world.dropName(draft, ROOT_INO, 'f')
      const root = draft.inode(ROOT_INO)
      if (root) draft.putInode(ROOT_INO, { ...root, size: root.size - 1 })
    })
    await mends(world, /inode \d+ is missing/, null)
    assert.equal(world.read(ino, 0, bytes.length), bytes)
  }))

test('directories inside each other are taken apart', () =>
  inWorld(async (world) => {
    const a = world.mkdir(ROOT_INO, 'a')
    const b = world.mkdir(a, 'b')
    world.change((draft) => {
      world.dropName(draft, ROOT_INO, 'a')
      const root = draft.inode(ROOT_INO)
      if (root) draft.putInode(ROOT_INO, { ...root, size: root.size - 1, nlink: root.nlink - 1 })
      world.putName(draft, b, 'a', a, S_IFDIR)
      const inode = draft.inode(b)
      if (inode) draft.putInode(b, { ...inode, size: 1, nlink: 3 })
      const inner = draft.inode(a)
      if (inner) draft.putInode(a, { ...inner, parent: b })
    })
    const before = await world.fsck()
    assert.match(damage(before)[0]?.what ?? '', /inside itself/)
    await world.fsck(true)
    assert.equal((await world.fsck()).findings, [])
  }))

test('an entry of the wrong type, one under a wrong hash and a stray orphan are mended', () =>
  inWorld(async (world) => {
    const { ino } = await world.file(ROOT_INO, 'f', data(10, 1), true)
    world.change((draft) => {
      world.dropName(draft, ROOT_INO, 'f')
      world.putName(draft, ROOT_INO, 'f', ino, S_IFDIR)
      draft.put(keys.orphanKey(77 as Ino), Buffer.alloc(0))
      const key = keys.direntKey(ROOT_INO, Buffer.from('4011223344556677', 'hex'))
      const name = Buffer.from('hidden')
      const entry = Buffer.alloc(10 + name.length)
      entry.writeDoubleLE(ino, 0)
      entry[8] = S_IFREG >>> 12
      entry[9] = name.length
      name.copy(entry, 10)
      draft.put(key, entry)
    })
    const kinds = damage(await world.fsck()).map(({ what }) => what)
    assert.ok(
      kinds.some((what) => /another type/.test(what)),
      kinds.join('\n'),
    )
    assert.ok(kinds.some((what) => /no lookup finds/.test(what)))
    assert.ok(kinds.some((what) => /inode 77 is listed as nameless/.test(what)))
    await world.fsck(true)
    assert.equal((await world.fsck()).findings, [])
    assert.is(world.inodeOf('hidden'), ino)
  }))

test('live bytes, totals, packable marks and byte counts are mended', () =>
  inWorld(async (world) => {
    const { ino, chunk } = await world.file(ROOT_INO, 'f', data(2 * PAGE, 5))
    const small = await world.file(ROOT_INO, 's', data(50, 6), true)
    world.change((draft) => {
      draft.recount(chunk, 100)
      draft.bytesDelta += 17
      draft.inodesDelta += 2
      draft.delete(keys.packableKey(small.ino, 0))
      draft.put(keys.packableKey(ino, 0), Buffer.alloc(0))
      const inode = draft.inode(ino)
      if (inode) draft.putInode(ino, { ...inode, bytes: inode.bytes + 5 })
    })
    const kinds = damage(await world.fsck()).map(({ what }) => what)
    for (const expected of [
      /counts 32868 live bytes and has 32768/,
      /wrong by -17 bytes, -2 inodes/,
      /inline bytes at 0 are not listed/,
      /listed for packing and not inline/,
      /counts 32773 bytes and has 32768/,
    ]) {
      assert.ok(
        kinds.some((what) => expected.test(what)),
        `${expected}\n${kinds.join('\n')}`,
      )
    }
    await world.fsck(true)
    assert.equal((await world.fsck()).findings, [])
    assert.is(world.volume.shared.usedBytes, 2 * PAGE + 50)
    assert.is(world.volume.shared.inodes, 3)
  }))

test('two extents that claim the same bytes are parted, and both versions stay', () =>
  inWorld(async (world) => {
    const bytes = data(4 * PAGE, 7)
    const { ino } = await world.file(ROOT_INO, 'f', bytes)
    world.change((draft) => {
      draft.putExtent(ino, 3 * PAGE, { kind: 'inline', length: 100, data: Buffer.alloc(100, 1) })
      const inode = draft.inode(ino)
      if (inode) draft.putInode(ino, { ...inode, bytes: inode.bytes + 100 })
    })
    await mends(world, /two extents claim the bytes from 49152 on/, '/f')
    assert.equal(world.read(ino, 3 * PAGE, 100), Buffer.alloc(100, 1))
    const lost = world.inodeOf('lost+found') as Ino
    assert.ok(lost)
  }))

test('a flipped bit loses its page alone: the rest goes to a new chunk, the damaged one to quarantine', () =>
  inWorld(async (world) => {
    const bytes = data(6 * PAGE, 8)
    const dir = world.mkdir(ROOT_INO, 'dir')
    const { ino, chunk } = await world.file(dir, 'f', bytes)
    const path = world.chunkPath(chunk)
    flipBit(path, DATA_AT + 2 * PAGE + 77)
    const found = damage(await world.fsck())
    assert.is(found.length, 1)
    assert.is(found[0]?.path, '/dir/f')
    assert.match(found[0]?.what ?? '', /8192 bytes \(32768 to 40959\) are lost and answer EIO/)
    const repaired = await world.fsck(true)
    assert.equal(
      damage(repaired).map(({ outcome }) => outcome),
      ['quarantined'],
    )
    assert.equal(
      repaired.damaged.map((one) => one.chunk),
      [chunk],
    )
    assert.equal(world.quarantined(), [chunk])
    assert.equal(world.read(ino, 0, 2 * PAGE), bytes.subarray(0, 2 * PAGE))
    assert.equal(world.read(ino, 3 * PAGE, 3 * PAGE), bytes.subarray(3 * PAGE))
    assert.throws(
      () => world.read(ino, 2 * PAGE, 10),
      (error: unknown) => error instanceof CorruptError,
    )
    const again = damage(await world.fsck())
    assert.is(again.length, 1)
    assert.match(again[0]?.what ?? '', /it is in quarantine/)
  }))

test('a damaged chunk of which every byte of files can be read is replaced', () =>
  inWorld(async (world) => {
    const bytes = data(2 * PAGE, 9)
    const { ino, chunk } = await world.file(ROOT_INO, 'f', bytes)
    const path = world.chunkPath(chunk)
    // Behind the data stand the back-pointers.
    flipBit(path, readFileSync(path).length - 10)
    const found = damage(await world.fsck())
    assert.match(found[0]?.what ?? '', /no bytes of files are lost/)
    const repaired = await world.fsck(true)
    assert.equal(
      damage(repaired).map(({ outcome }) => outcome),
      ['repaired'],
    )
    assert.equal(world.read(ino, 0, bytes.length), bytes)
    assert.equal((await world.fsck()).findings, [])
  }))

test('a missing chunk is told with every range it held, and stays lost', () =>
  inWorld(async (world) => {
    const { chunk } = await world.file(ROOT_INO, 'f', data(2 * PAGE, 10))
    rmSync(world.chunkPath(chunk))
    const found = damage(await world.fsck())
    assert.match(found[0]?.what ?? '', /32768 bytes \(0 to 32767\).*its file is missing/)
    assert.equal(
      damage(await world.fsck(true)).map(({ outcome }) => outcome),
      ['quarantined'],
    )
    assert.is(damage(await world.fsck()).length, 1)
  }))

test('a chunk on another drive than the index says is as good: drives are emptied', async () => {
  const world = await VolumeWorld.open(2)
  try {
    const bytes = data(PAGE, 11)
    const { ino, chunk } = await world.file(ROOT_INO, 'f', bytes)
    const from = world.chunkPath(chunk)
    const other = from.includes('drive0') ? 'drive1' : 'drive0'
    const to = from.replace(/drive[01]/, other)
    const file = readFileSync(from)
    await world.file(ROOT_INO, 'g', data(PAGE, 12))
    await world.file(ROOT_INO, 'h', data(PAGE, 13))
    rmSync(from)
    writeFileSync(to, file)
    assert.equal(damage(await world.fsck()), [])
    assert.equal(world.read(ino, 0, bytes.length), bytes)
  } finally {
    await world.end()
  }
})

test('a value of the view that fails its seal comes back from the journal', () =>
  inWorld(async (world) => {
    const bytes = data(40, 14)
    const { ino } = await world.file(ROOT_INO, 'f', bytes, true)
    const key = keys.inodeKey(ino)
    const other = world.volume.view.get(keys.inodeKey(ROOT_INO)) as Buffer
    // A value sealed for another key: what a wrong page of the file would hold.
    const head = world.volume.view.head()
    assert.ok(head)
    world.volume.view.apply([{ key, value: Buffer.from('not an inode') }], head as never)
    assert.ok(other.length > 0)
    const found = damage(await world.fsck())
    assert.match(found[0]?.what ?? '', /inode \d+ is not what its key says/)
    assert.is(found[0]?.path, '/f')
    const repaired = await world.fsck(true)
    assert.ok(damage(repaired).every(({ outcome }) => outcome === 'repaired'))
    assert.equal((await world.fsck()).findings, [])
    assert.equal(world.read(ino, 0, 40), bytes)
  }))

test('an entry that is missing from the view alone comes back from the journal', () =>
  inWorld(async (world) => {
    const bytes = data(PAGE, 15)
    const { ino } = await world.file(ROOT_INO, 'f', bytes)
    const head = world.volume.view.head()
    world.volume.view.apply([{ key: keys.inodeKey(ino), value: null }], head as never)
    const repaired = await world.fsck(true)
    assert.ok(damage(repaired).some(({ what }) => /the log has it/.test(what)))
    assert.is(world.inodeOf('f'), ino)
    assert.equal((await world.fsck()).findings, [])
    assert.is(world.inodeOf('lost+found'), null)
  }))

test('a damaged record behind the view: the range is told, the files go to quarantine, a new journal begins', () =>
  inWorld(async (world) => {
    for (let i = 0; i < 20; i++) await world.file(ROOT_INO, `f${i}`, data(100, i), true)
    await world.engine.settle()
    const [name] = readdirSync(world.journalDirectory).filter((one) => one.endsWith('.journal'))
    const path = join(world.journalDirectory, name as string)
    flipBit(path, 4000)
    const found = damage(await world.fsck())
    assert.is(found.length, 1)
    assert.match(found[0]?.what ?? '', /journal file 1, offset \d+: record \d+ cannot be read/)
    const repaired = await world.fsck(true)
    assert.equal(
      damage(repaired).map(({ outcome }) => outcome),
      ['quarantined'],
    )
    assert.equal(readdirSync(join(world.journalDirectory, 'quarantine')), [name])
    assert.equal((await world.fsck()).findings, [])
    // The new journal alone, with its checkpoint, makes the view anew.
    await world.close(false)
    rmSync(world.viewDirectory, { recursive: true })
    world.reopen()
    assert.ok(world.inodeOf('f19'))
    assert.equal((await world.fsck()).findings, [])
  }))

test('a damaged checkpoint is taken anew', () =>
  inWorld(async (world) => {
    await world.file(ROOT_INO, 'f', data(100, 1), true)
    await world.engine.checkpoints.take((make) => world.engine.commit(make))
    const [chunk] = world.engine.checkpoints.chunks()
    assert.ok(chunk)
    const path = world.chunkPath(chunk?.id as ChunkId)
    flipBit(path, readFileSync(path).length - 5)
    await mends(world, /the checkpoint: chunk .*its checksum differs/, null)
  }))

test('a view whose pages are damaged is made anew at the next start, and the old one only then goes', () =>
  inWorld(async (world) => {
    for (let i = 0; i < 200; i++) await world.file(ROOT_INO, `f${i}`, data(1000, i), true)
    await world.close()
    const path = join(world.viewDirectory, 'data.mdb')
    const file = readFileSync(path)
    file.fill(0, file.length - 20 * 4096, file.length - 8 * 4096)
    writeFileSync(path, file)
    world.checkView = true
    world.reopen()
    assert.is(world.volume.shared.inodes, 201)
    assert.equal((await world.fsck()).findings, [])
    assert.not.ok(existsSync(`${world.viewDirectory}.aside`))
  }))

test('a value of the view that is wrong when the volume is opened is no reason to stay closed', () =>
  inWorld(async (world) => {
    await world.file(ROOT_INO, 'f', data(100, 1), true)
    await world.engine.settle()
    const head = world.volume.view.head()
    world.volume.view.apply([{ key: keys.totalsKey(), value: Buffer.from('junk') }], head as never)
    await world.close()
    world.reopen()
    assert.ok(world.inodeOf('f'))
    assert.equal((await world.fsck()).findings, [])
  }))

test('any single flipped bit of a chunk costs its page at most', () =>
  inWorld(async (world) => {
    const bytes = data(3 * PAGE, 21)
    const { ino, chunk } = await world.file(ROOT_INO, 'f', bytes)
    const path = world.chunkPath(chunk)
    const whole = readFileSync(path)
    for (let at = 5; at < whole.length; at += 997) {
      flipBit(path, at)
      const store = new ChunkStore(world.volume.drives)
      let lost = 0
      for (let page = 0; page < 3; page++) {
        const out = Buffer.alloc(PAGE)
        try {
          const drive = world.volume.drives[0]?.id as DriveId
          store.readSync(chunk, drive, world.volume.reader, page * PAGE, PAGE, out, 0)
          assert.equal(out, bytes.subarray(page * PAGE, (page + 1) * PAGE))
        } catch (error) {
          assert.ok(error instanceof CorruptError)
          lost++
        }
      }
      assert.ok(lost <= 1, `byte ${at} cost ${lost} pages`)
      store.close()
      writeFileSync(path, whole)
    }
    assert.equal(world.read(ino, 0, bytes.length), bytes)
  }))

test('a damaged journal and no view: the volume stays closed, fsck says what is lost and refuses to cut', () =>
  inWorld(async (world) => {
    for (let i = 0; i < 20; i++) await world.file(ROOT_INO, `f${i}`, data(100, i), true)
    await world.close()
    flipBit(world.journalPath(), 6000)
    rmSync(world.viewDirectory, { recursive: true })
    assert.throws(
      () => world.reopen(),
      (error: unknown) => error instanceof CorruptError,
    )
    for (const repair of [false, true]) {
      const closed = await fsckClosed(world.opening(), { repair, acceptLoss: false }, quietWork)
      assert.is(closed.mended, false)
      const what = closed.findings.map((finding) => finding.what)
      assert.ok(
        what.some((one) => /record \d+ cannot be read/.test(one)),
        what.join('\n'),
      )
      assert.ok(what.some((one) => /made anew up to record \d+ only|made anew at all/.test(one)))
      assert.ok(closed.findings.every(({ outcome }) => outcome === 'left'))
    }
    assert.not.ok(existsSync(join(world.journalDirectory, 'quarantine')))
  }))

test('a whole view that needs damaged records goes on as far as they can be read, when the loss is accepted', () =>
  inWorld(async (world) => {
    const inos: Ino[] = []
    const add = async (count: number) => {
      for (let i = 0; i < count; i++) {
        inos.push((await world.file(ROOT_INO, `f${inos.length}`, data(100, inos.length), true)).ino)
      }
    }
    await add(10)
    await world.close()
    const before = `${world.viewDirectory}-before`
    cpSync(world.viewDirectory, before, { recursive: true })
    world.reopen()
    await add(30)
    await world.close()
    rmSync(world.viewDirectory, { recursive: true })
    cpSync(before, world.viewDirectory, { recursive: true })
    const bytes = readFileSync(world.journalPath())
    // Behind the newest record are zeros.
    flipBit(world.journalPath(), Math.floor(bytes.findLastIndex((byte) => byte !== 0) * 0.6))
    assert.throws(
      () => world.reopen(),
      (error: unknown) => error instanceof CorruptError,
    )
    const refused = await fsckClosed(
      world.opening(),
      { repair: true, acceptLoss: false },
      quietWork,
    )
    assert.is(refused.mended, false)
    const said = refused.findings.map(({ next }) => next).join('\n')
    const [, upTo] =
      /can only be made up to record (\d+); records \d+ to \d+ would be lost/.exec(said) ?? []
    const cut = await fsckClosed(world.opening(), { repair: true, acceptLoss: true }, quietWork)
    assert.is(cut.mended, true)
    const what = cut.findings.map((finding) => finding.what).join('\n')
    assert.match(what, new RegExp(`goes on from record ${upTo};`))
    assert.ok(cut.findings.every(({ outcome }) => outcome === 'quarantined'))
    const gone = new Set(cut.findings.map(({ path }) => path))
    assert.ok(gone.has('f39') && !gone.has('f12'), [...gone].join())
    assert.match(what, /^changes up to record \d+ are lost$/m)
    world.reopen()
    // The first 10 were in the view, the next ones came from the journal.
    for (const [i, ino] of inos.slice(0, 14).entries()) {
      assert.equal(world.read(ino, 0, 100), data(100, i))
    }
    await world.fsck(true)
    assert.equal((await world.fsck()).findings, [])
    const kept = readdirSync(join(world.journalDirectory, 'quarantine'))
    assert.equal(kept, ['0000000001.journal'])
  }))

test('a journal whose file header is damaged does not cost the view; repair begins a new one behind it', () =>
  inWorld(async (world) => {
    const bytes = data(3 * PAGE, 5)
    const { ino } = await world.file(ROOT_INO, 'f', bytes)
    await world.close()
    flipBit(world.journalPath(), 20)
    assert.throws(
      () => world.reopen(),
      (error: unknown) => error instanceof CorruptError,
    )
    const looked = await fsckClosed(
      world.opening(),
      { repair: false, acceptLoss: false },
      quietWork,
    )
    assert.is(looked.mended, false)
    assert.match(looked.findings[0]?.next ?? '', /--repair begins a new journal/)
    const closed = await fsckClosed(world.opening(), { repair: true, acceptLoss: false }, quietWork)
    assert.is(closed.mended, true)
    assert.equal(
      closed.findings.map(({ outcome }) => outcome),
      ['quarantined'],
    )
    world.reopen()
    assert.equal(world.read(ino, 0, bytes.length), bytes)
    const repaired = await world.fsck(true)
    assert.match(repaired.findings[0]?.what ?? '', /the journal does not begin at the start/)
    assert.equal((await world.fsck()).findings, [])
    await world.close(false)
    rmSync(world.viewDirectory, { recursive: true })
    world.reopen()
    assert.equal(world.read(ino, 0, bytes.length), bytes)
  }))

test('chunks that a crash left unnamed are deleted when a record ended them, else after a day', () =>
  inWorld(async (world) => {
    const ended = await world.file(ROOT_INO, 'f', data(PAGE, 1))
    const endedFile = readFileSync(world.chunkPath(ended.chunk))
    const endedPath = world.chunkPath(ended.chunk)
    world.change((draft) => {
      draft.purge(ended.ino, 100)
      world.dropName(draft, ROOT_INO, 'f')
      const root = draft.inode(ROOT_INO)
      if (root) draft.putInode(ROOT_INO, { ...root, size: root.size - 1 })
    })
    const young = newId<ChunkId>(systemRandom)
    const old = newId<ChunkId>(systemRandom)
    for (const id of [young, old]) {
      await putPieces(world.volume, id, data(PAGE, 2), PAGE, [])
    }
    await world.engine.settle()
    await world.close()
    writeFileSync(endedPath, endedFile)
    world.reopen()
    const dayAgo = Date.now() / 1000 - 25 * 3600
    utimesSync(world.chunkPath(old), dayAgo, dayAgo)
    const current = newId<ChunkId>(systemRandom)
    await putPieces(world.volume, current, data(PAGE, 3), PAGE, [])
    utimesSync(world.chunkPath(current), dayAgo, dayAgo)
    const swept = await sweep([world.engine], clock, quietWork)
    assert.equal(swept.deleted.map(({ id }) => id).sort(), [ended.chunk, old].sort())
    assert.equal(
      swept.resting.map(({ id }) => id),
      [young],
    )
    assert.ok(existsSync(world.chunkPath(young)))
    assert.ok(
      existsSync(world.chunkPath(current)),
      'of this epoch: may be on its way into a record',
    )
  }))

test.run()
