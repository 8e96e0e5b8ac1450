import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type ChunkId,
  type Clock,
  type CopyId,
  type Epoch,
  type NodeId,
  type RecordSeq,
  systemClock,
  type VolumeId,
} from '../../src/base/index.ts'
import { SimulatedDisk } from '../../src/disk/index.ts'
import {
  type Checkpoint,
  createJournal,
  decodeCheckpoint,
  encodeCheckpoint,
  firstHead,
  type JournalHead,
} from '../../src/journal/index.ts'
import { type Answer, Copy, type CopyChunks, type Request } from '../../src/replication/index.ts'
import { seeded } from '../support/seeded.ts'
import { JournalLog } from './journal-log.ts'

const volume = '0f'.repeat(16) as VolumeId
const copyId = 'c0'.repeat(16) as CopyId
const owner = 'a1'.repeat(16) as NodeId
const epoch = 1 as Epoch
const directory = '/drive/v'
const chunk = (n: number) => n.toString(16).padStart(32, '0') as ChunkId
const clock: Clock = { ...systemClock(), monotonicMs: () => 0 }
/** A few records. */
const fileBytesMax = 1024

/** A copy on a simulated disk, and an owner's log with 30 records on another. */
class World {
  readonly disk = new SimulatedDisk()
  readonly places: JournalHead[] = []
  readonly log: JournalLog
  readonly chunks = new Set<ChunkId>()
  copy: Copy

  constructor() {
    const disk = new SimulatedDisk()
    const start = createJournal(disk, '/owner', volume)
    this.log = new JournalLog({ disk, volume, directory: '/owner', fileBytesMax }, epoch, start)
    this.places.push(start)
    for (let n = 1; n <= 30; n++) this.append(`record ${n}`)
    this.copy = Copy.create({ volume, id: copyId, directory }, this.#world)
  }

  get #world() {
    const chunks: CopyChunks = {
      put: async (id) => void this.chunks.add(id),
      has: (id) => this.chunks.has(id),
      drives: () => '00'.repeat(16),
      check: async () => null,
      read: async () => null,
      delete: async (id) => void this.chunks.delete(id),
      old: async () => [],
    }
    return { disk: this.disk, clock, chunks, termMs: 0, aheadBytes: 0, fileBytesMax }
  }

  append(body: string): void {
    const none = { begins: [], ends: [] }
    this.places.push(this.log.append(Buffer.from(body), none, 0 as RecordSeq))
  }

  at(seq: number): JournalHead {
    return this.places[seq] as JournalHead
  }

  async ask(request: Request): Promise<Answer> {
    return await this.copy.handle(request)
  }

  async ship(from: number, to: number): Promise<Answer> {
    const before = this.at(from)
    const whole = this.log.read(before, 1_000_000) as Buffer
    const tail = to === 30 ? 0 : (this.log.read(this.at(to), 1_000_000) as Buffer).length
    const records = whole.subarray(0, whole.length - tail)
    return await this.ask({ op: 'append', epoch, owner, before, records, sync: true })
  }

  checkpoint(newest: number, oldest: number, ...chunks: number[]): Checkpoint {
    const ids = chunks.map(chunk)
    const manifest = Buffer.from('sealed')
    return { newest: this.at(newest), oldest: this.at(oldest), chunks: ids, manifest }
  }

  async take(checkpoint: Checkpoint): Promise<Answer> {
    return await this.ask({ op: 'checkpoint', epoch, owner, checkpoint })
  }

  async begin(end: JournalHead, checkpoint: Checkpoint): Promise<Answer> {
    return await this.ask({ op: 'begin', epoch, owner, end, checkpoint })
  }

  get first(): number {
    return firstHead(this.disk, directory, volume)?.seq ?? -1
  }

  /** The power goes and comes; what the copy says of itself then. */
  restart(seed: number): Copy {
    this.disk.powerCut(seeded(seed))
    this.copy = Copy.open({ volume, directory }, this.#world)
    return this.copy
  }
}

test('a checkpoint is taken with its place and its chunks, and only then what is older goes', async () => {
  const world = new World()
  await world.ship(0, 20)
  const wanted = world.checkpoint(15, 10, 1, 2)
  assert.equal(await world.take(wanted), { kind: 'lacks', chunks: [chunk(1), chunk(2)] })
  assert.is(world.first, 0)
  world.chunks.add(chunk(1)).add(chunk(2))
  const ahead = await world.take(world.checkpoint(25, 10, 1, 2))
  assert.is(ahead.kind, 'apart', 'the log does not reach its place')
  assert.equal(await world.take(wanted), { kind: 'done' })
  assert.ok(world.first > 0 && world.first <= 10)
  const kept = await world.ask({ op: 'readCheckpoint' })
  assert.equal(kept, { kind: 'checkpoint', volume, checkpoint: wanted })
  const tags = await world.ask({ op: 'tags', seqs: [1, 10, 20].map((seq) => seq as RecordSeq) })
  assert.equal(tags, { kind: 'tags', tags: [null, world.at(10).chain, world.at(20).chain] })
})

test('with the next checkpoint go the chunks of the last but one, and not the newest by an order to delete', async () => {
  const world = new World()
  await world.ship(0, 30)
  for (const n of [1, 2, 3]) world.chunks.add(chunk(n))
  await world.take(world.checkpoint(10, 5, 1, 2))
  await world.take(world.checkpoint(20, 10, 2, 3))
  assert.equal([...world.chunks], [chunk(2), chunk(3)])
  const committed = { epoch, seq: 30 as RecordSeq }
  await world.ask({ op: 'deleteChunks', epoch, owner, committed, chunks: [chunk(3)] })
  assert.ok(world.chunks.has(chunk(3)))
})

test('messages that come late change nothing', async () => {
  const world = new World()
  await world.ship(0, 5)
  world.chunks.add(chunk(1)).add(chunk(2))
  const { head } = world.copy
  const begun = world.checkpoint(10, 10, 1)
  assert.equal(await world.begin(head, begun), { kind: 'done' })
  assert.is(world.first, 10)
  await world.ship(10, 30)
  const again = await world.begin(head, begun)
  assert.equal(again, { kind: 'apart', end: world.copy.head }, 'that log is gone')
  assert.is(world.copy.head.seq, 30)
  await world.take(world.checkpoint(20, 10, 1, 2))
  assert.equal(await world.take(begun), { kind: 'done' })
  assert.is(world.copy.checkpoint?.newest.seq, 20)
})

test('to begin anew cut short at any moment leaves the log before or the new one, never less', async () => {
  let [before, after] = [0, 0]
  for (let calls = 0; ; calls++) {
    const world = new World()
    await world.ship(0, 7)
    world.chunks.add(chunk(1))
    const { head } = world.copy
    world.disk.powerOffAfter(calls)
    const answer = await world.begin(head, world.checkpoint(20, 20, 1)).catch(() => null)
    const copy = world.restart(calls)
    assert.is(copy.damaged, null, `${calls} calls`)
    if (copy.head.seq === 7) before++
    else {
      after++
      assert.is(copy.head.seq, 20)
      assert.is(copy.checkpoint?.newest.seq, 20)
      assert.equal(await world.ship(20, 30), { kind: 'appended', end: 30, durable: 30 })
    }
    assert.is(copy.promised.epoch, epoch)
    if (answer) break
  }
  assert.ok(before > 0 && after > 1, `${before} before, ${after} after`)
})

test('a checkpoint cut short at any moment leaves a whole copy', async () => {
  let cut = 0
  for (let calls = 0; ; calls++) {
    const world = new World()
    await world.ship(0, 30)
    world.chunks.add(chunk(1))
    world.disk.powerOffAfter(calls)
    const answer = await world.take(world.checkpoint(25, 20, 1)).catch(() => null)
    const copy = world.restart(calls)
    assert.is(copy.damaged, null, `${calls} calls`)
    assert.is(copy.head.seq, 30)
    assert.ok(world.first === 0 || copy.checkpoint !== null)
    if (world.first > 0) cut++
    if (answer) break
  }
  assert.ok(cut > 1)
})

test('a log that does not go on where its checkpoint ends is damaged, and says so', async () => {
  const world = new World()
  await world.ship(0, 30)
  world.chunks.add(chunk(1))
  await world.take(world.checkpoint(25, 20, 1))
  world.disk.unlink(`${directory}/checkpoint`)
  world.disk.fsyncDirectory(directory)
  assert.match(world.restart(1).damaged ?? '', /does not go on where nothing was before it/)
  const other = new World()
  await other.ship(0, 10)
  other.disk.replaceFile(
    `${directory}/checkpoint`,
    encodeCheckpoint(volume, other.checkpoint(25, 20, 1)),
  )
  assert.match(other.restart(1).damaged ?? '', /does not go on where the checkpoint ends/)
})

test('the bytes of a checkpoint file, both ways; anything else is refused', () => {
  const place = (seq: number, fill: number) => ({
    epoch: 7 as Epoch,
    seq: seq as RecordSeq,
    chain: Buffer.alloc(16, fill),
  })
  const checkpoint: Checkpoint = {
    newest: place(0x0102, 0xee),
    oldest: place(0x0101, 0xdd),
    chunks: [chunk(0xcc), chunk(0xcd)],
    manifest: Buffer.from('ab'),
  }
  const at = (seq: string, fill: string) => `0700000000000000${seq}01000000000000${fill.repeat(16)}`
  const hex =
    `5746435001000000${volume}${at('02', 'ee')}${at('01', 'dd')}02000000` +
    `${chunk(0xcc)}${chunk(0xcd)}020000006162`
  const bytes = encodeCheckpoint(volume, checkpoint)
  assert.is(bytes.toString('hex', 0, bytes.length - 4), hex)
  assert.equal(decodeCheckpoint(volume, bytes), checkpoint)
  const refused = (wrong: Buffer, of = volume) =>
    assert.throws(() => decodeCheckpoint(of, wrong), /checkpoint file/)
  for (let end = 0; end < bytes.length; end++) refused(bytes.subarray(0, end))
  for (let at = 8; at < bytes.length; at++) {
    const flipped = Buffer.from(bytes)
    flipped.writeUInt8(flipped.readUInt8(at) ^ 4, at)
    refused(flipped)
  }
  refused(bytes, 'aa'.repeat(16) as VolumeId)
})

test.run()
