// deadline: 180 s
import { readdirSync, readFileSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type ChunkId,
  type FsError,
  type KeyEpoch,
  limits,
  newId,
  systemRandom,
} from '../../src/base/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { firstHead, readCheckpoint, scan } from '../../src/journal/index.ts'
import { resealVolume } from '../../src/store/index.ts'
import { quietWork } from '../store/volume-world.ts'
import { until } from '../support/node-world.ts'
import {
  fsync,
  get,
  leadAtLast,
  type Member,
  MIB,
  patient,
  put,
  tail,
  untilAll,
  VolumeOnMembers,
} from './volume-on-members.ts'

type Open = NonNullable<Member['open']>

/** A checkpoint, behind the end of a journal file. @returns how many copies have not got it */
async function checkpoint({ engine, volume }: Open): Promise<number> {
  engine.locked(() => volume.shared.setHead(volume.journal.rollOver(volume.shared.head)))
  engine.commit(() => ({}))
  return await engine.checkpoints.take((make) => engine.commit(make))
}

function beginOf(volume: VolumeOnMembers, { journalDirectory }: Member): number {
  return firstHead(systemDisk, journalDirectory, volume.id)?.seq ?? -1
}

function checkpointOf(volume: VolumeOnMembers, { journalDirectory }: Member) {
  const found = readCheckpoint(systemDisk, journalDirectory, volume.id)
  assert.ok(found)
  return found
}

test('a checkpoint is on every member, chunks and all, and each drops what is older', async () => {
  const volume = await VolumeOnMembers.make(3, patient)
  try {
    const [a] = volume.members as [Member, Member, Member]
    assert.ok(await volume.lead(a))
    const open = a.open as Open
    put(open.fs, 'first', Buffer.from('in the first checkpoint'))
    assert.is(await fsync(open), 0)
    assert.is(await checkpoint(open), 0)
    const { newest: before } = checkpointOf(volume, a)
    put(open.fs, 'second', systemRandom.bytes(MIB))
    assert.is(await fsync(open), 0)
    assert.is(await checkpoint(open), 0)
    const first = checkpointOf(volume, a)
    assert.is(await checkpoint(open), 0)
    for (const member of volume.members) {
      const { newest, oldest, chunks } = checkpointOf(volume, member)
      assert.ok(oldest.seq > before.seq && newest.seq > oldest.seq)
      const begin = beginOf(volume, member)
      assert.ok(begin > 0 && begin <= oldest.seq, `the journal begins at ${begin}`)
      for (const chunk of chunks) assert.ok(member.raw.has(chunk))
      const [, dropped] = first.chunks
      assert.ok(dropped && !chunks.includes(dropped))
      assert.not(member.raw.has(dropped), 'of the checkpoint before the last but one nothing stays')
    }
  } finally {
    await volume.close()
  }
})

test('the journal of a volume that is changed for ever stays bounded on every copy', async () => {
  const volume = await VolumeOnMembers.make(3, patient)
  try {
    const [a] = volume.members as [Member, Member, Member]
    assert.ok(await volume.lead(a))
    const { engine } = a.open as Open
    const value = systemRandom.bytes(3 * MIB)
    const rounds = 4
    for (let round = 0; round < rounds; round++) {
      const before = round === 0 ? 0 : checkpointOf(volume, a).newest.seq
      for (let written = 0; written <= limits.journalFileBytesMax; written += value.length) {
        engine.commit((draft) => {
          draft.put(Buffer.from('zz: a value of the test'), value)
          return {}
        })
      }
      await until(
        'one is taken and given to all',
        async () => {
          // One that is under way as the engine looks is not begun again before its next turn.
          engine.wake()
          return volume.members.every(
            ({ copy }) => copy.checkpoint !== null && copy.checkpoint.newest.seq > before,
          )
        },
        60_000,
      )
    }
    for (const member of volume.members) {
      const names = readdirSync(member.journalDirectory).filter((name) => name.endsWith('.journal'))
      const bytes = names.map((name) => statSync(join(member.journalDirectory, name)).size)
      const all = bytes.reduce((sum, one) => sum + one, 0)
      assert.ok(all < 3.5 * limits.journalFileBytesMax, `${all >> 20} MiB after ${rounds} rounds`)
      assert.ok(beginOf(volume, member) > 0)
    }
  } finally {
    await volume.close()
  }
})

/** A volume whose owner's journal begins behind everything that c has. */
async function behind(): Promise<{ volume: VolumeOnMembers; large: Buffer }> {
  const volume = await VolumeOnMembers.make(3, patient)
  const [a, , c] = volume.members as [Member, Member, Member]
  assert.ok(await volume.lead(a))
  const open = a.open as Open
  put(open.fs, 'before', Buffer.from('on all three'))
  assert.is(await fsync(open), 0)
  c.reachable = false
  const large = systemRandom.bytes(2 * MIB)
  put(open.fs, 'missed', large)
  assert.is(await fsync(open), 0)
  assert.is(await checkpoint(open), 1, 'one copy has not got it')
  assert.is(await checkpoint(open), 1)
  assert.ok(beginOf(volume, a) > c.copy.head.seq, 'the journal begins behind all that c has')
  put(open.fs, 'after', Buffer.from('behind the checkpoint'))
  assert.is(await fsync(open), 0)
  return { volume, large }
}

function assertWhole({ fs }: Open, large: Buffer): void {
  assert.is(get(fs, 'before').toString(), 'on all three')
  assert.ok(get(fs, 'missed').equals(large))
  assert.is(get(fs, 'after').toString(), 'behind the checkpoint')
}

test('a copy that was away until the journal was cut begins at the checkpoint, and can take over', async () => {
  const { volume, large } = await behind()
  try {
    const [a, b, c] = volume.members as [Member, Member, Member]
    const open = a.open as Open
    c.reachable = true
    await untilAll(volume, 3)
    assert.is(tail(volume, c), tail(volume, a))
    assert.is(beginOf(volume, c), checkpointOf(volume, c).newest.seq)
    for (const chunk of open.engine.chunksInUse()) assert.ok(c.raw.has(chunk))
    assert.is(await checkpoint(open), 0, 'the next one is on all')
    volume.kill(a)
    await leadAtLast(volume, c)
    assertWhole(c.open as Open, large)
    put((c.open as Open).fs, 'more', Buffer.from('written by c'))
    assert.is(await fsync(c.open as Open), 0)
    assert.is(await checkpoint(c.open as Open), 1)
    assert.is(tail(volume, b), tail(volume, c))
  } finally {
    await volume.close()
  }
})

test('a candidate whose own log is short begins at the checkpoint of the copy it takes over from', async () => {
  const { volume, large } = await behind()
  try {
    const [a, b, c] = volume.members as [Member, Member, Member]
    volume.kill(a)
    c.reachable = true
    await leadAtLast(volume, c)
    assertWhole(c.open as Open, large)
    await untilAll(volume, 2)
    assert.equal([...volume.recorded.inSync].sort(), [b.place.id, c.place.id].sort())
    put((c.open as Open).fs, 'more', Buffer.from('written by c'))
    assert.is(await fsync(c.open as Open), 0)
    assert.is(tail(volume, b), tail(volume, c))
  } finally {
    await volume.close()
  }
})

/** Key epochs of all that lies on a member's drive: chunk files and journal records. */
function keyEpochs(volume: VolumeOnMembers, { drive, journalDirectory }: Member): Set<number> {
  const found = new Set<number>()
  for (const path of chunkFiles(drive)) {
    // Offset 48 of block 0: key epoch (docs/format.md).
    const bytes = readFileSync(path)
    // Empty: about to be removed.
    if (bytes.length > 0) found.add(bytes.readUInt32LE(48))
  }
  for (const { header } of scan(systemDisk, journalDirectory, volume.id, null, null)) {
    found.add(header.keyEpoch)
  }
  return found
}

function chunkFiles(drive: string): string[] {
  const chunks = join(drive, 'chunks')
  return readdirSync(chunks, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

test('keys are changed on every copy, or the old ones stay: a copy that is away may hold what they sealed', async () => {
  const volume = await VolumeOnMembers.make(3, patient)
  try {
    const [a, b, c] = volume.members as [Member, Member, Member]
    assert.ok(await volume.lead(a))
    const open = a.open as Open
    const large = systemRandom.bytes(MIB)
    put(open.fs, 'large', large)
    put(open.fs, 'small', Buffer.from('inside the record'))
    assert.is(await fsync(open), 0)
    await checkpoint(open)
    volume.rotateKey()
    const newest = open.volume.keys.newest
    const reseal = () => resealVolume(open.engine, newest, systemRandom, quietWork)
    c.reachable = false
    await reseal().then(
      () => assert.unreachable('finished without a copy'),
      (error: FsError) => {
        assert.is(error.code, 'EAGAIN')
        assert.match(error.message, /1 of the copies of volume v .*the old keys stay/)
      },
    )
    c.reachable = true
    await untilAll(volume, 3)
    await reseal()
    volume.dropOldKeys()
    for (const member of volume.members) {
      assert.equal(keyEpochs(volume, member), new Set([newest]))
    }
    volume.kill(a)
    await leadAtLast(volume, b)
    assert.ok(get((b.open as Open).fs, 'large').equals(large))
    assert.is(get((b.open as Open).fs, 'small').toString(), 'inside the record')
  } finally {
    await volume.close()
  }
})

/** As the owner puts a chunk, and then dies before a record names it. */
async function putUnnamed({ volume }: Open, id: ChunkId): Promise<void> {
  const keyEpoch = volume.keys.newest
  const { epoch } = volume.shared
  const seal = { volume: volume.id, keyEpoch, epoch, key: volume.chunkKey(keyEpoch) }
  const plain = systemRandom.bytes(1000)
  await volume.chunks.put(id, seal, plain, plain.length, Buffer.alloc(0))
  await volume.confirm(id, null)
}

test('chunks that no record named go from every copy when their epoch is past and they have rested', async () => {
  const volume = await VolumeOnMembers.make(3, patient)
  try {
    const [a, b] = volume.members as [Member, Member, Member]
    assert.ok(await volume.lead(a))
    const open = a.open as Open
    const large = systemRandom.bytes(MIB)
    put(open.fs, 'large', large)
    assert.is(await fsync(open), 0)
    const never = newId<ChunkId>(systemRandom)
    await putUnnamed(open, never)
    for (const member of volume.members) assert.ok(member.raw.has(never))
    const sweep = async (owner: Open['owner'], restMs: number) =>
      await owner.sweep({ keyEpoch: 0 as KeyEpoch, restMs })
    assert.equal(await sweep(open.owner, 0), { deleted: 0, without: 0 }, 'of this epoch')
    volume.kill(a)
    await leadAtLast(volume, b)
    const after = b.open as Open
    assert.equal(await sweep(after.owner, 3_600_000), { deleted: 0, without: 1 }, 'too young')
    a.reachable = true
    await untilAll(volume, 3)
    const old = new Date(Date.now() - 7_200_000)
    for (const { drive } of volume.members) {
      for (const path of chunkFiles(drive)) utimesSync(path, old, old)
    }
    assert.equal(await sweep(after.owner, 3_600_000), { deleted: 3, without: 0 })
    for (const member of volume.members) assert.not(member.raw.has(never))
    assert.ok(get(after.fs, 'large').equals(large), 'what is named stays')
  } finally {
    await volume.close()
  }
})

test.run()
