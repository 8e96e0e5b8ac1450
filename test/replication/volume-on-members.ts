import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
import {
  createBundle,
  dropEpochs,
  type KeyBundle,
  type OpenedKeys,
  rotate,
} from '../../src/crypto/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { initDrive, ToldDrives } from '../../src/drives/index.ts'
import { type JournalHead, scan } from '../../src/journal/index.ts'
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
  LocalVolume,
  recoverVolume,
  SharedVolume,
  type VolumeOpening,
} from '../../src/store/index.ts'
import { create, lookup, read, VolumeFs, write } from '../../src/vfs/index.ts'

export const clock = systemClock()
export const MIB = 1024 * 1024
const caller = { uid: 0, gid: 0, pid: 1 }

const quick: Times = {
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

/** For much data on a machine that does other things besides. */
export const patient: Times = {
  ...quick,
  termMs: 2000,
  dropMs: 1500,
  dropToOneMs: 2000,
  giveUpMs: 10_000,
  promiseMs: 700,
  askMs: 500,
  answerMs: 1400,
  chunkMs: 5000,
}

/** A node with a drive and a copy on it; the volume is open while it owns it. */
export class Member {
  readonly id: NodeId
  readonly dir: string
  readonly copy: Copy
  readonly raw: RawChunks
  readonly told = new ToldDrives()
  reachable = true
  drives = '00'.repeat(16)
  open: { volume: LocalVolume; engine: Engine; fs: VolumeFs; owner: Owner } | null = null
  lost: string | null = null

  constructor(root: string, index: number, volume: VolumeId, termMs: number) {
    this.id = hexId<NodeId>(`${index}`.repeat(32))
    this.dir = join(root, `node${index}`)
    const drive = initDrive(this.drive, { class: 2, nodeId: this.id }, systemDisk)
    this.told.tell([drive])
    this.raw = new RawChunks(() => [drive])
    const chunks: CopyChunks = {
      put: (chunk, bytes) => this.raw.put(chunk, volume, bytes),
      has: (chunk) => this.raw.has(chunk),
      drives: () => this.drives,
      read: (chunk) => this.raw.read(chunk, volume),
      delete: (chunk) => this.raw.delete(chunk, volume),
      check: (chunk) => this.raw.check(chunk, volume),
      old: (part, old, countMax) =>
        this.raw.list(
          part,
          volume,
          ({ epoch, keyEpoch }, writtenMs) =>
            keyEpoch < old.keyEpoch ||
            (epoch < old.epoch && writtenMs <= clock.now().sec * 1000 - old.restMs),
          countMax,
        ),
    }
    this.copy = Copy.create(
      { volume, id: newId<CopyId>(systemRandom), directory: this.journalDirectory },
      { disk: systemDisk, clock, chunks, termMs },
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
export class VolumeOnMembers {
  readonly root = mkdtempSync(join(tmpdir(), 'weft-owned-'))
  readonly id: VolumeId
  #keys: OpenedKeys
  #bundle: KeyBundle
  readonly members: Member[]
  readonly #times: Times
  recorded: RecordedSet

  private constructor(
    id: VolumeId,
    { bundle, opened }: { bundle: KeyBundle; opened: OpenedKeys },
    count: number,
    times: Times,
  ) {
    this.id = id
    this.#times = times
    this.#keys = opened
    this.#bundle = bundle
    this.members = Array.from(
      { length: count },
      (_, n) => new Member(this.root, n + 1, id, times.termMs),
    )
    const copies = this.members.map((member) => member.place)
    const inSync = copies.map((copy) => copy.id)
    this.recorded = { epoch: 0 as Epoch, owner: null, copies, inSync, minimum: 2 }
  }

  static async make(count: number, times = quick): Promise<VolumeOnMembers> {
    const id = newId<VolumeId>(systemRandom)
    const slot = { kind: 'node', label: 'n', publicKey: Buffer.alloc(32, 9) } as const
    const created = await createBundle(id, [slot], new Date().toISOString())
    const made = new VolumeOnMembers(id, created, count, times)
    for (const { raw } of made.members) await raw.settle()
    return made
  }

  /** A member that gives chunks with a byte changed. */
  liar: NodeId | null = null
  /** A member that takes no chunk for now. */
  slowPuts: NodeId | null = null

  readonly #ask: AskCopy = async (to, request) => {
    const member = this.members.find(({ id }) => id === to.node)
    if (!member?.reachable) throw new FsError('EHOSTUNREACH', 'ask', {})
    while (request.op === 'putChunk' && this.slowPuts === member.id) {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    const answer = await member.copy.handle(request)
    if (answer.kind !== 'chunk' || !answer.bytes || this.liar !== member.id) return answer
    const bytes = Buffer.from(answer.bytes)
    const at = Math.min(50_000, bytes.length - 1)
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
    return { ...answer, bytes }
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
    addCopy: async (_by, { id, node }) => {
      this.recorded = { ...this.recorded, copies: [...this.recorded.copies, { id, node }] }
      return this.recorded
    },
    release: async (_by, given) => {
      const copies = this.recorded.copies.filter(({ id }) => !given.includes(id))
      this.recorded = { ...this.recorded, copies }
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
      drives: member.told.buffer,
      boot: member.id,
      keys: this.#keys.keys.export(),
      shared: shared.buffer,
    }
  }

  /** All that a member has open is let go, as a daemon's death does. */
  async end(member: Member): Promise<void> {
    const { open } = member
    member.open = null
    if (!open) return
    open.owner.stop('its daemon ends')
    await open.engine.stop().catch(() => {})
    await open.volume.close()
  }

  /** What a daemon would open on a member, no owner taking part. */
  look<T>(member: Member, work: (volume: LocalVolume) => T): Promise<T> {
    const volume = new LocalVolume(this.#opening(member))
    const found = work(volume)
    return volume.close().then(() => found)
  }

  /** @returns whether it serves now */
  async lead(member: Member): Promise<boolean> {
    let opened: LocalVolume | null = null
    let engine: Engine | null = null
    const open = async ({ epoch }: { epoch: Epoch }, head: JournalHead): Promise<OpenedLog> => {
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
        from: head,
        fencing: () => {},
      })
      return {
        log,
        first: log.head,
        chunksInUse: async () => own.chunksInUse(),
        readChunk: (chunk) => member.raw.read(chunk, this.id),
        checkpoint: own.checkpoints.newest,
        unnamed: async (chunks) => own.unnamed(chunks),
        pinCheckpoint: () => own.checkpoints.pin(),
      }
    }
    const owner = await lead(
      {
        volume: this.id,
        node: member.id,
        ask: this.#ask,
        store: this.#store,
        clock,
        times: this.#times,
        report: silentLog,
        open,
        isWhole: (chunk, bytes) => member.raw.isWhole(chunk, this.id, bytes),
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

  /** A new key, for whoever has the volume open. */
  rotateKey(): void {
    this.#replaceKeys(rotate(this.#bundle, this.#keys))
  }

  dropOldKeys(): void {
    this.#replaceKeys(dropEpochs(this.#bundle, this.#keys, this.#keys.keys.newest))
  }

  #replaceKeys({ bundle, opened }: { bundle: KeyBundle; opened: OpenedKeys }): void {
    this.#bundle = bundle
    this.#keys = opened
    for (const { open } of this.members) open?.volume.keys.replace(opened.keys.export())
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
export const request = () => ({ uniqueLo: ++unique, uniqueHi: 0 })

export function put(fs: VolumeFs, name: string, data: Buffer): Ino {
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
export async function fsync({ engine, fs }: NonNullable<Member['open']>): Promise<number> {
  const { stagedNumber, seq } = fs.volume.shared
  return await new Promise((done) => engine.sync({ stagedNumber, seq, done }))
}

/** Position and seal of the last record of a copy's journal: equal where the journals are. */
export function tail(volume: VolumeOnMembers, member: Member): string {
  let last = ''
  for (const { head } of scan(systemDisk, member.journalDirectory, volume.id, null, null)) {
    last = `${head.epoch}/${head.seq} ${head.chain.toString('hex')}`
  }
  return last
}

export async function untilAll(volume: VolumeOnMembers, count: number): Promise<void> {
  const untilMs = clock.monotonicMs() + 20_000
  while (volume.recorded.inSync.length < count) {
    assert.ok(clock.monotonicMs() < untilMs, `${count} copies are in sync again`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export function get(fs: VolumeFs, name: string): Buffer {
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
export async function leadAtLast(volume: VolumeOnMembers, member: Member): Promise<void> {
  const untilMs = clock.monotonicMs() + 10_000
  while (!(await volume.lead(member).catch(() => false))) {
    assert.ok(clock.monotonicMs() < untilMs, 'a take-over ends')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
