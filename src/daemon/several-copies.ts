import { join } from 'node:path'
import {
  background,
  type Clock,
  codeOf,
  FsError,
  limits,
  messageOf,
  newId,
  sleep,
  suspendProof,
  type VolumeId,
} from '../base/index.ts'
import { type OpenedKeys, wipeOpened } from '../crypto/index.ts'
import { forgetLocks, type OpenFile } from '../fuse/index.ts'
import { choosePlaces, type DrivePlace } from '../replication/index.ts'
import type { SharedVolume, VolumeOpening } from '../store/index.ts'
import type { Beside, StoredVolume, VolumeSpec } from '../volumes/index.ts'
import { grantsEnd } from './grants-end.ts'
import { forgetOwned, keepOwned, keepReleased, ownedSince, tookEpoch } from './owned-since.ts'
import { linesBeforeMax, type OwnerLine, type ReleaseFor } from './owner-life.ts'
import type { ReplicatedVolumes } from './replicated-volumes.ts'
import type { NodeVolume, RootOwner, VolumesWorld } from './volumes.ts'
import { withSilent } from './with-silent.ts'

/** Of the volumes of this node, whatever their copies, what this needs. */
export interface VolumesRest {
  opening(volume: NodeVolume): VolumeOpening
  refresh(volume: NodeVolume): Promise<void>
  /** @returns files that this node's kernel has open */
  announceAbsent(volume: NodeVolume): Promise<readonly OpenFile[]>
  /** It was not deleted meanwhile. */
  isListed(volume: NodeVolume): boolean
}

/** A lease that has run out is waited for so long: copies that can be reached give another, or tell of another owner. */
const LEASE_MS_MAX = 10_000
const LEASE_LOOK_MS = 100
/** Who asked this node for a volume has it by then, or never. */
const MOVE_MS = 10_000

/** Of a root directory that is there already: a volume whose log is empty was never shown to anybody. */
const defaultRoot: RootOwner = { mode: 0o755, uid: 0, gid: 0 }

/** The life of volumes of several copies on this node: made, owned, let go of, brought here. */
export class SeveralCopies {
  readonly #world: VolumesWorld
  readonly #rest: VolumesRest
  /** Their copies are being asked. */
  readonly #owning = new Set<VolumeId>()
  /** All that they were asked to do is on every copy, and nothing more is asked of them: they are let go of. */
  readonly #settled = new Set<VolumeId>()
  /** On their way to another node: whoever asks for one once more gets the same answer. */
  readonly #releasing = new Map<VolumeId, Promise<readonly OwnerLine[]>>()
  /** On their way here: whoever wants one meanwhile waits with the first. */
  readonly #bringing = new Map<VolumeId, Promise<void>>()

  readonly #leaseClock: Clock
  /** What this node has let go of for another, when, and what it said then. */
  readonly #left = new Map<
    VolumeId,
    { readonly atMs: number; readonly lines: readonly OwnerLine[] }
  >()

  constructor(world: VolumesWorld, rest: VolumesRest) {
    this.#world = world
    this.#leaseClock = suspendProof(world.clock)
    this.#rest = rest
  }

  isOwning(volume: VolumeId): boolean {
    return this.#owning.has(volume)
  }

  /** @throws FsError ENOSPC when there are not enough places, and which nodes did not answer */
  async places(spec: VolumeSpec): Promise<DrivePlace[]> {
    const { identity, random } = this.#world
    const { found, silent } = await this.#replicated().candidates()
    const wish = {
      volume: newId<VolumeId>(random),
      name: spec.name,
      copies: spec.repl,
      spread: spec.spread,
      class: spec.cos,
      orLower: spec.cosFallback,
      bytesMin: limits.driveHeadroomBytes,
      home: identity.id,
    }
    const wanted = found.filter(({ node }) => spec.nodes === null || spec.nodes.includes(node))
    return withSilent(silent, () => choosePlaces(wish, wanted))
  }

  /** Empty copies where the record says, and the first life of its owner. What fails leaves nothing open. */
  async make(created: StoredVolume, owner: RootOwner, beside?: Beside): Promise<NodeVolume> {
    const { registry, keys } = this.#world
    await this.#replicated().makeCopies(created.record)
    const opened = await keys.open(created.record, { kind: 'node' })
    const volume: NodeVolume = {
      stored: created,
      opened: null,
      shared: null,
      closed: null,
      attached: null,
      isShared: false,
      before: [],
    }
    try {
      await this.own(volume, opened, owner)
      volume.stored = await registry.markReady(created.record.id, beside)
      return volume
    } catch (error) {
      if (volume.shared) await this.#letGo(volume, 'it could not be made')
      wipeOpened(opened)
      throw error
    }
  }

  /**
   * Become the owner of a volume of several copies, and have it open.
   * @returns files that this node's kernel has open already, through the owner before
   * @throws as ReplicatedVolumes.own
   */
  async own(
    volume: NodeVolume,
    opened: OpenedKeys,
    owner: RootOwner = defaultRoot,
  ): Promise<readonly OpenFile[]> {
    const { clock, log, stagingDirectory, identity } = this.#world
    const { id, name } = volume.stored.record
    const staging = this.#staging(id)
    await grantsEnd(stagingDirectory, id, clock)
    volume.shared = await this.#replicated().own(volume.stored, {
      opening: (shared) => this.#rest.opening({ ...volume, opened, shared }),
      root: { ...owner, now: clock.now() },
      checkView: this.#world.checkViews || volume.closed?.state === 'damaged',
      changed: (stored) => {
        volume.stored = stored
        if (stored.record.owner === identity.id) tookEpoch(staging, stored.record.epoch)
      },
      fencing: () => {
        if (!this.#settled.has(id)) this.#world.lost(volume, false)
      },
      lost: (words) => {
        log.error({ op: 'own', volume: id, why: words }, `volume ${name} is this node's no more`)
        this.#lost(volume, words).catch(background(log, 'volume.lost'))
      },
    })
    volume.opened = opened
    volume.closed = null
    this.#left.delete(id)
    const { epoch } = volume.shared
    const since = ownedSince(staging, epoch)
    volume.shared.lineFirst = since.first
    volume.before = since.before
    if (since.first === epoch) forgetLocks(staging)
    const carried = this.#world.owned(volume)
    const first = carried?.first ?? since.first
    const carriedGeneration = carried?.generation ?? since.carriedGeneration
    volume.shared.lineFirst = first
    volume.shared.carriedGeneration = carriedGeneration
    keepOwned(staging, epoch, { ...since, first, carriedGeneration })
    return carried?.opens ?? []
  }

  /** Another node owns a volume, and this one has not owned it in this life of the daemon. */
  isAnothers(volume: NodeVolume): void {
    this.#world.lost(volume, forgetOwned(this.#staging(volume.stored.record.id)))
  }

  #staging(id: VolumeId): string {
    return join(this.#world.stagingDirectory, id)
  }

  /** Another node has a volume that was served here, or may have it. */
  async #lost(volume: NodeVolume, words: string): Promise<void> {
    forgetOwned(this.#staging(volume.stored.record.id))
    await this.#closeHere(volume, words)
    if (this.#rest.isListed(volume)) await this.#rest.announceAbsent(volume)
  }

  /**
   * Give a volume of several copies up; who asked for it, or the next candidate, takes it over.
   * @param gone called when it is this node's no more
   */
  async #letGo(volume: NodeVolume, words: string, gone = () => {}): Promise<void> {
    const { id, number } = volume.stored.record
    await this.#world.engine.call('settle', { number })
    this.#settled.add(id)
    try {
      await this.#replicated().giveUp(id, words)
    } finally {
      this.#settled.delete(id)
    }
    gone()
    await this.#closeHere(volume, words)
  }

  async #closeHere(volume: NodeVolume, words: string): Promise<void> {
    const { opened, shared } = volume
    const { number } = volume.stored.record
    if (!shared) return
    volume.shared = null
    volume.opened = null
    volume.closed = { state: 'elsewhere', why: words }
    await this.#world.engine.call('close', { number, clean: false })
    if (opened) wipeOpened(opened)
  }

  /** As Volumes.release. */
  release(volume: NodeVolume, wantedFor: ReleaseFor): Promise<readonly OwnerLine[]> {
    const { id } = volume.stored.record
    let releasing = this.#releasing.get(id)
    if (!releasing) {
      releasing = this.#release(volume, wantedFor).finally(() => this.#releasing.delete(id))
      this.#releasing.set(id, releasing)
    }
    return releasing
  }

  async #release(volume: NodeVolume, wantedFor: ReleaseFor): Promise<readonly OwnerLine[]> {
    const { shared } = volume
    const { id, number, copies } = volume.stored.record
    if (!shared && this.#bringing.has(id)) {
      throw new FsError('EBUSY', 'volume.release', { message: 'it is being opened' })
    }
    // Who asked may not have had the answer.
    if (!shared) return this.#left.get(id)?.lines ?? []
    if (copies.length === 1) return []
    if (volume.attached) {
      throw new FsError('EBUSY', 'volume.release', { message: `attached at ${volume.attached}` })
    }
    try {
      await this.#world.forget(number, { attributes: [], names: false })
    } catch (cause) {
      const message = 'its mounts are not served yet'
      throw new FsError('EBUSY', 'volume.release', { message, cause })
    }
    // Calls wait from here on, and go where it goes.
    shared.isLeaving = true
    try {
      await this.#world.stopWriting(volume, wantedFor === 'use')
    } catch (error) {
      shared.isLeaving = false
      throw error
    }
    const { identity, boot } = this.#world
    const line = { node: identity.id, boot, epoch: shared.epoch, first: shared.lineFirst }
    const opens = await this.#rest.announceAbsent({
      ...volume,
      closed: { state: 'elsewhere', why: 'it moves' },
    })
    // Names it asks for anew; what is open keeps its attributes, which another node may change from now on.
    await this.#world.forget(number, { attributes: opens.map(({ ino }) => ino), names: false })
    await this.#letGo(volume, 'another node asked for it', () =>
      this.#world.left(volume, line, opens),
    )
    forgetOwned(this.#staging(id))
    const lines = [line, ...volume.before].slice(0, linesBeforeMax)
    this.#left.set(id, { atMs: this.#world.clock.monotonicMs(), lines })
    return lines
  }

  /** It is on its way here, or from here: who asks for it comes again, and looks for no other owner. */
  isMoving({ stored: { record }, shared }: NodeVolume): boolean {
    const { id } = record
    const leftMs = this.#left.get(id)?.atMs ?? Number.NEGATIVE_INFINITY
    return (
      shared?.isLeaving === true ||
      this.#bringing.has(id) ||
      this.#owning.has(id) ||
      this.#world.clock.monotonicMs() - leftMs < MOVE_MS
    )
  }

  /** Have a volume open here, wherever it is, if it has a copy here and its owner lets go of it or is gone. */
  bringHere(volume: NodeVolume, wantedFor: ReleaseFor): Promise<void> {
    const { id } = volume.stored.record
    let bringing = this.#bringing.get(id)
    if (!bringing) {
      bringing = this.#bringHere(volume, wantedFor).finally(() => this.#bringing.delete(id))
      this.#bringing.set(id, bringing)
    }
    return bringing
  }

  async #bringHere(volume: NodeVolume, wantedFor: ReleaseFor): Promise<void> {
    await this.#untilKnown(volume)
    const { record } = volume.stored
    if (volume.shared || record.copies.length === 1 || volume.closed?.state !== 'elsewhere') return
    keepReleased(this.#staging(record.id), await this.#replicated().askRelease(record, wantedFor))
    await this.#rest.refresh(volume)
    const opened = await this.#world.keys.open(volume.stored.record, { kind: 'node' })
    let opens: readonly OpenFile[]
    try {
      opens = await this.own(volume, opened)
    } catch (error) {
      wipeOpened(opened)
      throw error
    }
    const served = { opening: this.#rest.opening(volume), writes: true }
    await this.#world.announce({ served, opens })
  }

  /**
   * A lease that has run out comes back, or another node has the volume by now: nobody is told that it is here before that
   * is known. @throws FsError ETIMEDOUT
   */
  async #untilKnown(volume: NodeVolume): Promise<void> {
    const clock = this.#leaseClock
    const untilMs = clock.monotonicMs() + LEASE_MS_MAX
    const isOver = ({ isLost, leaseUntilMs }: SharedVolume) =>
      isLost || leaseUntilMs <= clock.monotonicMs()
    while (volume.shared?.replicated && isOver(volume.shared)) {
      if (clock.monotonicMs() > untilMs) {
        const { name } = volume.stored.record
        throw new FsError('ETIMEDOUT', 'volume', {
          volume: name,
          message: `volume ${name}: its other copies do not answer, and another node may own it by now`,
          next: `weft volume inspect ${name} shows which are missing; then try again`,
        })
      }
      await sleep(clock, LEASE_LOOK_MS)
    }
  }

  /** A volume of several copies: nobody waits for them, the node is up before they answer. */
  ownLater(volume: NodeVolume, opened: OpenedKeys): void {
    const { id } = volume.stored.record
    volume.closed = { state: 'waiting', why: 'its copies are being asked' }
    this.#owning.add(id)
    this.own(volume, opened)
      .finally(() => this.#owning.delete(id))
      .then(
        () => this.#world.opened(volume),
        async (error: unknown) => {
          wipeOpened(opened)
          // By its next look at the coordinator it is tried again. What another node has is that one's, and what this one has
          // lost with a drive, another's who is asked for it.
          const isElsewhere = ['EBUSY', 'ENODEV'].includes(codeOf(error))
          const state = isElsewhere ? 'elsewhere' : 'waiting'
          volume.closed = { state, why: messageOf(error) }
          if (state === 'elsewhere') this.isAnothers(volume)
          await this.#rest.announceAbsent(volume)
        },
      )
      .catch(background(this.#world.log, 'volume.own'))
  }

  #replicated(): ReplicatedVolumes {
    const replicated = this.#world.replicated()
    if (replicated) return replicated
    throw new FsError('ENODEV', 'volume', {
      message: 'volumes of several copies need a cluster, and this node is in none',
      next: 'weft cluster create NAME, then join other nodes to it',
    })
  }
}
