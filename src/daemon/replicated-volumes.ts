import { z } from 'zod'
import {
  background,
  type ChunkId,
  type Clock,
  type CopyId,
  codeOf,
  type DriveId,
  FsError,
  isBug,
  type KeyEpoch,
  type Log,
  messageOf,
  type NodeId,
  type PeerKey,
  sleep,
  suspendProof,
  type VolumeId,
  type VolumeNumber,
} from '../base/index.ts'
import type { RawChunks } from '../chunks/index.ts'
import { systemDisk } from '../disk/index.ts'
import { type Drive, takesData } from '../drives/index.ts'
import type { Net } from '../net/index.ts'
import {
  type Candidate,
  type Copy,
  designTimes,
  type Owner,
  type PlacedCopy,
  type Refused,
} from '../replication/index.ts'
import {
  type RootAttributes,
  SharedVolume,
  SWEEP_REST_MS,
  type VolumeOpening,
} from '../store/index.ts'
import {
  copyOn,
  type StoredVolume,
  type VolumeRecord,
  type VolumeRegistry,
} from '../volumes/index.ts'
import { jsonBytes, parsed } from './call-bytes.ts'
import type { ClusterMember } from './cluster-member.ts'
import { Copies } from './copies.ts'
import { askOverNet, serveCopies } from './copies-net.ts'
import type { EngineHost } from './engine-host.ts'
import { ownVolume } from './owned-volume.ts'
import { linesShape, type OwnerLine, type ReleaseFor, releaseFor } from './owner-life.ts'
import { RegistrySets } from './registry-sets.ts'

export interface ReplicatedWorld {
  readonly node: NodeId
  readonly cluster: ClusterMember
  readonly drives: readonly Drive[]
  readonly chunks: RawChunks
  readonly engine: EngineHost
  readonly registry: VolumeRegistry
  readonly clock: Clock
  readonly log: Log
  /** Fulfilled when so many bytes, which no caller waits for, may go to another node. */
  pace(bytes: number, isAwaited: () => boolean): Promise<void>
  /** Drives of this node that are not here now, and may come back. */
  away(): Iterable<DriveId>
  /** A drive that went away may come back so long before what was on it is made anew. */
  awayMs(): number
  /** What a volume's engine wanted on stable storage is there on every copy in sync, after so long. */
  synced(volume: string, ms: number): void
  /** Nodes that are being emptied: no copy goes there. */
  draining(): Promise<ReadonlyMap<NodeId, string>>
  /** As Volumes.release. @throws FsError EBUSY with who uses it */
  release(volume: VolumeId, wantedFor: ReleaseFor): Promise<readonly OwnerLine[]>
}

/** What a volume is opened with, once its epoch is taken. */
export interface Opening {
  /** For each try a state of its own: what is shared with a try that failed says that it failed. */
  opening(shared: SharedVolume): VolumeOpening
  readonly root: RootAttributes
  readonly checkView: boolean
  /** The record as each change left it. */
  changed(stored: StoredVolume): void
  /** Another node has the volume, or may have: before anybody is told so by an error. */
  fencing(): void
  lost(words: string): void
}

/** A drive that a copy may go to, and how large it is. */
export interface MemberDrive extends Candidate {
  readonly totalBytes: number
}

/** @property stored as the last change by this owner left the record */
interface Owned {
  readonly owner: Owner
  stored: StoredVolume
}

const SERVICE = { drives: 'node.drives', create: 'copy.create', release: 'volume.release' } as const
const CALL_MS = 3000
/** All that the owner has accepted goes to every copy first. One that dies meanwhile is not waited for: its connection breaks. */
const RELEASE_MS = 30_000
/** Its lease runs out meanwhile: an owner that is gone costs the next one nothing. */
const RELEASE_CONNECT_MS = 1000
/** A lease that nobody renews has run out by then, and the take-over behind it is done. */
const LEAD_MS_MAX = designTimes.termMs + 3 * designTimes.promiseMs + 4000
const LOOK_MS = 200

const hex = z.string().regex(/^[0-9a-f]{32}$/)
const driveList = z
  .array(
    z.strictObject({
      id: hex,
      class: z.union([z.literal(1), z.literal(2), z.literal(3)]),
      freeBytes: z.number().min(0),
      totalBytes: z.number().min(0),
    }),
  )
  .max(1024)
const newCopy = z.strictObject({ volume: hex, copy: hex, drive: hex })
const named = z.strictObject({ volume: hex })
const wanted = named.extend({ wantedFor: releaseFor })
const released = z.strictObject({ lines: linesShape })

/** Volumes of several copies: this node's part in holding and owning them. */
export class ReplicatedVolumes {
  readonly copies: Copies
  readonly #world: ReplicatedWorld
  readonly #owners = new Map<VolumeId, Owned>()
  /** Copies that are being deleted. */
  readonly #obeying = new Set<CopyId>()

  static async open(world: ReplicatedWorld): Promise<ReplicatedVolumes> {
    const { registry, engine, drives } = world
    const copies = await Copies.open({
      drives: () => drives,
      chunks: world.chunks,
      disk: systemDisk,
      clock: world.clock,
      termMs: designTimes.termMs,
      isBuried: async (id) => (await registry.tombstone(id)) !== null,
      isReleased: async (id, copy) => {
        const { record } = await registry.get(id)
        return record.released.some((one) => one.id === copy)
      },
      away: world.away,
      destroy: async (volume, { chunks, directories }) => {
        const driveDirectories = chunks ? drives.map((drive) => drive.dir) : []
        const traces = { driveDirectories, directories: [...directories] }
        await engine.call('destroy', { volume, traces })
      },
      log: world.log,
    })
    return new ReplicatedVolumes(world, copies)
  }

  private constructor(world: ReplicatedWorld, copies: Copies) {
    this.#world = { ...world, clock: suspendProof(world.clock) }
    this.copies = copies
    const { cluster } = world
    cluster.offer((net) => {
      serveCopies(
        net,
        copies,
        (peer) => cluster.nodeOf(peer),
        () => cluster.record.generation,
      )
      const control = { lane: 'control' } as const
      net.serve(SERVICE.drives, async () => jsonBytes(this.#ownDrives()), control)
      net.serve(
        SERVICE.create,
        async ({ body }) => {
          const { volume, copy, drive } = parsed(newCopy, body, SERVICE.create)
          copies.create({
            volume: volume as VolumeId,
            copy: copy as CopyId,
            drive: drive as DriveId,
          })
          return Buffer.alloc(0)
        },
        control,
      )
      net.serve(
        SERVICE.release,
        async ({ body }) => {
          const { volume, wantedFor } = parsed(wanted, body, SERVICE.release)
          return jsonBytes({ lines: await world.release(volume as VolumeId, wantedFor) })
        },
        control,
      )
    })
  }

  /** Every drive that a copy may go to, of every member that answers, for placement; who does not is told in words. */
  async candidates(): Promise<{ found: MemberDrive[]; silent: string[] }> {
    const { cluster, node } = this.#world
    const draining = await this.#world.draining()
    const found: MemberDrive[] = []
    const silent: string[] = []
    const taking = cluster.membership.members().filter((member) => !draining.has(member.node))
    const asked = taking.map(async (member) => {
      try {
        const body =
          member.node === node
            ? jsonBytes(this.#ownDrives())
            : await this.#call(member.node, SERVICE.drives, Buffer.alloc(0))
        for (const drive of parsed(driveList, body, SERVICE.drives)) {
          found.push({
            node: member.node,
            nodeName: member.name,
            drive: drive.id as DriveId,
            class: drive.class,
            freeBytes: drive.freeBytes,
            totalBytes: drive.totalBytes,
            domain: member.domain,
          })
        }
      } catch (error) {
        if (isBug(error)) throw error
        silent.push(`${member.name}: ${messageOf(error)}`)
      }
    })
    await Promise.all(asked)
    return { found, silent }
  }

  /** The empty copies that a new volume begins with, durable on every node when it returns. */
  async makeCopies({ id, copies }: VolumeRecord): Promise<void> {
    for (const copy of copies) await this.makeCopy(id, copy)
  }

  /** An empty copy, durable on its node when it returns. @throws as Copies.create, and EHOSTUNREACH */
  async makeCopy(volume: VolumeId, { node, id: copy, drive }: PlacedCopy): Promise<void> {
    const wanted = { volume, copy, drive }
    if (node === this.#world.node) this.copies.create(wanted)
    else await this.#call(node, SERVICE.create, jsonBytes(wanted))
  }

  /** The volumes of several copies that this node owns. */
  *owned(): Generator<{ readonly owner: Owner; readonly record: VolumeRecord }> {
    for (const { owner, stored } of this.#owners.values()) yield { owner, record: stored.record }
  }

  /** Hot. */
  ownedOf(number: VolumeNumber): { readonly owner: Owner; readonly name: string } | null {
    for (const { owner, stored } of this.#owners.values()) {
      if (stored.record.number === number) return { owner, name: stored.record.name }
    }
    return null
  }

  /** Of a volume that this node owns. */
  owner(volume: VolumeId): Owner | null {
    return this.#owners.get(volume)?.owner ?? null
  }

  /** It has several copies, or had: with one left its copy here is still one that others can join. */
  isReplicated(record: VolumeRecord): boolean {
    const own = copyOn(record, this.#world.node)
    return (
      record.copies.length > 1 || (own !== null && this.copies.find(record.id, own.id) !== null)
    )
  }

  /** What the coordinator has now: an owner looks at what others changed, and copies that were given up go. */
  heard(list: readonly StoredVolume[]): void {
    for (const { record, version } of list) {
      const owned = this.#owners.get(record.id)
      if (owned && owned.stored.version < version) owned.owner.look()
      for (const copy of record.released) {
        if (copy.node !== this.#world.node || this.#obeying.has(copy.id)) continue
        this.#obeying.add(copy.id)
        this.#obey(record.id, copy)
          .catch(background(this.#world.log, 'copy.release'))
          .finally(() => this.#obeying.delete(copy.id))
      }
    }
  }

  /** Delete a copy that was given up, and say so. What keeps it from that is looked at again. */
  async #obey(volume: VolumeId, { id, drive }: PlacedCopy): Promise<void> {
    try {
      await this.copies.release({ volume, copy: id, drive })
      await this.#world.registry.forgetReleased(volume, (copy) => copy.id === id)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      if (error.retry === 'later') return
      this.#world.log.warn({ op: 'copy.release', volume, error: error.message }, 'not given up yet')
    }
  }

  /**
   * Own a volume of which this node has a copy: waits until a lease that is not renewed has run out.
   * @returns what its threads share, open and served
   * @throws FsError EBUSY when its owner goes on, EIO when no copy answers; what the coordinator throws
   */
  async own(stored: StoredVolume, opening: Opening): Promise<SharedVolume> {
    const { record } = stored
    const copy = this.#copyOf(record)
    const { clock } = this.#world
    const untilMs = clock.monotonicMs() + LEAD_MS_MAX
    for (;;) {
      const shared = new SharedVolume()
      shared.sizeBytes = record.spec.sizeBytes
      shared.cos = record.spec.cos
      const newest = { stored }
      const led = await this.#tryToOwn(record, copy, shared, {
        ...opening,
        changed: (changed) => {
          newest.stored = changed
          opening.changed(changed)
        },
      })
      if (!('why' in led)) {
        this.#owners.set(record.id, Object.assign(newest, { owner: led }))
        // Lost in the moment between; told once the caller has the volume open.
        if (led.end !== null) clock.after(0, () => this.#lostAtOnce(record.id, led, opening))
        return shared
      }
      if (clock.monotonicMs() > untilMs) throw this.#refused(record, led)
      const waitMs = Math.max(LOOK_MS, Math.min(led.waitMs, untilMs - clock.monotonicMs()))
      await sleep(clock, waitMs)
    }
  }

  #lostAtOnce(id: VolumeId, { end }: Owner, opening: Opening): void {
    if (this.#owners.delete(id)) opening.lost(end ?? '')
  }

  /**
   * Ask the node that owns a volume to let go of it, if it can be reached.
   * @returns its line and those before it, as OwnerNow.before; empty when nobody answered
   * @throws FsError EBUSY when it is in use there
   */
  async askRelease(
    { id, name, owner }: VolumeRecord,
    wantedFor: ReleaseFor,
  ): Promise<readonly OwnerLine[]> {
    if (owner === null || owner === this.#world.node) return []
    const { cluster } = this.#world
    const isUp = () => cluster.statusOf(owner).connection === 'up'
    const body = jsonBytes({ volume: id, wantedFor })
    // An answer that was lost with its connection is given again; to a node that is gone no connection is waited for.
    for (let isFirst = true; isFirst || isUp(); isFirst = false) {
      try {
        const answer = await this.#call(owner, SERVICE.release, body, {
          deadlineMs: RELEASE_MS,
          connectMs: RELEASE_CONNECT_MS,
        })
        return parsed(released, answer, SERVICE.release).lines
      } catch (error) {
        if (codeOf(error) === 'EBUSY') {
          throw new FsError('EBUSY', 'attach', {
            volume: name,
            message: `volume ${name} is in use on node ${cluster.nameOf(owner)}: ${messageOf(error)}`,
            next: `detach it there, or wait until that node is gone`,
          })
        }
        if (!isFirst) break
      }
    }
    return []
  }

  /** This node is the owner no more, of its own will: the next one need not wait for its lease to end. */
  async giveUp(id: VolumeId, words: string): Promise<void> {
    const owned = this.#owners.get(id)
    this.#owners.delete(id)
    await owned?.owner.resign(words)
  }

  /** Copies of volumes that the coordinator does not list any more go, if a tombstone says so. */
  bury(listed: ReadonlySet<VolumeId>): void {
    for (const { volume } of this.copies.list()) {
      if (listed.has(volume)) continue
      this.copies.remove(volume).catch((error: unknown) => {
        // Without a tombstone it stays: absence is never an order to delete.
        if (codeOf(error) !== 'EBUSY') background(this.#world.log, 'copies.bury')(error)
      })
    }
  }

  /** Chunks that no record names go, on every copy of the volumes that this node owns (design §6.6). */
  async sweep(): Promise<void> {
    const old = { keyEpoch: 0 as KeyEpoch, restMs: SWEEP_REST_MS }
    for (const [volume, { owner }] of [...this.#owners]) {
      try {
        const { deleted, without } = await owner.sweep(old)
        if (deleted === 0) continue
        this.#world.log.info({ op: 'sweep', volume, deleted, without }, 'chunks that nothing names')
      } catch (error) {
        // One that was lost meanwhile is swept by the node that has it now.
        if (owner.end === null) throw error
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#owners.keys()].map((id) => this.giveUp(id, 'the node stops')))
    this.copies.close()
  }

  async #tryToOwn(
    record: VolumeRecord,
    copy: Copy,
    shared: SharedVolume,
    opening: Opening,
  ): Promise<Owner | Refused> {
    const { node, engine, cluster, registry, clock, log } = this.#world
    const ask = askOverNet(record.id, {
      node,
      copies: this.copies,
      call: cluster.call,
      generation: cluster.generation,
      peerOf: (id) => cluster.peerOf(id),
    })
    try {
      return await ownVolume(
        {
          node,
          engine,
          ask,
          store: new RegistrySets(registry, record.id, (stored) => opening.changed(stored)),
          clock,
          times: designTimes,
          log,
          number: record.number,
          shared,
          opening: () => opening.opening(shared),
          root: opening.root,
          checkView: opening.checkView,
          readChunk: (chunk: ChunkId) => this.#world.chunks.read(chunk, record.id),
          isWhole: (chunk, bytes) => this.#world.chunks.isWhole(chunk, record.id, bytes),
          pace: (bytes, isAwaited) => this.#world.pace(bytes, isAwaited),
          awayMs: () => this.#world.awayMs(),
          synced: (ms) => this.#world.synced(record.name, ms),
          fencing: () => opening.fencing(),
          // What was given up is known to whoever did.
          lost: (words) => {
            if (this.#owners.delete(record.id)) opening.lost(words)
          },
        },
        copy,
      )
    } catch (error) {
      if (codeOf(error) !== 'EAGAIN' && codeOf(error) !== 'EHOSTUNREACH') throw error
      return { why: 'silent', waitMs: 0, words: messageOf(error) }
    }
  }

  #copyOf(record: VolumeRecord): Copy {
    const { node } = this.#world
    const place = copyOn(record, node)
    const copy = place ? this.copies.find(record.id, place.id) : null
    if (copy) return copy
    throw new FsError('ENODEV', 'volume.own', {
      volume: record.name,
      message: place
        ? `volume ${record.name}: this node's copy of it is damaged or its drive is not here`
        : `volume ${record.name} has no copy on this node`,
      next: `weft volume inspect ${record.name} shows where its copies are`,
    })
  }

  #refused({ name, owner }: VolumeRecord, { why, words }: Refused): FsError {
    const { cluster } = this.#world
    const holder = owner === null ? 'another node' : `node ${cluster.nameOf(owner)}`
    return new FsError(why === 'leased' ? 'EBUSY' : 'EIO', 'volume.own', {
      volume: name,
      retry: 'later',
      message:
        why === 'leased'
          ? `volume ${name} is owned by ${holder}, whose lease is renewed`
          : `volume ${name} cannot be owned now: ${words}`,
      next: 'weft cluster status shows which nodes are up',
    })
  }

  #ownDrives(): z.infer<typeof driveList> {
    // One that was pulled a moment ago is not known as gone yet.
    const taking = this.#world.drives.filter((drive) => takesData(drive) && drive.present())
    return taking.map((drive) => ({
      id: drive.id,
      class: drive.cos,
      freeBytes: Math.max(0, drive.freeBytes()),
      totalBytes: drive.totalBytes(),
    }))
  }

  async #call(
    node: NodeId,
    service: string,
    body: Buffer,
    options: Parameters<Net['call']>[3] = { deadlineMs: CALL_MS },
  ): Promise<Buffer> {
    const { cluster } = this.#world
    const peer: PeerKey | null = cluster.peerOf(node)
    if (peer === null) {
      throw new FsError('EHOSTUNREACH', service, { message: `node ${node} is no member` })
    }
    return await cluster.call(peer, service, body, options)
  }
}
