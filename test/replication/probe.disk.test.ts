import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ChunkId, codeOf, messageOf, newId, systemRandom } from '../../src/base/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { scan } from '../../src/journal/index.ts'
import {
  clock,
  fsync,
  get,
  type Member,
  put,
  tail,
  untilAll,
  VolumeOnMembers,
} from './volume-on-members.ts'

type Open = NonNullable<Member['open']>

const newChunk = () => newId<ChunkId>(systemRandom)

/** Three members, of which the first leads, with one file. */
async function withOwner(
  work: (volume: VolumeOnMembers, open: Open, members: [Member, Member, Member]) => Promise<void>,
): Promise<void> {
  const volume = await VolumeOnMembers.make(3)
  try {
    const members = volume.members as [Member, Member, Member]
    assert.ok(await volume.lead(members[0]))
    const open = members[0].open as Open
    put(open.fs, 'file', Buffer.from('a program wrote this'))
    assert.is(await fsync(open), 0)
    await work(volume, open, members)
  } finally {
    await volume.close()
  }
}

/** @returns what it failed with, '' when it succeeded */
async function probe({ engine }: Open, chunk = newChunk()): Promise<{ code: string; why: string }> {
  return await engine.probe(chunk).then(
    () => ({ code: '', why: '' }),
    (error: unknown) => ({ code: codeOf(error), why: messageOf(error) }),
  )
}

function chunkFiles({ drive }: Member): string[] {
  return readdirSync(join(drive, 'chunks'), { recursive: true })
    .map(String)
    .filter((name) => /[0-9a-f]{32}$/.test(name))
}

async function eventually(what: string, is: () => boolean): Promise<void> {
  const untilMs = clock.monotonicMs() + 5000
  while (!is()) {
    assert.ok(clock.monotonicMs() < untilMs, what)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

function figuresOf({ volume: { shared } }: Open) {
  const { usedBytes, inlineBytes, inodes, inoNext, inoReserved, stagedNumber } = shared
  return { usedBytes, inlineBytes, inodes, inoNext, inoReserved, stagedNumber }
}

test('a probe is a record that every member has durably, and leaves nothing else', () =>
  withOwner(async (volume, open, members) => {
    const before = figuresOf(open)
    const seq = open.volume.shared.seq
    for (let n = 1; n <= 20; n++) {
      assert.equal(await probe(open), { code: '', why: '' })
      const standing = open.owner.standing()
      assert.ok(
        standing.every(({ durable }) => durable >= seq + n),
        'everywhere when it is told',
      )
    }
    assert.is(open.volume.shared.seq, seq + 20)
    assert.equal(figuresOf(open), before)
    for (const other of members) assert.is(tail(volume, other), tail(volume, members[0]))
    await eventually('its chunks go, on every copy', () =>
      members.every((member) => chunkFiles(member).length === 0),
    )
    assert.is(open.engine.chunksInUse().length, 0)
    assert.is(get(open.fs, 'file').toString(), 'a program wrote this')
    const bytes = journalBytes(volume, members[0], seq)
    assert.ok(bytes < 20 * 512, `${bytes} bytes of journal for twenty`)
  }))

/** Of records behind `seq`. */
function journalBytes(volume: VolumeOnMembers, member: Member, seq: number): number {
  let bytes = 0
  for (const { raw, header } of scan(systemDisk, member.journalDirectory, volume.id, null, null)) {
    if (header.seq > seq) bytes += raw.length
  }
  return bytes
}

test('a member that gives other bytes back fails the probe, by name', () =>
  withOwner(async (volume, open, [, b]) => {
    volume.liar = b.id
    const { code, why } = await probe(open)
    assert.is(code, 'EIO')
    assert.match(why, new RegExp(`on node ${b.id} does not give back`))
    volume.liar = null
    assert.equal(await probe(open), { code: '', why: '' })
  }))

test('the own drive that gives other bytes back fails the probe', () =>
  withOwner(async (_volume, open) => {
    const { chunks } = open.volume
    const { readSync } = chunks
    chunks.readSync = (...args: Parameters<typeof readSync>) => {
      readSync.apply(chunks, args)
      const [, , , , , out] = args
      out.writeUInt8(out.readUInt8(100) ^ 1, 100)
    }
    const { code, why } = await probe(open)
    assert.is(code, 'EIO')
    assert.match(why, /of this node does not give back/)
  }))

test('a member that takes no chunk is named while it is waited for', () =>
  withOwner(async (volume, open, [, b]) => {
    const chunk = newChunk()
    volume.slowPuts = b.id
    const probing = probe(open, chunk)
    const awaited = () => open.owner.awaited(chunk).map(({ node }) => node)
    await eventually('it alone is waited for', () => awaited().join() === b.id)
    volume.slowPuts = null
    assert.is((await probing).code, '')
    assert.equal(awaited(), [])
  }))

test('a member that is silent is waited for until it is dropped, and no longer', () =>
  withOwner(async (volume, open, [, , c]) => {
    c.reachable = false
    const chunk = newChunk()
    const probing = probe(open, chunk)
    await eventually('it is named', () =>
      open.owner.awaited(chunk).some(({ node }) => node === c.id),
    )
    assert.is((await probing).code, '')
    assert.is(volume.recorded.inSync.length, 2)
    c.reachable = true
    await untilAll(volume, 3)
    assert.equal(await probe(open), { code: '', why: '' })
  }))

test('an owner that is cut off has no probe acknowledged', () =>
  withOwner(async (volume, open, [a]) => {
    for (const other of volume.members) other.reachable = other === a
    const { code } = await probe(open)
    assert.is(code, 'EIO')
    assert.match(a.lost ?? '', /no legal set/)
    assert.is((await probe(open)).code, 'EIO', 'nor the next')
  }))

test('a full drive fails the probe with ENOSPC, and no copy keeps any of it', () =>
  withOwner(async (_volume, open, members) => {
    const [drive] = open.volume.drives
    assert.ok(drive)
    const { freeBytes } = drive
    drive.freeBytes = () => 0
    for (let n = 0; n < 3; n++) assert.is((await probe(open)).code, 'ENOSPC')
    drive.freeBytes = freeBytes
    await eventually('the others give back what they took', () =>
      members.every((member) => chunkFiles(member).length === 0),
    )
    assert.equal(await probe(open), { code: '', why: '' })
  }))

test('closing a volume beside a probe ends it, and nothing touches the volume behind that', () =>
  withOwner(async (volume, open, [, b]) => {
    volume.slowPuts = b.id
    const probing = probe(open)
    const begunMs = clock.monotonicMs()
    const stopped = open.engine.stop()
    await stopped
    assert.ok(clock.monotonicMs() - begunMs < 3000)
    volume.slowPuts = null
    assert.is((await probing).code, 'ECANCELED')
    assert.is((await probe(open)).code, 'ECANCELED')
  }))

test.run()
