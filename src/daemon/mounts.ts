import { realpath } from 'node:fs/promises'
import type {
  AttachRequest,
  Driver,
  MountInfo,
  MountRequest,
  UnmountRequest,
} from '../api/index.ts'
import {
  background,
  FsError,
  type KeyEpoch,
  type Log,
  messageOf,
  type Random,
} from '../base/index.ts'
import {
  type AbsentVolume,
  abortConnection,
  type FromWorker,
  haveConnectionControl,
  isWeftMount,
  type KeeperClient,
  type KeeperState,
  mountTable,
  type Negotiated,
  notOfOnePlace,
  type ServedVolume,
  type SlotState,
  setReadAhead,
} from '../fuse/index.ts'
import type { VolumeOpening } from '../store/index.ts'
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
  negotiated: Negotiated | null
  since: string
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
  /** The mount through fuse-native; while it stands there is no namespace mount through the kernel driver. */
  native: NativeHost
  random: Random
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
  /** Exclusive mounts of the life before whose volume is not open yet: what the kernel asks there waits. */
  readonly #waiting: { slot: SlotState; kept: KeptMount }[] = []
  #renewing = false

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
      if (kept?.volume) this.#world.volumes.find(kept.volume).attached = slot.target ?? kept.target
    }
    for (const slot of slots) {
      const kept = keptOf(slot)
      if (!kept) {
        // Said by a daemon of an older build, after its mount: it died between the two.
        this.#world.log.error({ op: 'restore', target: slot.target }, 'a mount nobody knows')
        if (slot.dev !== null) await this.#world.keeper.unmount(slot.slot, true)
        continue
      }
      const closed = kept.volume ? this.#world.volumes.find(kept.volume).closed : null
      if (closed === null) await this.#resume(slot, kept)
      else {
        // Its callers wait for it to be opened, or for somebody to unmount it.
        this.#waiting.push({ slot, kept })
        if (closed.state === 'elsewhere' && slot.dev !== null) abortConnection(slot.dev)
      }
    }
    this.#world.keeper.onSlot((slot) => {
      this.#made(slot).catch(background(this.#world.log, 'mount.restore'))
    })
    for (const { target, readOnly = false } of state.binds) {
      this.#binds.push({ target, readOnly, since: this.#world.now() })
    }
    if (!this.namespace) await this.#world.native.restore()
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
    const at = this.#waiting.findIndex(({ kept }) => kept.volume === id)
    const [found] = at < 0 ? [] : this.#waiting.splice(at, 1)
    if (found) await this.#resume(found.slot, found.kept)
    const writes = volume.attached === null
    await this.announce({ served: { opening: this.#world.volumes.opening(volume), writes } })
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
    const waiting = this.#waiting.map((one) => ({ ...one, target: one.kept.target }))
    const rows = [...this.#mounts, ...waiting].map(({ slot, kept, target }): MountInfo => {
      const volume = kept.volume ? this.#world.volumes.find(kept.volume).stored.record.name : null
      return {
        id: String(slot.slot),
        name: volume ?? 'weft',
        target,
        kind: volume ? 'exclusive' : 'namespace',
        volume,
        readOnly: kept.readOnly,
        driver: 'kernel',
        notes: [],
        since: kept.since,
      }
    })
    const binds = this.#binds.map((bind, index) => this.#bindInfo(bind, index))
    return [...rows, ...binds, ...this.#world.native.list()]
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
    await volumes.bringHere(volume)
    volumes.usable(volume)
    if (volume.stored.record.copies.length > 1) await haveConnectionControl()
    if (volume.attached) {
      throw new FsError('EBUSY', 'attach', {
        message: `volume ${name} is attached already, at ${volume.attached}`,
        next: `weft detach ${volume.attached}`,
      })
    }
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

  async umount({ target, force }: UnmountRequest): Promise<void> {
    const path = await realTarget(target)
    const bind = this.#binds.findIndex((one) => one.target === path)
    if (bind >= 0) {
      await this.#world.keeper.unbind(path, force)
      this.#binds.splice(bind, 1)
      return
    }
    const { native } = this.#world
    if (native.mount?.target === path) {
      await native.unmount(force ?? false)
      return
    }
    const waits = this.#waiting.findIndex(({ kept }) => kept.target === path)
    if (waits >= 0) {
      await this.#endWaiting(waits, force)
      return
    }
    const mount = this.#mounts.find((one) => one.target === path)
    if (!mount) {
      throw new FsError('ENOENT', 'umount', {
        message: `${path} is not a mount of this node`,
        next: 'weft status lists its mounts',
      })
    }
    const { ended, target: now } = await this.#world.keeper.unmount(mount.slot.slot, force)
    if (ended) await mount.ended
    else if (now !== null) this.#moved(mount, now)
  }

  /** Nobody serves it, so nothing is given up. */
  async #endWaiting(at: number, force: boolean | undefined): Promise<void> {
    const { keeper, volumes } = this.#world
    const [found] = this.#waiting.splice(at, 1)
    if (!found) return
    try {
      await keeper.unmount(found.slot.slot, force)
    } catch (error) {
      this.#waiting.push(found)
      throw error
    }
    if (found.kept.volume) volumes.find(found.kept.volume).attached = null
    await keeper.ended(found.slot.slot)
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
   * ever acknowledged or written; done when this returns.
   */
  abandon(volume: NodeVolume): void {
    const { id } = volume.stored.record
    const waits = this.#waiting.find(({ kept }) => kept.volume === id)
    if (waits?.slot.dev) abortConnection(waits.slot.dev)
    const mount = this.#mounts.find(({ kept }) => kept.volume === id)
    const entry =
      mount && mountTable().find((one) => one.mountPoint === mount.target && isWeftMount(one))
    if (entry) abortConnection(entry.dev)
  }

  /** Tell the namespace mount of a volume that came, went, or cannot be used any more. */
  async announce(
    change: { served: ServedVolume } | { absent: AbsentVolume } | { gone: number },
  ): Promise<void> {
    const worker = this.#server
    if (!worker) return
    if ('served' in change) await worker.tell({ kind: 'add', served: change.served }, change.served)
    else if ('absent' in change) await worker.tell({ kind: 'absent', volume: change.absent })
    else await worker.tell({ kind: 'remove', number: change.gone as never })
  }

  /** New keys of a volume for every mount that serves it. @param newest key epoch they seal with from now on */
  async replaceKeys(volume: NodeVolume, newest: KeyEpoch): Promise<void> {
    const { number } = volume.stored.record
    await this.#tellServing(volume, (opening) => {
      return { kind: 'keys', number, keys: { ...opening.keys, newest } }
    })
  }

  /** Every mount opens the volume anew: what its threads keep of it may be wrong after a repair. */
  async renew(volume: NodeVolume): Promise<void> {
    const { number } = volume.stored.record
    await this.#tellServing(volume, (opening, writes) => {
      return { kind: 'role', number, writes, force: true, opening }
    })
  }

  async #tellServing(
    volume: NodeVolume,
    message: (opening: VolumeOpening, writes: boolean) => Parameters<MountWorker['tell']>[0],
  ): Promise<void> {
    const { id } = volume.stored.record
    const ofNamespace = volume.attached === null
    const servers: { worker: Server; writes: boolean }[] = []
    for (const { kept, worker } of this.#mounts) {
      if (kept.volume === id) servers.push({ worker, writes: true })
      else if (kept.volume === null) servers.push({ worker, writes: ofNamespace })
    }
    const native = this.#world.native.mount
    if (native) servers.push({ worker: native, writes: ofNamespace })
    for (const { worker, writes } of servers) {
      if (worker.ended) continue
      const opening = this.#world.volumes.opening(volume)
      try {
        await worker.tell(message(opening, writes), { opening, writes })
      } catch (error) {
        // A mount that has ended meanwhile needs nothing.
        if (!worker.ended) throw error
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
    if (mount.kept.volume) {
      const volume = volumes.find(mount.kept.volume)
      await this.#takeBack(volume)
    }
    await keeper.ended(mount.slot.slot)
  }

  /** The namespace mount stops writing a volume: what it accepted is committed, from now on it reads what is. */
  async #giveUp(volume: NodeVolume, target: string, force: boolean): Promise<void> {
    volume.attached = target
    try {
      await this.#role(volume, false, force)
    } catch (error) {
      volume.attached = null
      throw error
    }
  }

  /** Before a volume moves to another node. @throws FsError EBUSY while a file of it is open for writing here */
  async stopWriting(volume: NodeVolume): Promise<void> {
    await this.#role(volume, false, false)
  }

  async #takeBack(volume: NodeVolume): Promise<void> {
    volume.attached = null
    await this.#role(volume, true, true)
  }

  async #role(volume: NodeVolume, writes: boolean, force: boolean): Promise<void> {
    const worker = this.#server
    if (!worker || !volume.shared) return
    const opening = this.#world.volumes.opening(volume)
    const { number } = volume.stored.record
    try {
      const role = { kind: 'role', number, writes, force, opening } as const
      await worker.tell(role, { opening, writes })
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
