import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type CopyId,
  type Epoch,
  FsError,
  hexId,
  type Ino,
  limits,
  type NodeId,
  newId,
  ROOT_INO,
  silentLog,
  systemClock,
  systemRandom,
  type VolumeId,
  type VolumeNumber,
} from '../../src/base/index.ts'
import { RawChunks } from '../../src/chunks/index.ts'
import { createBundle, type OpenedKeys } from '../../src/crypto/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { initDrive } from '../../src/drives/index.ts'
import { scan } from '../../src/journal/index.ts'
import { S_IFREG } from '../../src/meta/index.ts'
import {
  type AskCopy,
  Copy,
  type CopyChunks,
  type CopyPlace,
  lead,
  type OpenedLog,
  type Owner,
  OwnerReplicas,
  type RecordedSet,
  type SetStore,
  type Times,
  VolumeLog,
} from '../../src/replication/index.ts'
import {
  Engine,
  formatVolume,
  type LocalVolume,
  recoverVolume,
  SharedVolume,
  type VolumeOpening,
} from '../../src/store/index.ts'
import { create, lookup, read, VolumeFs, write } from '../../src/vfs/index.ts'

const clock = systemClock()
const MIB = 1024 * 1024
const caller = { uid: 0, gid: 0, pid: 1 }

const times: Times = {
  termMs: 600,
  dropMs: 200,
  dropToOneMs: 600,
  steadyMs: 50,
  giveUpMs: 900,
  promiseMs: 150,
  askMs: 80,
  graceMs: 30,
  answerMs: 200,
  chunkMs: 500,
}

/** A node with a drive and a copy on it; the volume is open while it owns it. */
class Member {
  readonly id: NodeId
  readonly dir: string
  readonly copy: Copy
  readonly raw: RawChunks
  reachable = true
  open: { volume: LocalVolume; engine: Engine; fs: VolumeFs; owner: Owner } | null = null
  lost: string | null = null

  constructor(root: string, index: number, volume: VolumeId) {
    this.id = hexId<NodeId>(`${index}`.repeat(32))
    this.dir = join(root, `node${index}`)
    const drive = initDrive(this.drive, { class: 2, nodeId: this.id }, systemDisk)
    this.raw = new RawChunks(() => [drive])
    const chunks: CopyChunks = {
      put: (chunk, bytes) => this.raw.put(chunk, volume, bytes),
      has: (chunk) => this.raw.has(chunk),
      read: (chunk) => this.raw.read(chunk, volume),
      delete: (chunk) => this.raw.delete(chunk, volume),
    }
    this.copy = Copy.create(
      { volume, id: newId<CopyId>(systemRandom), directory: this.journalDirectory },
      { disk: systemDisk, clock, chunks, termMs: times.termMs },
    )
  }

  get drive(): string {
    return join(this.dir, 'drive')
  }
  get journalDirectory(): string {
    return join(this.drive, 'volumes', 'v')
  }
  get place(): CopyPlace {
    return { id: this.copy.identity.id, node: this.id }
  }
}

/** One volume on several members in this process; the coordinator is a variable. */
class VolumeOnMembers {
  readonly root = mkdtempSync(join(tmpdir(), 'weft-owned-'))
  readonly id: VolumeId
  readonly #keys: OpenedKeys
  readonly members: Member[]
  recorded: RecordedSet

  private constructor(id: VolumeId, opened: OpenedKeys, count: number) {
    this.id = id
    this.#keys = opened
    this.members = Array.from({ length: count }, (_, n) => new Member(this.root, n + 1, id))
    const copies = this.members.map((member) => member.place)
    const inSync = copies.map((copy) => copy.id)
    this.recorded = { epoch: 0 as Epoch, owner: null, copies, inSync, minimum: 2 }
  }

  static async make(count: number): Promise<VolumeOnMembers> {
    const id = newId<VolumeId>(systemRandom)
    const slot = { kind: 'node', label: 'n', publicKey: Buffer.alloc(32, 9) } as const
    const { opened } = await createBundle(id, [slot], new Date().toISOString())
    const made = new VolumeOnMembers(id, opened, count)
    for (const { raw } of made.members) await raw.settle()
    return made
  }

  readonly #ask: AskCopy = async (to, request) => {
    const member = this.members.find(({ id }) => id === to.node)
    if (!member?.reachable) throw new FsError('EHOSTUNREACH', 'ask', {})
    return await member.copy.handle(request)
  }

  readonly #store: SetStore = {
    read: async () => this.recorded,
    takeEpoch: async (node, above) => {
      const epoch = (Math.max(this.recorded.epoch, above) + 1) as Epoch
      this.recorded = { ...this.recorded, epoch, owner: node }
      return this.recorded
    },
    setInSync: async (by, inSync) => {
      const { epoch, owner } = this.recorded
      if (by.epoch !== epoch || by.node !== owner) throw new FsError('ESTALE', 'setInSync', {})
      this.recorded = { ...this.recorded, inSync }
      return this.recorded
    },
  }

  #opening(member: Member): VolumeOpening {
    const shared = new SharedVolume()
    shared.sizeBytes = limits.volumeBytesDefault
    shared.replicated = true
    return {
      id: this.id,
      number: 1 as VolumeNumber,
      name: 'v',
      viewDirectory: join(member.dir, 'view'),
      journalDirectory: member.journalDirectory,
      stagingDirectory: join(member.dir, 'staging'),
      driveDirectories: [member.drive],
      boot: member.id,
      keys: this.#keys.keys.export(),
      shared: shared.buffer,
    }
  }

  /** @returns whether it serves now */
  async lead(member: Member): Promise<boolean> {
    let opened: LocalVolume | null = null
    let engine: Engine | null = null
    const open = async ({ epoch }: { epoch: Epoch }, head: { seq: number }): Promise<OpenedLog> => {
      const opening = this.#opening(member)
      const root = { mode: 0o755, uid: 0, gid: 0, now: clock.now() }
      const volume =
        head.seq === 0
          ? formatVolume(opening, epoch, root)
          : recoverVolume(opening, epoch, silentLog).volume
      opened = volume
      const own = new Engine(volume, { log: silentLog, clock, random: systemRandom })
      engine = own
      const { shared } = volume
      const log = new VolumeLog({
        disk: systemDisk,
        volume: this.id,
        directory: member.journalDirectory,
        shared,
        epoch,
        fencing: () => {},
        syncHere: () => own.syncHere(),
      })
      return {
        log,
        first: log.head,
        chunksInUse: async () => own.chunksInUse(),
        readChunk: (chunk) => member.raw.read(chunk, this.id),
      }
    }
    const owner = await lead(
      {
        volume: this.id,
        node: member.id,
        ask: this.#ask,
        store: this.#store,
        clock,
        times,
        report: silentLog,
        open,
        lost: (words) => {
          member.lost = words
        },
      },
      member.copy,
    )
    if ('why' in owner) return false
    assert.ok(opened && engine)
    const volume = opened as LocalVolume
    const running = engine as Engine
    const { shared } = volume
    volume.replicas = new OwnerReplicas(owner, shared, (chunk) => member.raw.read(chunk, this.id))
    const fs = new VolumeFs(
      volume,
      {
        clock,
        log: silentLog,
        mount: 1,
        wakeEngine: () => {
          running.follow()
          running.wake()
        },
        purge: (inos) => running.purge(inos),
        damaged: (_volume, chunk, what) => assert.unreachable(`${chunk}: ${what}`),
      },
      true,
    )
    member.open = { volume, engine: running, fs, owner }
    running.wake()
    return true
  }

  /** All of a member's programs end at once. */
  kill(member: Member): void {
    member.reachable = false
    member.open?.owner.stop('killed')
    member.open = null
  }

  async close(): Promise<void> {
    for (const { open } of this.members) {
      if (!open) continue
      open.owner.stop('the test is over')
      await open.engine.stop().catch(() => {})
      await open.volume.close()
    }
    for (const { copy } of this.members) copy.close()
    rmSync(this.root, { recursive: true, force: true })
  }
}

let unique = 0
const request = () => ({ uniqueLo: ++unique, uniqueHi: 0 })

function put(fs: VolumeFs, name: string, data: Buffer): Ino {
  fs.enter()
  const creation = { mode: S_IFREG | 0o644, umask: 0 }
  const { ino } = create(fs, request(), caller, ROOT_INO, Buffer.from(name), creation)
  const room = Buffer.concat([
    Buffer.alloc(limits.fuseBufferBytes - limits.fuseRequestBytesMax),
    data,
  ])
  const how = { append: false, killSetids: false }
  for (let at = 0; at < data.length; at += MIB) {
    const length = Math.min(MIB, data.length - at)
    write(fs, request(), ino, at, room, room.length - data.length + at, length, how)
  }
  return ino
}

/** @returns errno */
async function fsync({ engine, fs }: NonNullable<Member['open']>): Promise<number> {
  const { stagedNumber, seq } = fs.volume.shared
  return await new Promise((done) => engine.sync({ stagedNumber, seq, done }))
}

/** Position and seal of the last record of a copy's journal: equal where the journals are. */
function tail(volume: VolumeOnMembers, member: Member): string {
  let last = ''
  for (const { head } of scan(systemDisk, member.journalDirectory, volume.id, null, null)) {
    last = `${head.epoch}/${head.seq} ${head.chain.toString('hex')}`
  }
  return last
}

async function untilAll(volume: VolumeOnMembers, count: number): Promise<void> {
  const untilMs = clock.monotonicMs() + 5000
  while (volume.recorded.inSync.length < count) {
    assert.ok(clock.monotonicMs() < untilMs, `${count} copies are in sync again`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

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

function get(fs: VolumeFs, name: string): Buffer {
  fs.enter()
  const found = lookup(fs, ROOT_INO, Buffer.from(name))
  assert.ok(found, name)
  const out = Buffer.alloc(found.inode.size)
  for (let at = 0; at < out.length; at += MIB) {
    read(fs, found.ino, at, Math.min(MIB, out.length - at), out, at)
  }
  return out
}

/** Asks again until the lease of the owner before has run out. */
async function leadAtLast(volume: VolumeOnMembers, member: Member): Promise<void> {
  const untilMs = clock.monotonicMs() + 10_000
  while (!(await volume.lead(member).catch(() => false))) {
    assert.ok(clock.monotonicMs() < untilMs, 'a take-over ends')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

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

test.run()
