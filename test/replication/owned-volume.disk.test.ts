import {
  closeSync,
  cpSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type ChunkId,
  type DriveId,
  type Ino,
  ROOT_INO,
  systemRandom,
} from '../../src/base/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { scan } from '../../src/journal/index.ts'
import { StagingReader, StagingWriter, stagedHeaderBytes } from '../../src/store/index.ts'
import { lookup, write } from '../../src/vfs/index.ts'
import {
  clock,
  fsync,
  get,
  leadAtLast,
  type Member,
  MIB,
  put,
  request,
  tail,
  untilAll,
  VolumeOnMembers,
} from './volume-on-members.ts'

test('what was fsynced on the owner is on every member: records and chunks', async () => {
  const volume = await VolumeOnMembers.make(3)
  try {
    const [a, b, c] = volume.members as [Member, Member, Member]
    assert.ok(await volume.lead(a))
    const open = a.open as NonNullable<Member['open']>
    put(open.fs, 'small', Buffer.from('inside the record'))
    put(open.fs, 'large', systemRandom.bytes(3 * MIB))
    assert.is(await fsync(open), 0)
    const { seq } = open.volume.shared
    assert.ok(open.volume.shared.committed >= seq - 1)
    for (const other of [b, c]) {
      assert.is(tail(volume, other), tail(volume, a))
      for (const chunk of open.engine.chunksInUse()) assert.ok(other.raw.has(chunk))
    }
    assert.ok(open.engine.chunksInUse().length > 0)
  } finally {
    await volume.close()
  }
})

test('when the owner is gone another member takes over and has all that was fsynced', async () => {
  const volume = await VolumeOnMembers.make(3)
  try {
    const [a, b, c] = volume.members as [Member, Member, Member]
    assert.ok(await volume.lead(a))
    const open = a.open as NonNullable<Member['open']>
    const large = systemRandom.bytes(3 * MIB)
    put(open.fs, 'small', Buffer.from('inside the record'))
    put(open.fs, 'large', large)
    assert.is(await fsync(open), 0)
    volume.kill(a)
    await leadAtLast(volume, b)
    const after = b.open as NonNullable<Member['open']>
    assert.is(get(after.fs, 'small').toString(), 'inside the record')
    assert.ok(get(after.fs, 'large').equals(large))
    put(after.fs, 'more', Buffer.from('written by b'))
    assert.is(await fsync(after), 0)
    assert.is(tail(volume, c), tail(volume, b))
    assert.equal([...volume.recorded.inSync].sort(), [b.place.id, c.place.id].sort())
  } finally {
    await volume.close()
  }
})

test('an owner that was cut off has nothing acknowledged any more, and says why', async () => {
  const volume = await VolumeOnMembers.make(3)
  try {
    const [a, b] = volume.members as [Member, Member, Member]
    assert.ok(await volume.lead(a))
    const open = a.open as NonNullable<Member['open']>
    put(open.fs, 'before', Buffer.from('everywhere'))
    assert.is(await fsync(open), 0)
    for (const other of volume.members) other.reachable = other === a
    put(open.fs, 'alone', Buffer.from('nowhere else'))
    assert.is(await fsync(open), -5)
    assert.match(a.lost ?? '', /no legal set/)
    assert.throws(() => put(open.fs, 'late', Buffer.from('x')), /owned by another node/)
    for (const other of volume.members) other.reachable = other !== a
    await leadAtLast(volume, b)
    const after = b.open as NonNullable<Member['open']>
    assert.is(get(after.fs, 'before').toString(), 'everywhere')
    assert.is(lookup(after.fs, ROOT_INO, Buffer.from('alone')), null)
    a.reachable = true
    await untilAll(volume, 3)
    assert.is(tail(volume, a), tail(volume, b), 'what was only its own is cut off')
  } finally {
    await volume.close()
  }
})

test('a member that was away is dropped, and taken in again with all it missed', async () => {
  const volume = await VolumeOnMembers.make(3)
  try {
    const [a, , c] = volume.members as [Member, Member, Member]
    assert.ok(await volume.lead(a))
    const open = a.open as NonNullable<Member['open']>
    c.reachable = false
    put(open.fs, 'missed', systemRandom.bytes(2 * MIB))
    assert.is(await fsync(open), 0, 'two of three are enough, once the third is dropped')
    assert.is(volume.recorded.inSync.length, 2)
    c.reachable = true
    await untilAll(volume, 3)
    assert.is(tail(volume, c), tail(volume, a))
    for (const chunk of open.engine.chunksInUse()) assert.ok(c.raw.has(chunk))
  } finally {
    await volume.close()
  }
})

/**
 * `a` answers for a file that is cut at a take-over; `b` writes another in the same records, and dies. `a`, whose machine has
 * run all the time, is to own the volume again: its view still has what was cut.
 * @returns whether it then shows what `b` wrote, and nothing else
 */
async function viewAfterCut(plant: (volume: VolumeOnMembers, a: Member) => Promise<void>) {
  const volume = await VolumeOnMembers.make(3)
  try {
    const [a, b] = volume.members as [Member, Member, Member]
    assert.ok(await volume.lead(a))
    const open = a.open as NonNullable<Member['open']>
    put(open.fs, 'before', Buffer.from('everywhere'))
    assert.is(await fsync(open), 0)
    for (const other of volume.members) other.reachable = other === a
    for (const name of ['cut1', 'cut2', 'cut3']) put(open.fs, name, Buffer.from('nowhere else'))
    assert.is(await fsync(open), -5)
    await volume.end(a)
    for (const other of volume.members) other.reachable = other !== a
    await leadAtLast(volume, b)
    const after = b.open as NonNullable<Member['open']>
    for (let n = 0; n < 8; n++) {
      put(after.fs, `kept${n}`, Buffer.from('by b'))
      assert.is(await fsync(after), 0)
    }
    a.reachable = true
    await untilAll(volume, 3)
    volume.kill(b)
    await plant(volume, a)
    await leadAtLast(volume, a)
    const again = a.open as NonNullable<Member['open']>
    again.fs.enter()
    const has = (name: string) => lookup(again.fs, ROOT_INO, Buffer.from(name)) !== null
    return has('before') && has('kept0') && has('kept7') && !has('cut1')
  } finally {
    await volume.close()
  }
}

test('a view that is ahead of what was cut is made anew', async () => {
  assert.ok(await viewAfterCut(async () => {}))
})

test('a planted bug is seen: a view that is known by its sequence alone', async () => {
  const bySequence = async (volume: VolumeOnMembers, a: Member) => {
    await volume.look(a, ({ view }) => {
      const seen = view.head()
      for (const { head } of scan(systemDisk, a.journalDirectory, volume.id, null, null)) {
        if (head.seq === seen?.seq) view.apply([], head)
      }
    })
  }
  assert.not(await viewAfterCut(bySequence))
})

/**
 * A write is committed, and its daemon dies before the staged bytes of it are cleared; meanwhile the file was written anew.
 * @returns what the next daemon of the same boot shows
 */
async function afterStagedTwice(plant: (staging: string, ino: Ino) => void): Promise<string> {
  const volume = await VolumeOnMembers.make(3)
  const kept = mkdtempSync(join(tmpdir(), 'weft-staged-'))
  try {
    const [a] = volume.members as [Member]
    const staging = join(a.dir, 'staging')
    assert.ok(await volume.lead(a))
    const open = a.open as NonNullable<Member['open']>
    const ino = put(open.fs, 'file', Buffer.from('first!'))
    cpSync(staging, kept, { recursive: true })
    assert.is(await fsync(open), 0)
    const room = Buffer.alloc(stagedHeaderBytes + 6)
    room.write('second', stagedHeaderBytes)
    const how = { append: false, killSetids: false }
    write(open.fs, request(), ino, 0, room, stagedHeaderBytes, 6, how)
    assert.is(await fsync(open), 0)
    await volume.end(a)
    cpSync(kept, staging, { recursive: true })
    plant(staging, ino)
    await leadAtLast(volume, a)
    const again = a.open as NonNullable<Member['open']>
    assert.is(await fsync(again), 0)
    return get(again.fs, 'file').toString()
  } finally {
    rmSync(kept, { recursive: true })
    await volume.close()
  }
}

test('a staged write that a record covers is not applied once more', async () => {
  assert.is(await afterStagedTwice(() => {}), 'second')
})

test('a planted bug is seen: staging is applied by what is there, not by number', async () => {
  const renumbered = (staging: string, ino: Ino) => {
    const reader = new StagingReader(staging)
    const newest = [...reader.newest().values()].map((staged) => staged.number)
    const number = Math.max(0, ...newest) + 100
    reader.close()
    const writer = new StagingWriter(staging)
    const bytes = Buffer.alloc(stagedHeaderBytes + 6)
    bytes.write('first!', stagedHeaderBytes)
    const staged = {
      number,
      ino,
      offset: 0,
      length: 6,
      sec: 1,
      nsec: 0,
      uniqueLo: 1,
      uniqueHi: 0,
      mount: 1,
    }
    writer.append(staged, bytes, stagedHeaderBytes)
    writer.close()
  }
  assert.is(await afterStagedTwice(renumbered), 'first!')
})

test('an fsync that waits while its volume is lost, or comes behind that, is answered', async () => {
  const volume = await VolumeOnMembers.make(3)
  try {
    const [a] = volume.members as [Member]
    assert.ok(await volume.lead(a))
    const { engine, fs, owner, volume: local } = a.open as NonNullable<Member['open']>
    put(fs, 'file', Buffer.from('x'))
    const errnos: number[] = []
    const { stagedNumber, seq } = local.shared
    const done = (errno: number) => errnos.push(errno)
    owner.stop('another node has it')
    // What it waits for is not committed any more.
    engine.sync({ stagedNumber: stagedNumber + 1, seq, done })
    const stopped = engine.stop()
    engine.sync({ stagedNumber, seq, done })
    await stopped
    engine.sync({ stagedNumber, seq, done })
    assert.equal(errnos, [-5, -5, -5])
    a.open = null
    await local.close()
  } finally {
    await volume.close()
  }
})

/** A volume on the first three of four members, led by the first, with two large files fsynced. */
async function withSpare(
  work: (
    volume: VolumeOnMembers,
    open: NonNullable<Member['open']>,
    chunks: ChunkId[],
  ) => Promise<void>,
): Promise<void> {
  const volume = await VolumeOnMembers.make(4)
  const spare = (volume.members[3] as Member).place
  const copies = volume.recorded.copies.filter(({ id }) => id !== spare.id)
  volume.recorded = { ...volume.recorded, copies, inSync: copies.map(({ id }) => id) }
  try {
    const [a] = volume.members as [Member]
    assert.ok(await volume.lead(a))
    const open = a.open as NonNullable<Member['open']>
    for (const name of ['one', 'two']) put(open.fs, name, systemRandom.bytes(3 * MIB))
    assert.is(await fsync(open), 0)
    await work(volume, open, [...open.engine.chunksInUse()])
  } finally {
    await volume.close()
  }
}

async function eventually(what: string, is: () => boolean): Promise<void> {
  const untilMs = clock.monotonicMs() + 5000
  while (!is()) {
    assert.ok(clock.monotonicMs() < untilMs, what)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

test('a spare that is entered while the owner serves is brought up and taken in, and another given up', () =>
  withSpare(async (volume, open, chunks) => {
    const [, b, , d] = volume.members as [Member, Member, Member, Member]
    assert.ok(chunks.length > 0)
    await open.owner.addCopy({ ...d.place, drive: '00'.repeat(16) as DriveId })
    await untilAll(volume, 4)
    for (const chunk of chunks) assert.ok(d.raw.has(chunk))
    open.owner.release(b.place.id)
    await eventually('it is off the record', () => volume.recorded.copies.length === 3)
    assert.not.ok(volume.recorded.inSync.includes(b.place.id))
    // Nothing waits for it any more, and what is written now does not reach it.
    b.reachable = false
    put(open.fs, 'three', systemRandom.bytes(2 * MIB))
    assert.is(await fsync(open), 0)
    assert.is(tail(volume, d), tail(volume, volume.members[0] as Member))
  }))

test('an owner learns of a copy that others entered into the record', () =>
  withSpare(async (volume, open) => {
    const { place } = volume.members[3] as Member
    volume.recorded = { ...volume.recorded, copies: [...volume.recorded.copies, place] }
    open.owner.look()
    await untilAll(volume, 4)
  }))

test('a member that dies while a spare is being filled is dropped all the same', () =>
  withSpare(async (volume, open) => {
    const [, b, , d] = volume.members as [Member, Member, Member, Member]
    volume.slowPuts = d.id
    await open.owner.addCopy({ ...d.place, drive: '00'.repeat(16) as DriveId })
    await eventually('it is being filled', () =>
      open.owner.standing().some(({ id, fill }) => id === d.place.id && fill !== null),
    )
    b.reachable = false
    await eventually('it is dropped', () => !volume.recorded.inSync.includes(b.place.id))
    assert.not.ok(volume.recorded.inSync.includes(d.place.id), 'and the spare is not whole yet')
    volume.slowPuts = null
    await eventually('the spare is in', () => volume.recorded.inSync.includes(d.place.id))
  }))

test('a copy gives wrong bytes: it is passed over, found by a scrub, and mended', () =>
  withSpare(async (volume, open, chunks) => {
    const [a, b, c] = volume.members as [Member, Member, Member]
    const [chunk] = chunks as [ChunkId]
    const path = (member: Member) => chunkPath(member.drive, chunk)
    flip(path(a))
    volume.liar = b.id
    // The owner has it from the only one that gives it whole, though the other one is asked first.
    assert.ok(await open.owner.mend(chunk))
    assert.equal(readFileSync(path(a)), readFileSync(path(c)))
    volume.liar = null
    flip(path(b))
    const found = await open.owner.scrub(
      b.place.id,
      () => false,
      () => {},
    )
    assert.equal(found, [{ chunk, what: 'its checksum differs', mended: true }])
    assert.equal(readFileSync(path(b)), readFileSync(path(c)))
    assert.equal(
      await open.owner.scrub(
        b.place.id,
        () => false,
        () => {},
      ),
      [],
    )
  }))

test('a scrub finds a log that is damaged on a member, which leaves the set', () =>
  withSpare(async (volume, open) => {
    const [, b] = volume.members as [Member, Member]
    const name = readdirSync(b.journalDirectory).find((one) => one.endsWith('.journal')) as string
    flip(join(b.journalDirectory, name), 200)
    const found = await open.owner.scrub(
      b.place.id,
      () => false,
      () => {},
    )
    assert.is(found?.length, 1)
    assert.is(found?.[0]?.chunk, null)
    await eventually('it is dropped', () => !volume.recorded.inSync.includes(b.place.id))
    const { lost } = open.owner.standing().find(({ id }) => id === b.place.id) ?? {}
    assert.ok(lost, 'and says that it is lost')
  }))

function chunkPath(drive: string, chunk: ChunkId): string {
  return join(drive, 'chunks', chunk.slice(0, 2), chunk)
}

/** One bit of a byte, in place. */
function flip(path: string, at = 100_000): void {
  const bytes = readFileSync(path)
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
  const fd = openSync(path, 'r+')
  writeSync(fd, bytes, at, 1, at)
  closeSync(fd)
}

test.run()
