import { z } from 'zod'
import {
  type ChunkId,
  type Clock,
  FsError,
  isBug,
  type Log,
  messageOf,
  type NodeId,
  type Random,
  suspendProof,
  type VolumeId,
} from '../base/index.ts'
import { nowhere } from '../cluster/index.ts'
import type { Coordinator } from '../coordinator/index.ts'
import { TokenBucket } from '../replication/index.ts'
import type { KeysService, VolumeRecord, VolumeRegistry } from '../volumes/index.ts'
import { jsonBytes, parsed } from './call-bytes.ts'
import type { ClusterMember } from './cluster-member.ts'
import type { EngineHost } from './engine-host.ts'
import { type OwnedVolume, Repairs } from './repair.ts'
import { Orphans } from './repair-orphans.ts'
import { type VolumeStandingInfo, volumeStanding } from './repair-standing.ts'
import { AWAITED_SHARE, RepairWishes } from './repair-wishes.ts'
import type { ReplicatedVolumes } from './replicated-volumes.ts'
import { Scrubs } from './scrub.ts'
import type { Volumes } from './volumes.ts'

export interface NodeRepairsWorld {
  readonly node: NodeId
  readonly cluster: ClusterMember
  readonly coordinator: Coordinator
  readonly registry: VolumeRegistry
  readonly keys: KeysService
  readonly engine: EngineHost
  readonly volumes: Volumes
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** `take` is OwnerFinder's. */
const SERVICE = {
  take: 'volume.take',
  standing: 'volume.standing',
  scrub: 'volume.scrub',
  mend: 'volume.mend',
} as const
/** A take-over behind a lease that nobody renews, and as much again. */
const TAKE_MS = 30_000
const STANDING_MS = 1500
/** A chunk is read on one node and written on another. */
const MEND_MS = 20_000
const id = z.string().regex(/^[0-9a-f]{32}$/)
const named = z.strictObject({ volume: id })
const chunkNamed = z.strictObject({ volume: id, chunk: id })
const mended = z.strictObject({ mended: z.boolean() })

/** This node's part in mending volumes of several copies: what it owns, and what owners ask of it. */
export class NodeRepairs {
  readonly wishes: RepairWishes
  readonly bucket: TokenBucket
  readonly #world: NodeRepairsWorld
  #repairs: Repairs | null = null
  #scrubs: Scrubs | null = null
  #orphans: Orphans | null = null
  #owned: () => Iterable<OwnedVolume> = () => []

  constructor(world: NodeRepairsWorld) {
    this.#world = world
    const { clock, log, coordinator, cluster } = world
    this.wishes = new RepairWishes(coordinator, suspendProof(clock), log)
    this.bucket = new TokenBucket(clock, () => {
      const { bytesPerSecond } = this.wishes.settings
      return { bytesPerSecond, awaitedBytesPerSecond: bytesPerSecond * AWAITED_SHARE }
    })
    cluster.offer((net) => {
      const control = { lane: 'control' } as const
      net.serve(
        SERVICE.scrub,
        async ({ body }) => {
          this.#scrubHere(parsed(named, body, SERVICE.scrub).volume as VolumeId)
          return Buffer.alloc(0)
        },
        control,
      )
      net.serve(
        SERVICE.standing,
        async ({ body }) => {
          const { volume } = parsed(named, body, SERVICE.standing)
          return jsonBytes((await this.#repairs?.standingNow(volume as VolumeId)) ?? null)
        },
        control,
      )
      net.serve(
        SERVICE.mend,
        async ({ peer, body }) => {
          const { volume, chunk } = parsed(chunkNamed, body, SERVICE.mend)
          const node = cluster.nodeOf(peer)
          const isWhole = await this.#mendOf(node, volume as VolumeId, chunk as ChunkId)
          return jsonBytes({ mended: isWhole })
        },
        control,
      )
    })
  }

  /** Copies made for repair since the start. */
  get madeCopies(): number {
    return this.#repairs?.madeCopies ?? 0
  }

  start(replicated: ReplicatedVolumes): void {
    const { node, clock, random, log, cluster, registry } = this.#world
    this.#owned = () => replicated.owned()
    const { coordinator } = this.#world
    const scrubs = new Scrubs({ coordinator, clock, random, log, owned: this.#owned })
    this.#scrubs = scrubs
    scrubs.start()
    this.#repairs = new Repairs({
      node,
      clock,
      random,
      log,
      wishes: this.wishes,
      owned: this.#owned,
      scrubOf: (id) => scrubs.state(id),
      domainOf: (id) => cluster.membership.member(id)?.domain ?? nowhere,
      nameOf: (id) => cluster.nameOf(id),
      candidates: () => replicated.candidates(),
      makeCopy: async (record, copy) => {
        await this.#letOpen(record, copy.node)
        await replicated.makeCopy(record.id, copy)
      },
      handOver: (record, to) => this.handOver(record, to),
      arrived: async (id) => {
        await registry.arrived(id, node)
      },
      bytesOf: async ({ number }) => {
        const figures = await this.#world.engine.call('figures', { number })
        return figures.storedBytes + figures.journalBytes
      },
    })
    this.#repairs.start()
    const { volumes } = this.#world
    this.#orphans = new Orphans({
      node,
      clock: suspendProof(clock),
      log,
      graceMs: async () => {
        await this.wishes.refresh()
        return this.wishes.settings.graceMs
      },
      volumes: () => volumes.all(),
      isDown: (id) => cluster.statusOf(id).connection === 'down',
      refresh: (volume) => volumes.refresh(volume),
      bringHere: (volume) => volumes.bringHere(volume),
      give: async ({ stored: { record } }, to) => {
        await this.#call(to, SERVICE.take, record.id, TAKE_MS)
      },
    })
    this.#orphans.start()
  }

  close(): void {
    this.#repairs?.close()
    this.#scrubs?.close()
    this.#orphans?.close()
  }

  /** How a volume that this node owns stands; null for any other. */
  ownStanding(volume: VolumeId): VolumeStandingInfo | null {
    return this.#repairs?.standing(volume) ?? null
  }

  /** The same of any volume, from its owner; null when that does not answer, or no longer owns it. */
  async standing({ id, owner }: VolumeRecord): Promise<VolumeStandingInfo | null> {
    const own = (await this.#repairs?.standingNow(id)) ?? null
    if (own || owner === null || owner === this.#world.node) return own
    try {
      const body = await this.#call(owner, SERVICE.standing, id, STANDING_MS)
      return volumeStanding.nullable().parse(JSON.parse(body.toString()))
    } catch (error) {
      if (isBug(error)) throw error
      return null
    }
  }

  /** Have every copy of a volume read through; `standing` says how far it is. @throws FsError EHOSTUNREACH */
  async beginScrub({ id, owner }: VolumeRecord): Promise<void> {
    if (owner === null || owner === this.#world.node) this.#scrubHere(id)
    else await this.#call(owner, SERVICE.scrub, id, STANDING_MS)
  }

  /** A read failed here: the chunk is checked, and mended from another copy. @returns whether it is whole now */
  async mend(volume: VolumeId, chunk: ChunkId): Promise<boolean> {
    const { node, volumes } = this.#world
    const owner = volumes.byId(volume)?.stored.record.owner ?? node
    if (owner === node) return await this.#mendOf(node, volume, chunk)
    const body = await this.#ask(owner, SERVICE.mend, { volume, chunk }, MEND_MS)
    return parsed(mended, body, SERVICE.mend).mended
  }

  /** Of the copy that a node has of a volume which this one owns. */
  async #mendOf(node: NodeId | null, volume: VolumeId, chunk: ChunkId): Promise<boolean> {
    for (const { owner, record } of this.#owned()) {
      if (record.id !== volume) continue
      const copy = record.copies.find((one) => one.node === node)
      return copy ? await owner.mend(chunk, copy.id) : false
    }
    return false
  }

  #scrubHere(volume: VolumeId): void {
    for (const owned of this.#owned()) {
      if (owned.record.id !== volume) continue
      this.#scrubs?.begin(owned)
      return
    }
    throw new FsError('ESTALE', SERVICE.scrub, { volume, message: 'this node does not own it' })
  }

  /** Have another node own a volume. When it cannot, this one takes it back. @throws FsError EBUSY when it is in use here */
  async handOver({ id, name }: VolumeRecord, to: NodeId): Promise<void> {
    const { volumes, cluster } = this.#world
    try {
      await this.#call(to, SERVICE.take, id, TAKE_MS)
    } catch (error) {
      if (isBug(error)) throw error
      await volumes.bringHere(volumes.find(id))
      throw new FsError('EBUSY', 'volume.move', {
        volume: name,
        retry: 'later',
        cause: error,
        message: `volume ${name} cannot move to node ${cluster.nameOf(to)} now: ${messageOf(error)}`,
        next: 'it is tried again every few seconds; end what holds it (weft detach; programs that hold locks on its files, or have deleted ones open)',
      })
    }
  }

  /** A node that is to hold a copy can then own the volume too. */
  async #letOpen({ id }: VolumeRecord, node: NodeId): Promise<void> {
    const { keys, volumes, cluster } = this.#world
    const member = cluster.membership.member(node)
    const { opened } = volumes.find(id)
    if (!member || !opened) return
    const holder = { kind: 'opened', opened } as const
    await keys.addNode(id, node, Buffer.from(member.boxKey, 'hex'), holder)
  }

  async #call(
    node: NodeId,
    service: string,
    volume: VolumeId,
    deadlineMs: number,
  ): Promise<Buffer> {
    return await this.#ask(node, service, { volume }, deadlineMs)
  }

  async #ask(node: NodeId, service: string, words: object, deadlineMs: number): Promise<Buffer> {
    const { cluster } = this.#world
    const peer = cluster.peerOf(node)
    if (peer === null) throw new FsError('EHOSTUNREACH', service, { node })
    return await cluster.call(peer, service, jsonBytes(words), { deadlineMs })
  }
}
