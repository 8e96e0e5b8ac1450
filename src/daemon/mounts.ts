import { realpath } from 'node:fs/promises'
import type {
  AttachRequest,
  Driver,
  MountInfo,
  MountRequest,
  UnmountInfo,
  UnmountRequest,
} from '../api/index.ts'
import {
  background,
  type Clock,
  codeOf,
  FsError,
  type Ino,
  type KeyEpoch,
  type Log,
  messageOf,
  type Random,
  type VolumeNumber,
} from '../base/index.ts'
import {
  type AbsentVolume,
  abortConnection,
  type FarNews,
  type Forgetting,
  type FromWorker,
  forgetAttributes,
  forgetNames,
  haveConnectionControl,
  isWeftMount,
  type KeeperClient,
  type KeeperState,
  mountTable,
  type NearOpening,
  type Negotiated,
  notOfOnePlace,
  type OpenFile,
  OWN_SESSION,
  type ServedVolume,
  type SlotState,
  setReadAhead,
  type Told,
  type VolumeMessage,
  wire,
} from '../fuse/index.ts'
import type { VolumeOpening } from '../store/index.ts'
import type { AccessHost } from './access-host.ts'
import type { OwnKernel } from './access-server.ts'
import type { EngineHost } from './engine-host.ts'
import { MountWorker } from './mount-worker.ts'
import type { NativeHost } from './native-host.ts'
import type { NodeVolume, Volumes } from './volumes.ts'

/** What serves a mount. */
type Server = Pick<MountWorker, 'tell' | 'ended'>

/** What the keeper keeps of a mount for the next life of the daemon. */
interface KeptMount {
  mount: number
  /** Where it was asked for. */
  target: string
  /** Volume of an exclusive mount. */
  volume: string | null
  readOnly: boolean
  /** Further flags it was asked for with; absent in what an older build kept. */
  flags?: readonly string[]
  negotiated: Negotiated | null
  since: string
  /** Name of its volume, when another node has taken that: the connection is aborted, and stands until it is unmounted. */
  lost?: string
}

/** The part of a thread in a volume, as `role` of VolumeMessage says. */
type Role = Omit<Extract<Told<VolumeMessage>, { kind: 'role' }>, 'kind' | 'number' | 'opening'>

/** A mount that nobody serves. */
interface WaitingMount {
  slot: SlotState
  kept: KeptMount
}

interface Mount {
  slot: SlotState
  kept: KeptMount
  target: string
  worker: MountWorker
  ended: Promise<void>
}

/** A second place of the namespace. */
interface Bind {
  target: string
  readOnly: boolean
  since: string
}

export interface MountsWorld {
  keeper: KeeperClient
  engine: EngineHost
  volumes: Volumes
  /** The thread that answers for volumes which other nodes use, too. */
  access: AccessHost
  /** The mount through fuse-native; while it stands there is no namespace mount through the kernel driver. */
  native: NativeHost
  random: Random
  clock: Clock
  log: Log
  ownLocks: boolean
  /** Volumes may be taken over by other nodes: their exclusive mounts are ended then. */
  mayLose: boolean
  now(): string
  /** mkdir and rmdir at the root, damage found by a read. */
  onMessage(
    message: Exclude<FromWorker, { kind: 'done' | 'negotiated' | 'ended' }>,
    fd: number,
    /** Number that names the mount in stored answers. */
    mount: number,
  ): void
  /** The namespace mount is over: nothing of other nodes' volumes is open through it. */
  kernelEnded(): void
  /** A worker died of a bug. */
  onDeath(error: unknown): void
}

/** Below this a restart is asked for; the keeper takes 5 s over it, in which further mounts find what is left. */
const FREE_SLOTS_MIN = 16

/**
 * The mounts of this node: one namespace mount at most (further places are bind mounts of it, so that one kernel
 * connection sees every change), and one exclusive mount for each attached volume.
 */
export class Mounts {
  readonly #world: MountsWorld
  readonly #mounts: Mount[] = []
  readonly #binds: Bind[] = []
  /**
   * Exclusive mounts without a worker. What the kernel asks waits while the volume is not open yet, and fails once it is
   * lost: unmounted by us, a program started anew would write into the directory below.
   */
  readonly #waiting: WaitingMount[] = []
  /** Volumes that other nodes use through this one. The access thread alone answers for them, also while they are attached. */
  readonly #shared = new Map<number, NodeVolume>()
  readonly #turns = new Map<number, Promise<unknown>>()
  #renewing = false
  #isRestored = false

  constructor(world: MountsWorld) {
    this.#world = world
  }

  get namespace(): Mount | undefined {
    return this.#mounts.find((mount) => mount.kept.volume === null)
  }

  /** Serve again what an earlier life of the daemon served, or had only asked for when it died. */
  async restore(state: KeeperState): Promise<void> {
    const slots = state.slots.filter((slot) => slot.used)
    if (this.#world.mayLose) await haveConnectionControl()
    const keptOf = (slot: SlotState) => slot.info as KeptMount | null
    for (const slot of slots) {
      const kept = keptOf(slot)
      if (!kept?.volume || kept.lost !== undefined) continue
      this.#world.volumes.find(kept.volume).attached = slot.target ?? kept.target
    }
    for (const slot of slots) {
      const kept = keptOf(slot)
      if (!kept) {
        // Said by a daemon of an older build, after its mount: it died between the two.
        this.#world.log.error({ op: 'restore', target: slot.target }, 'a mount nobody knows')
        if (slot.dev !== null) await this.#world.keeper.unmount(slot.slot, true)
        continue
      }
      if (kept.lost !== undefined) {
        await this.#keepLost({ slot, kept: { ...kept, target: slot.target ?? kept.target } })
        continue
      }
      const closed = kept.volume ? this.#world.volumes.find(kept.volume).closed : null
      if (closed === null) await this.#resume(slot, kept)
      else {
        // Its callers wait for it to be opened, or for somebody to unmount it.
        this.#waiting.push({ slot, kept })
        if (closed.state === 'elsewhere') await this.#markLost(slot, kept)
      }
    }
    this.#world.keeper.onSlot((slot) => {
      this.#made(slot).catch(background(this.#world.log, 'mount.restore'))
    })
    for (const { target, readOnly = false } of state.binds) {
      this.#binds.push({ target, readOnly, since: this.#world.now() })
    }
    this.#isRestored = true
    if (!this.namespace) await this.#world.native.restore()
    // Before anybody is answered: who has joined a cluster finds the mount as it stays.
    if (this.locksAreLocal) {
      await this.#mountForLocks().catch(background(this.#world.log, 'mount.locks'))
    }
  }

  /** Locks of files hold on this node alone: its kernel was told to keep them before the node joined a cluster. */
  get locksAreLocal(): boolean {
    const negotiated = this.namespace?.kept.negotiated
    if (!this.#world.ownLocks || !negotiated) return false
    return (negotiated.flags & wire.INIT_FLAGS.FUSE_POSIX_LOCKS) === 0
  }

  /** The namespace mount is made anew, if nobody is in it: what a kernel does with locks is agreed when a mount begins. */
  async #mountForLocks(): Promise<void> {
    const mount = this.namespace
    if (!mount || this.#binds.length > 0) return
    const { target, kept, slot } = mount
    if (!kept.flags || target === '') return
    try {
      await this.#world.keeper.unmount(slot.slot, false)
    } catch (error) {
      if (codeOf(error) !== 'EBUSY') throw error
      return
    }
    await mount.ended
    await this.#start(target, null, kept.readOnly, kept.flags)
  }

  async #resume(slot: SlotState, kept: KeptMount): Promise<void> {
    const beingMade = slot.dev === null
    const target = slot.target ?? (beingMade ? kept.target : '')
    const mount = await this.#serve(slot, kept, target, true)
    this.#stands(mount, target, slot)
  }

  /** A volume that was waited for is open. */
  async opened(volume: NodeVolume): Promise<void> {
    const { id } = volume.stored.record
    const at = this.#waiting.findIndex(({ kept }) => kept.volume === id && !kept.lost)
    const [found] = at < 0 ? [] : this.#waiting.splice(at, 1)
    if (found) await this.#resume(found.slot, found.kept)
    const writes = volume.attached === null
    await this.announce({ served: { opening: this.#world.volumes.opening(volume), writes } })
  }

  /**
   * Other nodes use a volume from now on: one thread answers for it to all, this node's namespace mount among them, and orders
   * their changes unless the volume is attached here. Nothing is under way for it there when this returns.
   */
  share(volume: NodeVolume): Promise<void> {
    return this.#inTurn(volume.stored.record.number, async () => {
      if (volume.isShared) return
      volume.isShared = true
      this.#shared.set(volume.stored.record.number, volume)
      try {
        await this.#handToAccess(volume)
      } catch (error) {
        volume.isShared = false
        this.#shared.delete(volume.stored.record.number)
        throw error
      }
    })
  }

  /** Who answers for a volume, and who orders its changes, is changed by one at a time. */
  async #inTurn<T>(number: VolumeNumber, step: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(number) ?? Promise.resolve()
    const turn = before.then(step)
    this.#turns.set(
      number,
      turn.catch(() => {}),
    )
    return await turn
  }

  /**
   * No other node uses it any more. @param served whether this node goes on having it open
   * @returns files that this node's own kernel has open
   */
  unshare(volume: NodeVolume, served = true): Promise<readonly OpenFile[]> {
    return this.#inTurn(volume.stored.record.number, async () => {
      if (!volume.isShared) return []
      const { number } = volume.stored.record
      const opens = await this.#world.access.tell({ kind: 'remove', number })
      volume.isShared = false
      this.#shared.delete(number)
      if (served) {
        await this.#role(volume, { writes: volume.attached === null, force: true, opens })
      }
      return opens
    })
  }

  /** The node stops: no kernel keeps anything of its volumes when this returns. */
  async unshareAll(): Promise<void> {
    await Promise.all([...this.#shared.values()].map((volume) => this.unshare(volume, false)))
  }

  async #handToAccess(volume: NodeVolume): Promise<void> {
    const { access, volumes } = this.#world
    const writes = volume.attached === null
    const { opens, inherited } = await this.#forwards(volume)
    const served = { opening: volumes.opening(volume), writes }
    await access.tell({ kind: 'add', served, ...(inherited && { inherited }) }, served)
    const { number } = volume.stored.record
    access.opens(number, OWN_SESSION, opens)
    // A mount of before may have ended while nobody was there to see it.
    if (!this.namespace && this.#isRestored) access.endSession(number, OWN_SESSION)
  }

  /** The namespace mount hands on what its kernel asks of a volume. @returns files open there, and as `inherited` of `add` */
  async #forwards(
    volume: NodeVolume,
  ): Promise<{ opens: readonly OpenFile[]; inherited?: readonly Ino[] }> {
    const { number, name } = volume.stored.record
    const worker = this.namespace?.worker
    if (!worker || worker.ended) {
      // Through fuse-native nothing can be handed on: it reads.
      await this.#role(volume, { writes: false, force: true })
      return { opens: [] }
    }
    return await worker.handOver({ number, name, code: null })
  }

  /** A request comes back to a mount, the namespace's unless another is named, which answers for its volume again. */
  async again(frame: Uint8Array, fd: number, number?: number): Promise<void> {
    const mount =
      number === undefined ? this.namespace : this.#mounts.find(({ kept }) => kept.mount === number)
    await mount?.worker.tell({ kind: 'again', frame, fd })
  }

  /** News of what the namespace mount has handed on. */
  heard(news: FarNews): void {
    this.namespace?.worker.post(news)
  }

  /** A mount's kernel has dropped pages, as the mount asked with this token. @param number that names it in stored answers */
  dropped(number: number, token: number): void {
    const mount = this.#mounts.find(({ kept }) => kept.mount === number)
    mount?.worker.post({ kind: 'dropped', token })
  }

  /** No thread that serves a mount, or another node, has anything open on drives that are none of this node any more. */
  async letGoOfDrives(): Promise<void> {
    const workers = this.#mounts.map(({ worker }) => worker).filter(({ ended }) => !ended)
    const told = workers.map((worker) =>
      worker.tell({ kind: 'drives' }).catch((error: unknown) => {
        if (!worker.ended) throw error
      }),
    )
    await Promise.all([...told, this.#world.access.letGoOfDrives()])
  }

  /** From now on the namespace mount reads from this node's copy of a volume; with null it has none. */
  async near(number: VolumeNumber, near: NearOpening | null): Promise<void> {
    const worker = this.namespace?.worker
    if (worker && !worker.ended) await worker.near(number, near)
    else if (near) new Uint8Array(near.keys.bytes).fill(0)
  }

  /** The namespace mount's kernel. */
  get kernel(): OwnKernel {
    const kept = this.namespace?.kept
    const { flags = 0, minor = 0 } = kept?.negotiated ?? {}
    return { flags, mount: kept?.mount ?? 0, keepsNames: minor >= wire.INC_EPOCH_MINOR }
  }

  /**
   * The namespace mount and its kernel forget these attributes of a volume, or every name.
   * @throws FsError EAGAIN while mounts of the life before are not served yet
   */
  async forget(number: VolumeNumber, forgetting: Forgetting): Promise<void> {
    if (!this.#isRestored) throw new FsError('EAGAIN', 'forget', { retry: 'later' })
    await this.#forget(number, forgetting)
  }

  async #forget(number: VolumeNumber, forgetting: Forgetting): Promise<void> {
    const mount = this.namespace
    if (!mount) return
    await mount.worker.forget(number, forgetting)
    const { attributes, names } = forgetting
    const { fd } = mount.slot
    if (names) await forgetNames(fd)
    await forgetAttributes(fd, number, attributes, this.#world.clock)
  }

  /** The keeper has done what the life before had asked it for: a mount stands, or it was refused. */
  async #made(slot: SlotState): Promise<void> {
    const mount = this.#mounts.find((one) => one.slot.slot === slot.slot)
    if (!mount) return
    if (!slot.used) {
      await mount.worker.abandon()
      return
    }
    this.#stands(mount, slot.target ?? '', slot)
  }

  #stands(
    mount: Mount,
    target: string,
    { dev, polled = false }: Pick<SlotState, 'dev' | 'polled'>,
  ): void {
    mount.target = target
    mount.worker.target = target || null
    if (dev !== null) setReadAhead(dev)
    if (polled) mount.worker.polled()
  }

  /** Who serves the namespace, whichever driver it has. */
  get #server(): Pick<MountWorker, 'tell' | 'ended'> | null {
    const worker = this.namespace?.worker
    return worker && !worker.ended ? worker : this.#world.native.mount
  }

  /** What names the mounts in stored answers. */
  numbers(): Set<number> {
    return new Set(this.#mounts.map(({ kept }) => kept.mount))
  }

  list(): MountInfo[] {
    const waiting = this.#standing().map((one) => ({ ...one, target: one.kept.target }))
    const rows = [...this.#mounts, ...waiting].map(({ slot, kept, target }): MountInfo => {
      const volume = kept.volume
        ? (kept.lost ?? this.#world.volumes.find(kept.volume).stored.record.name)
        : null
      return {
        id: String(slot.slot),
        name: volume ?? 'weft',
        target,
        kind: volume ? 'exclusive' : 'namespace',
        volume,
        readOnly: kept.readOnly,
        driver: 'kernel',
        notes: kept.lost === undefined ? [] : [deadWords(kept.lost, target)],
        since: kept.since,
      }
    })
    const binds = this.#binds.map((bind, index) => this.#bindInfo(bind, index))
    return [...rows, ...binds, ...this.#world.native.list()]
  }

  /** Exclusive mounts whose volume another node has taken. */
  dead(): { volume: string; target: string; why: string; next: string }[] {
    return this.#standing().flatMap(({ kept: { lost, target } }) =>
      lost === undefined
        ? []
        : [{ volume: lost, target, why: deadWords(lost, target), next: `weft detach ${target}` }],
    )
  }

  /** Without those that a person has unmounted by hand. */
  #standing(): WaitingMount[] {
    return this.#waiting.filter(({ slot, kept }) => kept.lost === undefined || stands(slot))
  }

  requests() {
    const native = this.#world.native.mount
    return [...this.#mounts.map(({ worker }) => worker), ...(native ? [native] : [])].map(
      (server) => ({ target: server.target ?? '', requests: server.requests() }),
    )
  }

  async mount(request: MountRequest): Promise<MountInfo> {
    const target = await realTarget(request.target)
    const { native } = this.#world
    const namespace = this.namespace
    if ((request.driver ?? defaultDriver()) === 'fuse-native') {
      if (namespace) throw otherDriver(namespace.target, 'kernel')
      return await native.start(target, request.readOnly ?? false)
    }
    if (native.mount) throw otherDriver(native.mount.target, 'fuse-native')
    if (namespace) {
      return await this.#bind(namespace, target, request)
    }
    await this.#start(target, null, request.readOnly ?? false, request.flags ?? [])
    return this.#infoAt(target)
  }

  /** A second place of the namespace: the same connection, with flags of its own as far as one place can have them. */
  async #bind(namespace: Mount, target: string, request: MountRequest): Promise<MountInfo> {
    const { flags = [], readOnly = false } = request
    const [shared] = notOfOnePlace(flags)
    if (shared !== undefined) {
      throw new FsError('EINVAL', 'mount', {
        message: `${target} becomes a second place of the namespace at ${namespace.target}, and the option ${shared} is of both or of none`,
        next: `leave it out (ro, nosuid, nodev, noexec and the atime options can differ), or weft umount ${namespace.target} first`,
      })
    }
    const options = [...flags, ...(readOnly ? ['ro'] : [])]
    const bound = await this.#world.keeper.bind(namespace.slot.slot, target, options)
    const bind = { target: bound.target, readOnly, since: this.#world.now() }
    this.#binds.push(bind)
    return this.#bindInfo(bind, this.#binds.length - 1)
  }

  #bindInfo({ target, readOnly, since }: Bind, index: number): MountInfo {
    return {
      id: `bind-${index}`,
      name: 'weft',
      target,
      kind: 'bind',
      volume: null,
      readOnly: readOnly || (this.namespace?.kept.readOnly ?? false),
      driver: 'kernel',
      notes: [],
      since,
    }
  }

  async attach(request: AttachRequest): Promise<MountInfo> {
    const { volumes } = this.#world
    const volume = volumes.find(request.volume)
    const { name } = volume.stored.record
    const dead = this.dead().find((one) => one.volume === name)
    if (dead) {
      const message = `${dead.why}, and its mount is there still`
      throw new FsError('EBUSY', 'attach', { message, next: dead.next })
    }
    await volumes.bringHere(volume, 'attach')
    volumes.usable(volume)
    if (volume.stored.record.copies.length > 1) await haveConnectionControl()
    mustNotBeAttached(volume)
    const target = await realTarget(request.target)
    await this.#giveUp(volume, target, request.force ?? false)
    try {
      await this.#start(target, volume, request.readOnly ?? false, request.flags ?? [])
    } catch (error) {
      await this.#takeBack(volume)
      throw error
    }
    return this.#infoAt(target)
  }

  /** @returns who goes on using it, in another mount namespace */
  async umount({ target, force }: UnmountRequest): Promise<UnmountInfo> {
    const path = await realTarget(target)
    const bind = this.#binds.findIndex((one) => one.target === path)
    if (bind >= 0) {
      const { heldBy } = await this.#world.keeper.unbind(path, force)
      this.#binds.splice(bind, 1)
      return { heldBy }
    }
    const { native } = this.#world
    if (native.mount?.target === path) {
      await native.unmount(force ?? false)
      return { heldBy: [] }
    }
    const waits = this.#standing().find(({ kept }) => kept.target === path)
    if (waits) {
      return await this.#endWaiting(waits, force)
    }
    const mount = this.#mounts.find((one) => one.target === path)
    if (!mount) {
      throw new FsError('ENOENT', 'umount', {
        message: `${path} is not a mount of this node`,
        next: 'weft status lists its mounts',
      })
    }
    const done = await this.#world.keeper.unmount(mount.slot.slot, force)
    if (done.ended) await mount.ended
    else if (done.target !== null) this.#moved(mount, done.target)
    return { heldBy: done.heldBy }
  }

  /** Nobody serves it, so nothing is given up. */
  async #endWaiting(mount: WaitingMount, force: boolean | undefined): Promise<UnmountInfo> {
    const { keeper, volumes } = this.#world
    const { slot, kept } = mount
    this.#waiting.splice(this.#waiting.indexOf(mount), 1)
    let done: UnmountInfo
    try {
      done = await keeper.unmount(slot.slot, force)
    } catch (error) {
      this.#waiting.push(mount)
      throw error
    }
    if (kept.volume && kept.lost === undefined) volumes.find(kept.volume).attached = null
    await keeper.ended(slot.slot)
    return { heldBy: done.heldBy }
  }

  /** A bind mount has taken the place of a mount's first one. */
  #moved(mount: Mount, target: string): void {
    mount.target = target
    mount.worker.target = target
    const bind = this.#binds.findIndex((one) => one.target === target)
    if (bind >= 0) this.#binds.splice(bind, 1)
  }

  /**
   * Another node owns a volume now: its exclusive mount here is ended for good, so that nothing its kernel still holds is
   * ever acknowledged or written; done when this returns. It stands, dead, until it is unmounted.
   */
  abandon(volume: NodeVolume): void {
    const { id } = volume.stored.record
    const { log } = this.#world
    const waits = this.#waiting.find(({ kept }) => kept.volume === id && !kept.lost)
    if (waits) this.#markLost(waits.slot, waits.kept).catch(background(log, 'mount.lost'))
    const mount = this.#mounts.find(({ kept }) => kept.volume === id)
    const entry =
      mount && mountTable().find((one) => one.mountPoint === mount.target && isWeftMount(one))
    if (!entry) return
    mount.slot = { ...mount.slot, dev: entry.dev }
    this.#markLost(mount.slot, mount.kept).catch(background(log, 'mount.lost'))
  }

  /** Aborts before it returns; the keeper knows it for the next life of the daemon when it is fulfilled. */
  async #markLost(slot: SlotState, kept: KeptMount): Promise<void> {
    if (slot.dev !== null) abortConnection(slot.dev)
    const volume = this.#world.volumes.find(kept.volume ?? '')
    kept.lost = volume.stored.record.name
    if (volume.attached === kept.target) volume.attached = null
    await this.#world.keeper.saveState(slot.slot, kept)
  }

  async #keepLost(mount: WaitingMount): Promise<void> {
    if (stands(mount.slot)) this.#waiting.push(mount)
    else await this.#world.keeper.ended(mount.slot.slot)
  }

  /** As VolumesWorld.announce. */
  async announce(
    change:
      | { served: ServedVolume; opens?: readonly OpenFile[] }
      | { absent: AbsentVolume }
      | { gone: number },
  ): Promise<readonly OpenFile[]> {
    const shared = 'served' in change ? [] : await this.#unshareGone(change)
    if ('served' in change) {
      const { served, opens } = change
      return await this.#inTurn(served.opening.number, () => this.#add(served, opens))
    }
    const worker = this.#server
    if (!worker) return shared
    const opens =
      'absent' in change
        ? await worker.tell({ kind: 'absent', volume: change.absent })
        : await worker.tell({ kind: 'remove', number: change.gone as never })
    return shared.length > 0 ? shared : opens
  }

  async #add(
    served: ServedVolume,
    opens: readonly OpenFile[] | undefined,
  ): Promise<readonly OpenFile[]> {
    const { number, keys } = served.opening
    if (this.#shared.has(number)) {
      // Another node was quicker: the access thread has it already.
      new Uint8Array(keys.bytes).fill(0)
      if (opens) this.#world.access.opens(number, OWN_SESSION, opens)
      return []
    }
    const worker = this.#server
    if (!worker) return []
    return await worker.tell({ kind: 'add', served, ...(opens && { opens }) }, served)
  }

  async #unshareGone(
    change: { absent: AbsentVolume } | { gone: number },
  ): Promise<readonly OpenFile[]> {
    const number = 'gone' in change ? change.gone : change.absent.number
    const shared = this.#shared.get(number)
    return shared ? await this.unshare(shared, false) : []
  }

  /** New keys of a volume for every mount that serves it. @param newest key epoch they seal with from now on */
  async replaceKeys(volume: NodeVolume, newest: KeyEpoch): Promise<void> {
    const { number } = volume.stored.record
    await this.#inTurn(number, () =>
      this.#tellServing(volume, (opening) => {
        return { kind: 'keys', number, keys: { ...opening.keys, newest } }
      }),
    )
  }

  /** Every mount opens the volume anew: what its threads keep of it may be wrong after a repair. */
  async renew(volume: NodeVolume): Promise<void> {
    const { number } = volume.stored.record
    await this.#inTurn(number, () =>
      this.#tellServing(volume, (opening, writes) => {
        return { kind: 'role', number, writes, force: true, opening }
      }),
    )
  }

  async #tellServing(
    volume: NodeVolume,
    message: (opening: VolumeOpening, writes: boolean) => Told<VolumeMessage>,
  ): Promise<void> {
    const { id } = volume.stored.record
    const ofNamespace = volume.attached === null
    const servers: { worker: Server | AccessHost; writes: boolean }[] = []
    for (const { kept, worker } of this.#mounts) {
      if (kept.volume === id) servers.push({ worker, writes: true })
      else if (kept.volume === null && !volume.isShared) {
        servers.push({ worker, writes: ofNamespace })
      }
    }
    if (volume.isShared) servers.push({ worker: this.#world.access, writes: ofNamespace })
    const native = this.#world.native.mount
    if (native) servers.push({ worker: native, writes: ofNamespace && !volume.isShared })
    for (const { worker, writes } of servers) {
      if ('ended' in worker && worker.ended) continue
      const opening = this.#world.volumes.opening(volume)
      try {
        await worker.tell(message(opening, writes), { opening, writes })
      } catch (error) {
        // A mount that has ended meanwhile needs nothing.
        if (!('ended' in worker && worker.ended)) throw error
      }
    }
  }

  /** All connections are over: the workers have given up what they held. */
  async allEnded(): Promise<void> {
    await this.#world.native.end()
    await Promise.all(this.#mounts.map((mount) => mount.ended))
  }

  async #start(
    target: string,
    volume: NodeVolume | null,
    readOnly: boolean,
    flags: readonly string[],
  ): Promise<void> {
    const { keeper } = this.#world
    const slot = keeper.takeSlot()
    const kept: KeptMount = {
      mount: this.#world.random.bytes(4).readUInt32LE(0),
      target,
      volume: volume?.stored.record.id ?? null,
      readOnly,
      flags,
      negotiated: null,
      since: this.#world.now(),
    }
    const mount = await this.#serve(slot, kept, target, false)
    try {
      // Before the mount is asked for: whoever finds it after our death must know what it is.
      await keeper.saveState(slot.slot, kept)
      const source = volume ? `weft:${volume.stored.record.name}` : 'weft'
      const options = [...flags, ...(readOnly ? ['ro'] : [])]
      const done = await keeper.mount(slot.slot, target, { source, options })
      this.#stands(mount, done.target, done)
    } catch (error) {
      await mount.worker.abandon()
      throw error
    } finally {
      this.#renewSlots()
    }
  }

  /** Slots are spent by every mount; the next life of the daemon gets new ones. In time, while some are left. */
  #renewSlots(): void {
    const { keeper, log } = this.#world
    if (this.#renewing || keeper.freeSlots >= FREE_SLOTS_MIN) return
    this.#renewing = true
    keeper.restart().catch((error: unknown) => {
      this.#renewing = false
      log.error({ op: 'restart', error: messageOf(error) }, 'no new slots for mounts')
    })
  }

  async #serve(slot: SlotState, kept: KeptMount, target: string, resumed: boolean): Promise<Mount> {
    const { engine, volumes, keeper, log } = this.#world
    const volume = kept.volume ? volumes.find(kept.volume) : null
    const { served, absent } = volume
      ? { served: [{ opening: volumes.opening(volume), writes: true }], absent: [] }
      : { served: volumes.served().volumes, absent: volumes.served().absent }
    let end = () => {}
    const ended = new Promise<void>((resolve) => {
      end = resolve
    })
    const worker = await MountWorker.start(
      {
        fd: slot.fd,
        polledFd: slot.polledFd ?? null,
        mount: kept.mount,
        exclusive: volume?.stored.record.number ?? null,
        ownLocks: this.#world.ownLocks,
        readOnly: kept.readOnly,
        resumed,
        negotiated: kept.negotiated,
        volumes: served,
        absent,
      },
      engine,
      {
        negotiated: async (negotiated) => {
          kept.negotiated = negotiated
          await keeper.saveState(slot.slot, kept)
        },
        message: (message) => this.#world.onMessage(message, slot.fd, kept.mount),
        death: (error) => this.#world.onDeath(error),
        ended: () => {
          this.#left(mount)
            .catch((error: unknown) =>
              log.error(
                { op: 'umount', target, error: messageOf(error) },
                'mount did not end well',
              ),
            )
            .finally(end)
        },
      },
    )
    const mount: Mount = { slot, kept, target, worker, ended }
    worker.target = target || null
    this.#mounts.push(mount)
    if (volume) volume.attached = target || kept.target
    return mount
  }

  /** A worker's thread has ended: its mount is over. */
  async #left(mount: Mount): Promise<void> {
    const index = this.#mounts.indexOf(mount)
    if (index >= 0) this.#mounts.splice(index, 1)
    const { keeper, volumes } = this.#world
    if (mount.kept.lost !== undefined) {
      const { slot, kept, target } = mount
      await this.#keepLost({ slot, kept: { ...kept, target } })
      return
    }
    if (mount.kept.volume) {
      const volume = volumes.find(mount.kept.volume)
      await this.#takeBack(volume)
    } else {
      // By an abort it closes nothing that its kernel had open or locked.
      for (const number of this.#shared.keys()) {
        this.#world.access.endSession(number as VolumeNumber, OWN_SESSION)
      }
      this.#world.kernelEnded()
    }
    await keeper.ended(mount.slot.slot)
  }

  /** The namespace mount stops writing a volume: what it accepted is committed, from now on it reads what is. */
  #giveUp(volume: NodeVolume, target: string, force: boolean): Promise<void> {
    return this.#inTurn(volume.stored.record.number, async () => {
      mustNotBeAttached(volume)
      volume.attached = target
      try {
        await this.#stopOrdering(volume, { force })
      } catch (error) {
        volume.attached = null
        throw error
      }
    })
  }

  /** As VolumesWorld.stopWriting. */
  async stopWriting(volume: NodeVolume, goesOn: boolean): Promise<void> {
    // Through fuse-native nothing can be handed on.
    const isNative = this.#world.native.mount !== null
    const how = { force: false, goesOn: goesOn && !isNative }
    await this.#inTurn(volume.stored.record.number, () => this.#stopOrdering(volume, how))
  }

  /**
   * Whoever orders the changes of a volume through the namespace, of this node or of all, reads it from now on. Of a shared
   * volume that is the access thread, which goes on answering for it: there is one table of its locks, and one count of what
   * is open.
   */
  async #stopOrdering(volume: NodeVolume, how: Omit<Role, 'writes'>): Promise<void> {
    if (!volume.isShared) return await this.#role(volume, { writes: false, ...how })
    await this.#accessRole(volume, { writes: false, ...how })
    await this.#forget(volume.stored.record.number, { attributes: [], names: true })
  }

  #takeBack(volume: NodeVolume): Promise<void> {
    return this.#inTurn(volume.stored.record.number, async () => {
      volume.attached = null
      const role = { writes: true, force: true }
      if (volume.isShared && volume.shared) await this.#accessRole(volume, role)
      else await this.#role(volume, role)
    })
  }

  async #accessRole(volume: NodeVolume, role: Role): Promise<void> {
    const opening = this.#world.volumes.opening(volume)
    const { number } = volume.stored.record
    const { writes } = role
    await this.#world.access.tell({ kind: 'role', number, opening, ...role }, { opening, writes })
  }

  async #role(volume: NodeVolume, role: Role): Promise<void> {
    const worker = this.#server
    if (!worker || !volume.shared) return
    const opening = this.#world.volumes.opening(volume)
    const { number } = volume.stored.record
    const { writes } = role
    try {
      await worker.tell({ kind: 'role', number, opening, ...role }, { opening, writes })
    } catch (error) {
      // At weft down both mounts end at once: the one that has ended needs no role.
      if (!worker.ended) throw error
    }
  }

  #infoAt(target: string): MountInfo {
    const info = this.list().find((one) => one.target === target)
    if (!info) throw new FsError('EIO', 'mount', { message: `${target} was mounted and is gone` })
    return info
  }
}

/** @throws FsError EBUSY */
function mustNotBeAttached({ attached, stored }: NodeVolume): void {
  if (attached === null) return
  throw new FsError('EBUSY', 'attach', {
    message: `volume ${stored.record.name} is attached already, at ${attached}`,
    next: `weft detach ${attached}`,
  })
}

/** A person may have unmounted it by hand. */
function stands({ dev }: SlotState): boolean {
  return mountTable().some((one) => isWeftMount(one) && one.dev === dev)
}

function deadWords(volume: string, target: string): string {
  return `volume ${volume} was lost to another node while it was attached at ${target}: every call there fails`
}

/** fusermount lets everybody mount; mount(2) wants root. */
function defaultDriver(): Driver {
  return process.getuid?.() === 0 ? 'kernel' : 'fuse-native'
}

function otherDriver(target: string, driver: Driver): FsError {
  return new FsError('EBUSY', 'mount', {
    message: `the namespace is mounted at ${target} already, through the driver ${driver}`,
    next: `weft umount ${target}`,
  })
}

/**
 * The path as the mount table spells it; a path that is not there is the keeper's to refuse, in its words.
 * Never by a synchronous call: the path may lie on the mount that this thread serves.
 */
async function realTarget(target: string): Promise<string> {
  return await realpath(target).catch(() => target)
}
