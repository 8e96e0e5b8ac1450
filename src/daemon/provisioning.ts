import { join } from 'node:path'
import {
  background,
  type Clock,
  FsError,
  isBug,
  type Log,
  messageOf,
  type NodeId,
  type Random,
} from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import {
  type CheckFinding,
  checkOneView,
  FixedDrives,
  type HostDrives,
  isTagOf,
  type OneViewOptions,
  openOneView,
  type Provisioner,
  Provisioning,
  type ProvisioningStatus,
} from '../provision/index.ts'
import type { NodeIdentity } from '../volumes/index.ts'
import { readDmi } from './dmi.ts'
import {
  forgetConnection,
  passwordOf,
  readConnection,
  type StoredConnection,
  type SynergyConnection,
  storeConnection,
} from './synergy-connection.ts'
import { type Tried, tryConnection } from './try-connection.ts'

export interface NodeProvisioningWorld {
  readonly home: string
  readonly identity: NodeIdentity
  /** Id of the cluster; null in none. */
  readonly cluster: string | null
  /** Who is in it now; null in none. */
  readonly members?: () => readonly NodeId[] | null
  /** The directory with this machine's DMI files; as usual when not given. */
  readonly dmiDir?: string | undefined
  readonly host: () => HostDrives
  readonly disk: Disk
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

export type ConnectRequest = Pick<SynergyConnection, 'url' | 'user' | 'domain' | 'ca' | 'pin'>

/** What is open while one connection is in force. */
interface Life {
  readonly provisioner: Provisioner
  readonly provisioning: Provisioning
  readonly ending: AbortController
  /** What goes on in it: it has ended before another life opens the same files. */
  readonly running: Set<Promise<unknown>>
}

const TICK_MS = 2000

/**
 * The life of room provision in this daemon: opened when somebody asks for it, or at once where a frame is connected, and
 * then asked every few seconds. A home without a frame pays nothing for it.
 */
export class NodeProvisioning {
  readonly #world: NodeProvisioningWorld
  readonly #directory: string
  #opening: Promise<Life> | null = null
  /** While the files are nobody's: one life has ended, and the next may not begin yet. */
  #between: Promise<unknown> = Promise.resolve()
  #provisioning: Provisioning | null = null
  #isConnected: boolean
  #stopTicks: (() => void) | null = null
  #isClosed = false
  #trouble = ''

  constructor(world: NodeProvisioningWorld) {
    this.#world = world
    this.#directory = join(world.home, 'provision')
    this.#isConnected = world.disk.exists(join(this.#directory, 'connection.json'))
  }

  get isConnected(): boolean {
    return this.#isConnected
  }

  /** Why the frame's drives are not seen to, in words; '' when they are. */
  get trouble(): string {
    return this.#trouble
  }

  /** From memory; null when nobody has asked for it in this life of the daemon. */
  get known(): ProvisioningStatus | null {
    return this.#provisioning?.status() ?? null
  }

  /** Null when no frame is connected. @throws FsError when the file cannot be read */
  connection(): SynergyConnection | null {
    return readConnection(this.#directory, this.#world.disk)
  }

  /**
   * With a frame: go on with what was under way, and ask the policy, from now on. Drives that are left of one that was
   * forgotten are looked up, to be said in `weft status`.
   */
  start(): void {
    if (this.#isClosed) return
    const { disk, log } = this.#world
    if (this.#isConnected) {
      if (this.#stopTicks === null) this.#tick()
    } else if (disk.exists(join(this.#directory, 'intents.json'))) {
      this.#life().catch(background(log, 'provision.open'))
    }
  }

  /**
   * Work with it. The signal is raised when `signal` is, when another connection is made, or the node stops.
   * @throws FsError when the connection or the room's files cannot be read
   */
  async use<T>(
    work: (provisioning: Provisioning, signal: AbortSignal) => Promise<T> | T,
    signal?: AbortSignal,
  ): Promise<T> {
    const { provisioning, ending, running } = await this.#life()
    const ends = signal ? AbortSignal.any([signal, ending.signal]) : ending.signal
    const mine = Promise.resolve(work(provisioning, ends))
    running.add(mine)
    try {
      return await mine
    } catch (error) {
      // Who follows a job sees it go with the daemon, and asks again by itself.
      if (!ending.signal.aborted || signal || isBug(error)) throw error
      throw new FsError('EAGAIN', 'provision', {
        cause: error,
        retry: 'later',
        message: 'the daemon restarts, for a drive comes or goes, or another connection is made',
        next: 'ask again; what was begun is gone on with by itself',
      })
    } finally {
      running.delete(mine)
    }
  }

  /**
   * Log in and look for this server, and keep the connection if that went well. Drives that this node has must be known
   * behind it.
   * @param password only borrowed
   * @throws FsError what is wrong with it; EBUSY when this node has drives of another frame
   */
  async connect(request: ConnectRequest, password: Buffer): Promise<Tried> {
    const { disk, identity } = this.#world
    const before = this.#tags()
    const tried = await this.#try(request, before, password)
    return await this.#withoutLife(async () => {
      const tags = this.#tags()
      // What was taken while the new connection was tried has to be known behind it too.
      const isMore = tags.some((tag) => !before.includes(tag))
      const last = isMore ? await this.#try(request, tags, password) : tried
      const connection = { ...request, cluster: this.#clusterOf(tags) }
      storeConnection(this.#directory, disk, connection, password, identity.keys.box.publicKey)
      this.#isConnected = true
      return last
    })
  }

  async #try(request: ConnectRequest, tags: readonly string[], password: Buffer): Promise<Tried> {
    const connection = { ...request, cluster: this.#clusterOf(tags) }
    const options = this.#optionsOf(connection, () => password)
    return await tryConnection(options, tags, this.#world.clock)
  }

  /** Of the drives that this node has, or had when a connection was forgotten. */
  #tags(): readonly string[] {
    const { allocations } = this.#open(new FixedDrives()).status()
    return allocations.map(({ tag }) => tag)
  }

  /**
   * With what its tags begin: as before, and as those of the drives that it has do, though it may have joined a cluster since
   * they were taken and the connection was forgotten.
   */
  #clusterOf(tags: readonly string[]): string {
    const { cluster, identity } = this.#world
    const usual = this.#storedOrNull()?.cluster ?? cluster ?? identity.id
    const owners = [usual, cluster ?? usual, identity.id].map((one) => ({
      cluster: one,
      node: identity.id,
    }))
    const known = owners.find((owner) => tags.every((tag) => isTagOf(owner, tag)))
    return known?.cluster ?? usual
  }

  /**
   * Forget the connection and log out. What this node has of the frame stays before it, in use.
   * @returns names of the drives that are left so
   * @throws FsError ENODEV without a connection · EBUSY while there are such, unless `force`
   */
  async logout(force: boolean): Promise<readonly string[]> {
    mustBeConnected(this)
    if (!force) mustHaveNone(this.#names())
    return await this.#withoutLife(async () => {
      // One may have been taken while the life before ended.
      const names = this.#names()
      if (!force) mustHaveNone(names)
      forgetConnection(this.#directory, this.#world.disk)
      this.#isConnected = false
      return names
    })
  }

  #names(): readonly string[] {
    const { allocations } = this.#open(new FixedDrives()).status()
    return allocations.map(({ name }) => name)
  }

  /** Reads only, in a session of its own. @throws FsError ENODEV without a connection; what logging in throws */
  async check(signal: AbortSignal): Promise<readonly CheckFinding[]> {
    const stored = mustBeConnected(this) && readConnection(this.#directory, this.#world.disk)
    if (!stored) return []
    return await checkOneView({ ...this.#optionsOfStored(stored), awayMs: 0 }, signal)
  }

  /** Log out. What is under way ends, and is gone on with by the next life of the daemon. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#end()
  }

  /** The same for a process that ends at once, perhaps in the middle of a step which waits for that. */
  async leave(): Promise<void> {
    this.#isClosed = true
    const life = await this.#stopLife()
    await life?.provisioner.close()
  }

  #tick(): void {
    this.#stopTicks = this.#world.clock.after(TICK_MS, () => this.#tick())
    this.#tickOnce().catch(background(this.#world.log, 'provision.tick'))
  }

  /** Tried again at the next one: what is wrong is said once, and kept for `weft status`. */
  async #tickOnce(): Promise<void> {
    try {
      await this.use((provisioning, signal) => provisioning.tick({ signal, progress: () => {} }))
      this.#trouble = ''
    } catch (error) {
      if (isBug(error)) throw error
      if (this.#stopTicks === null) return
      const why = messageOf(error)
      if (why !== this.#trouble) this.#world.log.warn({ op: 'provision.tick', why }, 'not done')
      this.#trouble = why
    }
  }

  async #life(): Promise<Life> {
    for (let seen: unknown = null; seen !== this.#between; ) {
      seen = this.#between
      await this.#between
    }
    if (this.#isClosed) throw new FsError('ECANCELED', 'provision', { message: 'the node stops' })
    if (this.#opening === null) {
      const opening = this.#begin()
      this.#opening = opening
      // What cannot be read now may be put right by the next time.
      opening.catch(() => {
        if (this.#opening === opening) this.#opening = null
      })
    }
    return await this.#opening
  }

  async #begin(): Promise<Life> {
    const stored = readConnection(this.#directory, this.#world.disk)
    const provisioner = stored
      ? await openOneView(this.#optionsOfStored(stored))
      : new FixedDrives()
    const provisioning = this.#open(provisioner)
    this.#provisioning = provisioning
    return { provisioner, provisioning, ending: new AbortController(), running: new Set() }
  }

  /** @throws FsError EUCLEAN when a file of the room is damaged */
  #open(provisioner: Provisioner): Provisioning {
    const { disk, clock, random, log, host, identity, members } = this.#world
    const directory = this.#directory
    disk.mkdir(directory)
    const cluster = this.#storedOrNull()?.cluster ?? this.#world.cluster ?? identity.id
    const owner = { cluster, node: identity.id }
    const world = { provisioner, host: host(), disk, directory, owner, members, clock, random, log }
    try {
      return new Provisioning(world)
    } catch (error) {
      if (error instanceof FsError || isBug(error)) throw error
      throw new FsError('EUCLEAN', 'provision', {
        cause: error,
        message: messageOf(error),
        next: 'put the file aside; drives in use are not touched, and `weft synergy reconcile` finds them again',
      })
    }
  }

  /** Work on the files between two lives; whoever asks meanwhile waits for the next one. */
  async #withoutLife<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#between.then(async () => {
      await this.#end()
      return await work()
    })
    this.#between = mine.catch(() => {})
    try {
      return await mine
    } finally {
      this.start()
    }
  }

  async #end(): Promise<void> {
    const life = await this.#stopLife()
    if (life === null) return
    await life.provisioner.close()
    await Promise.allSettled(life.running)
  }

  async #stopLife(): Promise<Life | null> {
    this.#stopTicks?.()
    this.#stopTicks = null
    this.#trouble = ''
    const life = (await this.#opening?.catch(() => null)) ?? null
    this.#opening = null
    this.#provisioning = null
    life?.ending.abort()
    return life
  }

  /** A file that cannot be read keeps nobody from connecting anew. */
  #storedOrNull(): StoredConnection | null {
    try {
      return readConnection(this.#directory, this.#world.disk)
    } catch (error) {
      if (isBug(error)) throw error
      return null
    }
  }

  /** The seal is opened at each login, and what was in it not kept. */
  #optionsOfStored(stored: StoredConnection): OneViewOptions {
    const { box } = this.#world.identity.keys
    return this.#optionsOf(stored, () => passwordOf(stored, box))
  }

  #optionsOf(connection: SynergyConnection, password: () => Buffer): OneViewOptions {
    const { clock, log, dmiDir } = this.#world
    const { url, user, domain, ca, pin, cluster } = connection
    return {
      ...{ url, user, password, clock, log, dmi: readDmi(dmiDir) },
      ...(domain !== null && { domain }),
      ...(ca !== null && { ca }),
      ...(pin !== null && { pin }),
      tagPrefix: `weft-${cluster.slice(0, 12)}-`,
    }
  }
}

/** @throws FsError EBUSY with what is left */
function mustHaveNone(names: readonly string[]): void {
  if (names.length === 0) return
  throw new FsError('EBUSY', 'synergy.logout', {
    drives: names.length,
    message: `this node has ${names.length} drives of the frame: ${names.join('; ')}`,
    next: '`weft synergy release ID` gives each back; --force forgets the connection all the same: they stay in use, and nobody sees to them',
  })
}

/** @throws FsError ENODEV with what to do */
export function mustBeConnected({ isConnected }: { readonly isConnected: boolean }): true {
  if (isConnected) return true
  throw new FsError('ENODEV', 'synergy', {
    message: 'no frame is connected to this node',
    next: 'weft synergy connect https://COMPOSER --user USER --password-file FILE --ca FILE',
  })
}
