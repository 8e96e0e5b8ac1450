import { join } from 'node:path'
import {
  type Clock,
  codeOf,
  FsError,
  isBug,
  type KeyEpoch,
  type Log,
  messageOf,
  type NodeId,
  type Random,
  type VolumeId,
  type VolumeNumber,
} from '../base/index.ts'
import { type OpenedKeys, wipeOpened } from '../crypto/index.ts'
import { systemDisk } from '../disk/index.ts'
import type { Drive } from '../drives/index.ts'
import type {
  AbsentVolume,
  Forgetting,
  NearOpening,
  OpenFile,
  ServedVolume,
} from '../fuse/index.ts'
import type { DrivePlace } from '../replication/index.ts'
import { SharedVolume, VOLUME_STATE, type VolumeOpening } from '../store/index.ts'
import {
  type Beside,
  copyOn,
  type ExtraSlots,
  type KeyHolder,
  type KeysService,
  type NodeIdentity,
  parseVolumeSpec,
  type StoredVolume,
  type VolumeList,
  type VolumeRecord,
  type VolumeRegistry,
  type VolumeSpec,
  type VolumeSpecRequest,
} from '../volumes/index.ts'
import type { EngineHost } from './engine-host.ts'
import type { CarriedHandles } from './far-handles.ts'
import { grantsEnd } from './grants-end.ts'
import { journalDrive, VOLUMES_NAME } from './move-journals.ts'
import type { OwnerLine, ReleaseFor } from './owner-life.ts'
import { placeHere } from './place-here.ts'
import type { ReplicatedVolumes } from './replicated-volumes.ts'
import { SeveralCopies } from './several-copies.ts'

/** A volume of this node, as its daemon knows it. `opened` and `shared` are null while it cannot be used. */
export interface NodeVolume {
  stored: StoredVolume
  opened: OpenedKeys | null
  shared: SharedVolume | null
  /**
   * Why it is not open. 'elsewhere': another node owns it. 'waiting': it is this node's, and the coordinator, who gives the
   * epoch to open it with, is away.
   */
  closed: { state: 'locked' | 'damaged' | 'elsewhere' | 'waiting'; why: string } | null
  /** Target of its exclusive mount. */
  attached: string | null
  /** Other nodes use it through this one: the access thread orders its changes, while it is not attached. */
  isShared: boolean
  /** As OwnerNow.before. */
  before: readonly OwnerLine[]
}

export interface RootOwner {
  mode: number
  uid: number
  gid: number
}

export interface VolumesWorld {
  home: string
  stagingDirectory: string
  boot: string
  identity: NodeIdentity
  registry: VolumeRegistry
  keys: KeysService
  engine: EngineHost
  drives: readonly Drive[]
  /** Buffer of ToldDrives. */
  toldDrives: SharedArrayBuffer
  clock: Clock
  log: Log
  /** The daemon before died of a signal that LMDB brings about on damaged pages: look at them before it maps them. */
  checkViews: boolean
  random: Random
  /** The nodes that may hold copies: this one alone where there is no cluster. */
  members(): readonly { readonly id: NodeId; readonly boxKey: Buffer }[]
  /** The cluster's name of a node; null on a node that is in none, whose volumes are all its own. */
  nameOf: ((node: NodeId) => string) | null
  /** What this node has to do with volumes of several copies; null on a node that is in no cluster. */
  replicated(): ReplicatedVolumes | null
  /**
   * Nothing is written here any more through the namespace, by any node.
   * @param goesOn what is open stays so, through the next owner; else what is open for writing is in the way
   * @throws FsError EBUSY
   */
  stopWriting(volume: NodeVolume, goesOn: boolean): Promise<void>
  /** This node owns a volume of several copies from now on, and no mount knows it yet. @returns as FarVolume.owned */
  owned(volume: NodeVolume): CarriedHandles | null
  /** As Mounts.forget. */
  forget(number: VolumeNumber, forgetting: Forgetting): Promise<void>
  /** As FarVolume.left. */
  left(volume: NodeVolume, line: OwnerLine, opens: readonly OpenFile[]): void
  /**
   * Another node owns a volume now: the kernel of an exclusive mount of it must never write again, and what was not synced
   * through the namespace may be gone.
   * @param before this node owned it in a life of the daemon before this one, and in this one not
   */
  lost(volume: NodeVolume, before: boolean): void
  /** A volume that was waited for is open: an exclusive mount of it can be served. */
  opened(volume: NodeVolume): Promise<void>
  /** Let the namespace mount know. @returns files that its kernel has open of a volume that it serves no more */
  announce(
    change:
      | { served: ServedVolume; opens?: readonly OpenFile[] }
      | { absent: AbsentVolume }
      | { gone: VolumeNumber },
  ): Promise<readonly OpenFile[]>
}

/** What a volume that cannot be used answers below its root; its root can always be seen. */
const BELOW = {
  locked: 'ENOKEY',
  damaged: 'EIO',
  elsewhere: null,
  waiting: null,
} as const satisfies Record<NonNullable<NodeVolume['closed']>['state'], AbsentVolume['code']>

/** Who owns a volume; before its first life, the node that makes it. */
function ownerIn({ owner, copies }: VolumeRecord): NodeId | null {
  return owner ?? copies[0]?.node ?? null
}

/** The volumes of this node: opened at the start, created, resized, locked, deleted. */
export class Volumes {
  readonly #world: VolumesWorld
  readonly #volumes = new Map<VolumeId, NodeVolume>()
  readonly #several: SeveralCopies
  /** Being made here, and not yet among the others. */
  readonly #making = new Set<VolumeId>()
  /** Deleted here in this life of the daemon: a list that was asked for before may still have them. */
  readonly #deleted = new Set<VolumeId>()
  /** Records of the coordinator that this build cannot read: their volumes are not shown and not touched. */
  readonly unreadable: { record: string; why: string; newer: boolean }[] = []

  constructor(world: VolumesWorld) {
    this.#world = world
    this.#several = new SeveralCopies(world, {
      opening: (volume) => this.opening(volume),
      refresh: (volume) => this.refresh(volume),
      announceAbsent: (volume) => this.#announceAbsent(volume),
      isListed: (volume) => this.#volumes.get(volume.stored.record.id) === volume,
    })
  }

  all(): NodeVolume[] {
    return [...this.#volumes.values()].sort(
      (a, b) => a.stored.record.number - b.stored.record.number,
    )
  }

  /** @throws FsError ENOENT */
  find(nameOrId: string): NodeVolume {
    for (const volume of this.#volumes.values()) {
      const { name, id } = volume.stored.record
      if (name === nameOrId || id === nameOrId) return volume
    }
    throw new FsError('ENOENT', 'volume', {
      message: `there is no volume ${JSON.stringify(nameOrId)}`,
      next: 'weft volume list shows all there are',
    })
  }

  byNumber(number: VolumeNumber): NodeVolume | undefined {
    for (const volume of this.#volumes.values()) {
      if (volume.stored.record.number === number) return volume
    }
    return undefined
  }

  byId(id: VolumeId): NodeVolume | undefined {
    return this.#volumes.get(id)
  }

  /**
   * Open every volume of this node that its own key opens; finish deletions that a crash cut short, and take away what was
   * being made: nobody was told of it. Those of other nodes are shown.
   */
  async openAll(list: VolumeList): Promise<void> {
    this.#cannotRead(list)
    for (const stored of list.volumes) {
      if (!this.#isOurs(stored.record)) {
        if (stored.record.state === 'ready') this.#several.isAnothers(this.#show(stored))
      } else if (stored.record.state === 'ready') {
        await this.#openStored(stored, { kind: 'node' })
      } else {
        await this.#destroy(stored)
      }
    }
  }

  /** Show volumes while the coordinator is away. None can be opened: that takes an epoch, which only the coordinator gives. */
  showAll(remembered: readonly StoredVolume[], why: string): void {
    for (const stored of remembered) {
      const volume = this.#show(stored)
      if (this.#isOurs(stored.record)) volume.closed = { state: 'waiting', why }
    }
  }

  /** What the coordinator has now: other nodes' volumes come, change and go; those that were waited for are opened. */
  async adopt(list: VolumeList): Promise<void> {
    this.#cannotRead(list)
    for (const stored of list.volumes) {
      const { id, state } = stored.record
      const known = this.#volumes.get(id)
      if (known) await this.#renew(known, stored)
      else if (state === 'ready' && !this.#making.has(id) && !this.#deleted.has(id)) {
        const volume = this.#show(stored)
        if (this.#isOurs(stored.record)) await this.#openLate(volume, stored)
        else {
          this.#several.isAnothers(volume)
          await this.#announceAbsent(volume)
        }
      }
    }
    const there = new Set(list.volumes.map(({ record }) => record.id))
    this.#world.replicated()?.bury(there)
    this.#world.replicated()?.heard(list.volumes)
    for (const volume of this.all()) {
      const isGone = volume.closed?.state === 'elsewhere' && !there.has(volume.stored.record.id)
      if (isGone) await this.#forget(volume)
    }
  }

  isElsewhere(volume: NodeVolume): boolean {
    return volume.closed?.state === 'elsewhere'
  }

  /** It has or may have several copies; a volume that was made with one has none of what that takes. */
  isReplicated({ record }: StoredVolume): boolean {
    return record.copies.length > 1 || (this.#world.replicated()?.isReplicated(record) ?? false)
  }

  /** The node that owns it, or is to make it. */
  ownerNodeOf({ stored: { record } }: NodeVolume): NodeId | null {
    return ownerIn(record)
  }

  /** Name of the node that owns it; null on a node that is in no cluster. */
  ownerOf({ stored: { record } }: NodeVolume): string | null {
    const { nameOf } = this.#world
    const owner = ownerIn(record)
    return nameOf === null || owner === null ? null : nameOf(owner)
  }

  /** @throws FsError EBUSY for a volume of another node, naming it; EAGAIN while the coordinator is away */
  mustBeHere(volume: NodeVolume, op: string): void {
    const { name } = volume.stored.record
    if (volume.closed?.state === 'elsewhere') {
      throw new FsError('EBUSY', op, {
        volume: name,
        message: `volume ${name} is on another node: ${volume.closed.why}`,
        next: `do it on that node, ${this.ownerOf(volume)}`,
      })
    }
    if (volume.closed?.state !== 'waiting') return
    throw new FsError('EAGAIN', op, {
      volume: name,
      retry: 'later',
      message: `volume ${name} is not open yet: ${volume.closed.why}`,
      next: 'weft cluster status shows the coordinator; the volume opens by itself when that is back',
    })
  }

  /** On which copies may be. */
  nodes(): readonly NodeId[] {
    return this.#world.members().map(({ id }) => id)
  }

  /** @param beside kept in the step that makes the volume one that stays */
  async create(
    request: VolumeSpecRequest,
    owner: RootOwner,
    extra: ExtraSlots = {},
    beside?: Beside,
  ): Promise<NodeVolume> {
    const { identity, registry, keys } = this.#world
    const members = this.#world.members()
    const spec = parseVolumeSpec(request, { nodes: members.map(({ id }) => id) })
    const places = spec.repl === 1 ? [this.#placeHere(spec)] : await this.#several.places(spec)
    const nodes = members.filter(
      ({ id }) => id !== identity.id && places.some((place) => place.node === id),
    )
    const created = await registry.create({
      spec,
      places,
      makeKeys: (id) => keys.createKeys(id, { ...extra, nodes }),
    })
    const { id } = created.record
    this.#making.add(id)
    let volume: NodeVolume
    try {
      volume = await this.#make(created, owner, beside)
      this.#volumes.set(id, volume)
    } finally {
      this.#making.delete(id)
    }
    await this.#world.announce({ served: { opening: this.opening(volume), writes: true } })
    return volume
  }

  /** A copy on this node, for a volume that has no other. */
  #placeHere(spec: VolumeSpec): DrivePlace {
    const { drives, identity } = this.#world
    if (spec.nodes !== null && !spec.nodes.includes(identity.id)) {
      throw new FsError('EINVAL', 'create', {
        message: `volume ${spec.name}: its one copy is wanted on another node`,
        next: 'create it on that node',
      })
    }
    const drive = placeHere(spec, drives)
    return { node: identity.id, drive: drive.id }
  }

  /** Journal, view and root directory of a volume in the state 'making'. What fails leaves nothing of it. */
  async #make(created: StoredVolume, owner: RootOwner, beside?: Beside): Promise<NodeVolume> {
    const { identity, registry, keys, clock, engine, log } = this.#world
    const { id, name, number, spec } = created.record
    let opened: OpenedKeys | null = null
    let open = false
    try {
      if (created.record.copies.length > 1) {
        return await this.#several.make(created, owner, beside)
      }
      const stored = await registry.takeEpoch(id, identity.id, { abovePromise: 0 as never })
      opened = await keys.open(stored.record, { kind: 'node' })
      const shared = new SharedVolume()
      shared.sizeBytes = spec.sizeBytes
      shared.cos = spec.cos
      const volume: NodeVolume = {
        stored,
        opened,
        shared,
        closed: null,
        attached: null,
        isShared: false,
        before: [],
      }
      const opening = this.opening(volume)
      const root = { ...owner, now: clock.now() }
      const { epoch } = stored.record
      const args = { opening, epoch, root, checkView: false, replicas: null }
      await engine.call('open', args, [opening.keys.bytes])
      open = true
      volume.stored = await registry.markReady(id, beside)
      return volume
    } catch (error) {
      try {
        if (open) await engine.call('close', { number, clean: false })
        if (opened) wipeOpened(opened)
        await this.#destroy(created)
      } catch (left) {
        // The next start finds it in the state that it has and takes it away.
        log.error({ op: 'create', volume: name, error: messageOf(left) }, 'not taken away')
      }
      throw error
    }
  }

  /**
   * A member wants a volume: it is let go unless somebody uses it here.
   * @returns as OwnerNow.before of who has it next; empty when it was not this node's
   * @throws FsError EBUSY
   */
  async release(id: VolumeId, wantedFor: ReleaseFor): Promise<readonly OwnerLine[]> {
    const volume = this.#volumes.get(id)
    return volume ? await this.#several.release(volume, wantedFor) : []
  }

  /** A volume of several copies is on its way to this node, or from it. */
  isMoving(volume: NodeVolume): boolean {
    return this.#several.isMoving(volume)
  }

  /** Have a volume open here, wherever it is, if it has a copy here and its owner lets go of it or is gone. */
  bringHere(volume: NodeVolume, wantedFor: ReleaseFor = 'use'): Promise<void> {
    return this.#several.bringHere(volume, wantedFor)
  }

  async resize(nameOrId: string, sizeBytes: number): Promise<NodeVolume> {
    const volume = this.find(nameOrId)
    const shared = this.usable(volume)
    const before = shared.sizeBytes
    // Held back first, so that nothing is accepted that the new size would not hold.
    shared.sizeBytes = Math.min(before, sizeBytes)
    try {
      await this.#world.engine.call('settle', { number: volume.stored.record.number })
      const { id } = volume.stored.record
      volume.stored = await this.#world.registry.resize(id, sizeBytes, shared.usedBytes)
      shared.sizeBytes = sizeBytes
    } catch (error) {
      shared.sizeBytes = before
      throw error
    }
    return volume
  }

  /** @throws FsError ENOTEMPTY; ENOKEY or EIO when nobody can look */
  async mustBeEmpty(volume: NodeVolume): Promise<void> {
    const { number, name } = volume.stored.record
    const shared = this.usable(volume)
    if (await this.#world.engine.call('isEmpty', { number })) return
    throw new FsError('ENOTEMPTY', 'volume.delete', {
      message: `volume ${name} is not empty: it holds ${shared.inodes - 1} files and directories`,
      next: `weft volume delete ${name} --force deletes them for ever`,
    })
  }

  /** @param beside kept in the step that makes an end of the volume */
  async delete(nameOrId: string, beside?: Beside): Promise<void> {
    const volume = this.find(nameOrId)
    this.mustBeHere(volume, 'volume.delete')
    const { id, name, number } = volume.stored.record
    if (volume.attached) {
      throw new FsError('EBUSY', 'delete', {
        message: `volume ${name} is attached at ${volume.attached}`,
        next: `weft detach ${volume.attached}`,
      })
    }
    const stored = await this.#world.registry.markDeleting(id, beside)
    this.#volumes.delete(id)
    this.#deleted.add(id)
    await this.#world.announce({ gone: number })
    if (volume.shared) {
      // Before its state says so: what is not settled yet could not be any more, and closing waits for that.
      await this.#world.engine.call('close', { number, clean: false })
      await this.#world.replicated()?.giveUp(id, 'it is deleted')
      volume.shared.state = VOLUME_STATE.deleting
    }
    if (volume.opened) wipeOpened(volume.opened)
    await this.#destroy(stored)
  }

  /** Take the keys out of memory; the volume stays visible and answers ENOKEY. */
  async lock(nameOrId: string): Promise<NodeVolume> {
    const volume = this.find(nameOrId)
    this.mustBeHere(volume, 'key.lock')
    const { number, name } = volume.stored.record
    if (volume.attached) {
      throw new FsError('EBUSY', 'lock', {
        message: `volume ${name} is attached at ${volume.attached}`,
        next: `weft detach ${volume.attached}`,
      })
    }
    if (!volume.shared) return volume
    await this.#world.announce({ absent: { number, name, code: 'ENOKEY' } })
    await this.#world.engine.call('close', { number, clean: true })
    await this.#world.replicated()?.giveUp(volume.stored.record.id, 'it is locked')
    volume.shared.state = VOLUME_STATE.locked
    if (volume.opened) wipeOpened(volume.opened)
    volume.opened = null
    volume.shared = null
    volume.closed = { state: 'locked', why: 'locked by a person' }
    return volume
  }

  async unlock(
    nameOrId: string,
    holder: Exclude<KeyHolder, { kind: 'opened' }>,
  ): Promise<NodeVolume> {
    const volume = this.find(nameOrId)
    this.mustBeHere(volume, 'key.unlock')
    if (volume.shared) return volume
    const opened = await this.#world.keys.open(volume.stored.record, holder)
    await this.#openWith(volume, opened)
    if (volume.closed) {
      throw new FsError('EIO', 'unlock', {
        message: `volume ${volume.stored.record.name} cannot be opened: ${volume.closed.why}`,
        next: `weft fsck ${volume.stored.record.name}`,
      })
    }
    await this.#world.announce({ served: { opening: this.opening(volume), writes: true } })
    return volume
  }

  /** The record changed (keys, spec): keep the newest. */
  async refresh(volume: NodeVolume): Promise<void> {
    volume.stored = await this.#world.registry.get(volume.stored.record.id)
  }

  /** New keys for the engine. @param newest key epoch it seals with from now on */
  async replaceKeys(volume: NodeVolume, opened: OpenedKeys, newest: KeyEpoch): Promise<void> {
    const { number } = volume.stored.record
    const old = volume.opened
    volume.opened = opened
    const keys = { ...opened.keys.export(), newest }
    await this.#world.engine.call('keys', { number, keys }, [keys.bytes])
    if (old && old !== opened) wipeOpened(old)
  }

  usable(volume: NodeVolume): SharedVolume {
    if (volume.shared) return volume.shared
    this.mustBeHere(volume, 'volume')
    const { name } = volume.stored.record
    const locked = volume.closed?.state === 'locked'
    throw new FsError(locked ? 'ENOKEY' : 'EIO', 'volume', {
      message: `volume ${name} is ${volume.closed?.state ?? 'closed'}: ${volume.closed?.why ?? ''}`,
      next: locked ? `weft key unlock ${name}` : `weft fsck ${name}`,
    })
  }

  /** To look at a volume that could not be opened; nobody else is at it. @throws FsError of keys, EIO without its drive */
  async closedOpening(volume: NodeVolume): Promise<VolumeOpening> {
    const opened = await this.#world.keys.open(volume.stored.record, { kind: 'node' })
    try {
      return this.opening({ ...volume, opened, shared: new SharedVolume() })
    } finally {
      wipeOpened(opened)
    }
  }

  /** Try once more to open a volume that was damaged. */
  async reopen(volume: NodeVolume): Promise<void> {
    const opened = await this.#world.keys.open(volume.stored.record, { kind: 'node' })
    await this.#openWith(volume, opened)
    if (!volume.shared) return
    await this.#world.announce({ served: { opening: this.opening(volume), writes: true } })
  }

  /** Where a volume's journal is on this node. @throws FsError EIO when that drive is not here */
  journalDirectory(volume: NodeVolume): string {
    const { drives, identity } = this.#world
    const { record } = volume.stored
    const copy = copyOn(record, identity.id)
    const named = drives.find((one) => one.id === copy?.drive)
    const namedFirst = named ? [named, ...drives.filter((one) => one !== named)] : drives
    // Moved off a drive that is being emptied it counts where it is; the record follows.
    const fallback = named?.givenUp.has(record.id) ? undefined : named
    const drive = journalDrive(record.id, namedFirst, systemDisk) ?? fallback
    if (drive) return join(drive.dir, VOLUMES_NAME, record.id)
    throw new FsError('EIO', 'open', {
      message: `the drive with the journal of ${record.name} is not here`,
    })
  }

  /** What a thread is told to open the volume; each call exports the keys anew, for one thread. */
  opening(volume: NodeVolume): VolumeOpening {
    const { home, stagingDirectory, boot, toldDrives } = this.#world
    const { record } = volume.stored
    const { opened, shared } = volume
    // Let go of meanwhile, by a person who locked it or to another node: who asked looks again.
    if (!opened || !shared) {
      const code = volume.closed?.state === 'locked' ? 'ENOKEY' : 'ENODEV'
      throw new FsError(code, 'open', { volume: record.name, retry: 'later' })
    }
    const journalDirectory = this.journalDirectory(volume)
    return {
      id: record.id,
      number: record.number,
      name: record.name,
      viewDirectory: join(home, 'views', record.id),
      journalDirectory,
      stagingDirectory: join(stagingDirectory, record.id),
      drives: toldDrives,
      boot,
      keys: opened.keys.export(),
      shared: shared.buffer,
    }
  }

  /**
   * This node's copy of a volume that another node owns, for reading.
   * @returns null when it has none, or its key opens the volume no more
   */
  async near(number: VolumeNumber): Promise<NearOpening | null> {
    const { identity, keys, toldDrives, log } = this.#world
    const volume = this.byNumber(number)
    if (volume?.closed?.state !== 'elsewhere') return null
    const { record } = volume.stored
    if (!copyOn(record, identity.id)) return null
    try {
      const opened = await keys.open(record, { kind: 'node' })
      try {
        return { id: record.id, drives: toldDrives, keys: opened.keys.export() }
      } finally {
        wipeOpened(opened)
      }
    } catch (error) {
      if (isBug(error)) throw error
      log.info({ op: 'near', volume: record.name, error: messageOf(error) }, 'read from its owner')
      return null
    }
  }

  /** For the namespace mount: what it serves, what it only shows. */
  served(): { volumes: ServedVolume[]; absent: AbsentVolume[] } {
    const volumes: ServedVolume[] = []
    const absent: AbsentVolume[] = []
    for (const volume of this.all()) {
      const { number, name } = volume.stored.record
      if (volume.shared) {
        if (volume.isShared) absent.push({ number, name, code: null })
        else volumes.push({ opening: this.opening(volume), writes: volume.attached === null })
      } else {
        absent.push({ number, name, code: BELOW[volume.closed?.state ?? 'damaged'] })
      }
    }
    return { volumes, absent }
  }

  /** Settle and close all; the views are synced, so that the next start need not rebuild them. */
  async closeAll(): Promise<boolean> {
    let settled = true
    for (const { stored, shared, opened } of this.all()) {
      const { number, name } = stored.record
      if (!shared) continue
      try {
        await this.#world.engine.call('close', { number, clean: true })
      } catch (error) {
        settled = false
        this.#world.log.error({ op: 'close', volume: name, error: messageOf(error) }, 'not settled')
      }
      if (opened) wipeOpened(opened)
    }
    return settled
  }

  #isOurs(record: VolumeRecord): boolean {
    return this.#world.nameOf === null || ownerIn(record) === this.#world.identity.id
  }

  #cannotRead({ unreadable }: VolumeList): void {
    this.unreadable.length = 0
    for (const { key, error } of unreadable) {
      const why = messageOf(error)
      this.unreadable.push({ record: key, why, newer: codeOf(error) === 'ENOTSUP' })
      this.#world.log.error({ op: 'open', record: key, error: why }, 'record not read')
    }
  }

  /** A volume that this node does not have open, and whose name it shows. */
  #show(stored: StoredVolume): NodeVolume {
    const volume: NodeVolume = {
      stored,
      opened: null,
      shared: null,
      closed: null,
      attached: null,
      isShared: false,
      before: [],
    }
    volume.closed = { state: 'elsewhere', why: this.#ownerWords(volume) }
    this.#volumes.set(stored.record.id, volume)
    return volume
  }

  #ownerWords(volume: NodeVolume): string {
    return `node ${this.ownerOf(volume) ?? 'nobody'} owns it`
  }

  /** What this node does not have open is as the coordinator says; what it has open, it says itself. */
  async #renew(volume: NodeVolume, stored: StoredVolume): Promise<void> {
    const isReady = stored.record.state === 'ready'
    if (this.#several.isOwning(stored.record.id)) return
    if (volume.closed?.state === 'waiting' && this.#isOurs(stored.record)) {
      if (isReady) await this.#openLate(volume, stored)
      else await this.#destroy(stored)
    } else if (volume.closed?.state === 'waiting') {
      volume.stored = stored
      volume.closed = { state: 'elsewhere', why: this.#ownerWords(volume) }
      this.#several.isAnothers(volume)
      await this.#announceAbsent(volume)
    } else if (volume.closed?.state === 'elsewhere') {
      volume.stored = stored
    } else {
      if (volume.shared && stored.version > volume.stored.version) {
        volume.stored = stored
        volume.shared.cos = stored.record.spec.cos
      }
      return
    }
    if (!isReady) await this.#forget(volume)
  }

  async #openLate(volume: NodeVolume, stored: StoredVolume): Promise<void> {
    volume.stored = stored
    let opened: OpenedKeys | null = null
    try {
      opened = await this.#world.keys.open(stored.record, { kind: 'node' })
    } catch (error) {
      volume.closed = { state: 'locked', why: messageOf(error) }
    }
    if (opened && this.isReplicated(stored)) return this.#several.ownLater(volume, opened)
    if (opened) await this.#openWith(volume, opened)
    if (volume.shared) await this.#world.opened(volume)
    else await this.#announceAbsent(volume)
  }

  async #announceAbsent({ stored: { record }, closed }: NodeVolume): Promise<readonly OpenFile[]> {
    const { number, name } = record
    return await this.#world.announce({
      absent: { number, name, code: BELOW[closed?.state ?? 'damaged'] },
    })
  }

  async #forget({ stored: { record } }: NodeVolume): Promise<void> {
    this.#volumes.delete(record.id)
    await this.#world.announce({ gone: record.number })
  }

  async #openStored(stored: StoredVolume, holder: { kind: 'node' }): Promise<void> {
    const volume: NodeVolume = {
      stored,
      opened: null,
      shared: null,
      closed: null,
      attached: null,
      isShared: false,
      before: [],
    }
    this.#volumes.set(stored.record.id, volume)
    let opened: OpenedKeys
    try {
      opened = await this.#world.keys.open(stored.record, holder)
    } catch (error) {
      volume.closed = { state: 'locked', why: messageOf(error) }
      return
    }
    if (this.isReplicated(stored)) this.#several.ownLater(volume, opened)
    else await this.#openWith(volume, opened)
  }

  async #openWith(volume: NodeVolume, opened: OpenedKeys): Promise<void> {
    const { registry, identity, engine, log } = this.#world
    const { id, name } = volume.stored.record
    let hasEpoch = false
    try {
      if (this.isReplicated(volume.stored)) {
        await this.#several.own(volume, opened)
        return
      }
      volume.stored = await registry.takeEpoch(id, identity.id, { abovePromise: 0 as never })
      hasEpoch = true
      await grantsEnd(this.#world.stagingDirectory, id, this.#world.clock)
      volume.opened = opened
      volume.shared = new SharedVolume()
      volume.shared.sizeBytes = volume.stored.record.spec.sizeBytes
      volume.shared.cos = volume.stored.record.spec.cos
      const opening = this.opening(volume)
      const { epoch } = volume.stored.record
      const checkView = this.#world.checkViews || volume.closed?.state === 'damaged'
      const args = { opening, epoch, root: null, checkView, replicas: null }
      await engine.call('open', args, [opening.keys.bytes])
      volume.closed = null
    } catch (error) {
      log.error({ op: 'open', volume: name, error: messageOf(error) }, 'volume cannot be opened')
      // Of a cluster's coordinator that went away in between: asked again.
      const isWaiting = !hasEpoch && this.#world.nameOf !== null && codeOf(error) !== 'ENOENT'
      volume.closed = { state: isWaiting ? 'waiting' : 'damaged', why: messageOf(error) }
      volume.opened = null
      volume.shared = null
      wipeOpened(opened)
    }
  }

  /** What is being deleted, or was never made: the record goes last. */
  async #destroy({ record }: StoredVolume): Promise<void> {
    const { home, stagingDirectory, drives, engine, registry, log } = this.#world
    const { id, name } = record
    await registry.markDeleting(id)
    const here = drives.filter(({ state }) => state !== 'gone').map(({ dir }) => dir)
    const chunks = await engine.call('destroy', {
      volume: id,
      traces: {
        // One that was never shown has no chunks: no need to ask every chunk of the drives whose it is.
        driveDirectories: record.state === 'making' ? [] : here,
        directories: [
          ...here.map((dir) => join(dir, VOLUMES_NAME, id)),
          join(home, 'views', id),
          join(stagingDirectory, id),
        ],
      },
    })
    await registry.remove(id)
    log.info({ op: 'delete', volume: id, chunks }, `volume ${name} deleted`)
  }
}
