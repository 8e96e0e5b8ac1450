import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ApiServer, type JobInfo, type Problem, startApi } from '../api/index.ts'
import {
  background,
  type ChunkId,
  type Clock,
  codeOf,
  type ErrnoCode,
  FsError,
  isBug,
  isoTime,
  type Log,
  limits,
  messageOf,
  type NodeId,
  sleep,
  suspendProof,
  systemClock,
  systemRandom,
  type VolumeId,
} from '../base/index.ts'
import { RawChunks } from '../chunks/index.ts'
import { type Coordinator, openEmbeddedCoordinator } from '../coordinator/index.ts'
import type { OpenedKeys } from '../crypto/index.ts'
import { systemChunkFiles, systemDisk } from '../disk/index.ts'
import { type Drive, takesData } from '../drives/index.ts'
import {
  answerBare,
  ensureStagingDir,
  type FromWorker,
  Invalidations,
  type KeeperClient,
  runDirOf,
} from '../fuse/index.ts'
import type { TokenBucket } from '../replication/index.ts'
import type { Mending } from '../store/index.ts'
import {
  KeysService,
  type NodeIdentity,
  openNodeIdentity,
  type VolumeRecord,
  VolumeRegistry,
} from '../volumes/index.ts'
import { AccessHost } from './access-host.ts'
import { ClassMoves } from './class-moves.ts'
import { KeptEntries } from './cluster-kept.ts'
import { ClusterMember } from './cluster-member.ts'
import { Recovery } from './cluster-recovery.ts'
import { ClusterVolumes } from './cluster-volumes.ts'
import { nodeControl } from './control.ts'
import { copiesOn } from './copies-found.ts'
import { CopySyncs } from './copy-syncs.ts'
import { DriveDrains } from './drain-drives.ts'
import { noteFailure, noteGivenUp, readDriveList } from './drive-list.ts'
import { DriveUse } from './drive-use.ts'
import { DriveWatch } from './drive-watch.ts'
import { EngineHost } from './engine-host.ts'
import { FarVolumes } from './far-volumes.ts'
import { commitSeconds, figures } from './figures.ts'
import { runFsck } from './fsck-job.ts'
import { hostDrives } from './host-drives.ts'
import { Jobs } from './jobs.ts'
import { labelKeys } from './label-keys.ts'
import { LiveDrives } from './live-drives.ts'
import { Mounts } from './mounts.ts'
import { moveJournals } from './move-journals.ts'
import { NativeHost } from './native-host.ts'
import {
  clearLeaving,
  type DriveOwner,
  type MissingDrive,
  type OpenedDrives,
  openDrives,
  openListed,
} from './open-drives.ts'
import type { ReleaseFor } from './owner-life.ts'
import { probeTargets } from './probe-targets.ts'
import { Probes } from './probes.ts'
import { NodeProvisioning } from './provisioning.ts'
import { KeptReasons } from './reasons.ts'
import { NodeRepairs } from './repair-node.ts'
import { ReplicatedVolumes } from './replicated-volumes.ts'
import { beginReseal, resealBegun, runReseal } from './reseal-job.ts'
import { RootRequests } from './root-requests.ts'
import { type NodeVolume, Volumes } from './volumes.ts'

export interface NodeOptions {
  home: string
  program: string
  version: string
  log: Log
  keeper: KeeperClient
  /** End the process at once, as the keeper expects it. */
  leave(): void
  /** The daemon cannot go on: a thread died of a bug. */
  onDeath(error: unknown): void
}

/** How often chunks that a crash left unnamed are looked for; the young ones rest a day. */
const SWEEP_MS = 6 * 3600 * 1000
/** What LMDB brings about on a damaged file (lmdb-check.ts), rather than an error. */
const NATIVE_DEATHS: readonly string[] = ['SIGSEGV', 'SIGBUS', 'SIGABRT', 'SIGILL', 'SIGFPE']
/** A reader waits so long for a chunk that another copy has. */
const MENDED_MS_MAX = 900
/** Staged bytes that all volumes together may hold, before the tmpfs itself is full. */
const STAGING_VOLUMES = 16
/** Between the keeper's yes to a restart and the end of this life, at most: the keeper kills after 5 s. */
const LEAVE_MS_MAX = 3000

/** One node: every room opened, wired and closed in order. */
export class Node {
  readonly home: string
  readonly program: string
  readonly version: string
  readonly startedAt: string
  readonly identity: NodeIdentity
  readonly driveOwner: DriveOwner
  /** One array, as they are now. */
  readonly drives: readonly Drive[]
  readonly #live: LiveDrives
  readonly chunks: RawChunks
  readonly drains: DriveDrains
  readonly #driveWatch: DriveWatch
  readonly classMoves: ClassMoves
  readonly keeper: KeeperClient
  readonly engine: EngineHost
  readonly volumes: Volumes
  readonly mounts: Mounts
  readonly keys: KeysService
  readonly jobs: Jobs
  readonly driveUse: DriveUse
  readonly probes: Probes
  readonly provisioning: NodeProvisioning
  /** Null when this home is in no cluster. */
  readonly cluster: ClusterMember | null
  readonly clock: Clock
  readonly log: Log
  /** Embedded in this home, or the cluster's. */
  readonly coordinator: Coordinator
  readonly registry: VolumeRegistry
  readonly startProblems: Problem[] = []
  /** Chunks that failed a read, by volume. */
  readonly damage = new Map<string, { chunk: string; what: string }[]>()
  /** Why calls failed. */
  readonly reasons: KeptReasons
  readonly #clusterVolumes: ClusterVolumes | null
  readonly #invalidations = new Invalidations()
  readonly #root: RootRequests
  readonly #leave: () => void
  /** What this node keeps of the cluster's coordinator; null in no cluster. */
  readonly kept: KeptEntries | null
  /** Null in no cluster. */
  recovery: Recovery | null = null
  readonly #access: AccessHost
  /** Null when this home is in no cluster. */
  readonly #farVolumes: FarVolumes | null
  #replicated: ReplicatedVolumes | null = null
  #repairs: NodeRepairs | null = null
  readonly #commits = commitSeconds()
  readonly #syncs: CopySyncs
  #api: ApiServer | null = null

  private constructor(
    options: NodeOptions,
    parts: {
      identity: NodeIdentity
      driveOwner: DriveOwner
      opened: OpenedDrives
      cluster: ClusterMember | null
      coordinator: Coordinator
      staging: string
      clock: Clock
      checkViews: boolean
    },
  ) {
    const { home, log, keeper } = options
    const { identity, cluster, coordinator, clock } = parts
    this.home = home
    this.program = options.program
    this.version = options.version
    this.log = log
    this.clock = clock
    this.identity = identity
    this.cluster = cluster
    this.coordinator = coordinator
    this.#leave = options.leave
    this.startedAt = isoTime(clock)
    this.keeper = keeper
    this.driveOwner = parts.driveOwner
    const { kept: keptJournals } = moveJournals(parts.opened.drives, systemDisk, log, {
      add: ({ dir }, volume) => noteGivenUp(home, dir, volume, true),
      drop: ({ dir }, volume) => noteGivenUp(home, dir, volume, false),
    })
    this.#live = new LiveDrives(parts.opened, {
      engineLooks: () => this.engine.call('drives', {}),
      settle: () => this.chunks.settle(),
      letGo: () => this.mounts.letGoOfDrives(),
      clock,
      log,
    })
    this.drives = this.#live.here
    this.chunks = new RawChunks(
      // Whoever goes over them goes on while one is taken out.
      () => [...this.drives],
      systemChunkFiles,
      (volume) => this.volumes.byId(volume)?.stored.record.spec.cos ?? null,
    )
    this.reasons = new KeptReasons(clock)
    this.#syncs = new CopySyncs({
      owned: (number) => this.#replicated?.ownedOf(number) ?? null,
      synced: (volume, ms) => this.#synced(volume, ms),
      kept: this.reasons,
      clock,
    })
    this.engine = new EngineHost(
      options.onDeath,
      (reason) => this.reasons.note(reason),
      ({ drive, code, message }) => {
        const error = new FsError(code as ErrnoCode, 'drive', { drive, message })
        this.drives.find(({ id, dir }) => id === drive || dir === drive)?.fail(error)
      },
    )
    this.jobs = new Jobs(() => isoTime(clock))
    this.driveUse = new DriveUse(clock)
    this.registry = new VolumeRegistry(coordinator, systemRandom, clock)
    const { registry } = this
    this.keys = new KeysService(registry, this.identity, clock)
    const drains = {
      node: identity.id,
      drives: this.drives,
      chunks: this.chunks,
      registry,
      heard: () => this.#live.heard(),
      restart: () => this.restart(null),
      clock,
      log,
    }
    this.classMoves = new ClassMoves({
      home,
      node: identity.id,
      drives: this.drives,
      chunks: this.chunks,
      volumes: () => [...this.volumes.all()].map(({ stored }) => stored.record),
      pace: (bytes) => this.drains.pace(bytes),
      restart: () => this.restart(null),
      clock,
      log,
    })
    this.#driveWatch = new DriveWatch({
      owner: this.driveOwner,
      drives: this.drives,
      missing: this.missingDrives,
      onFail: this.onDriveFail,
      comes: (drive) => this.comes(drive),
      isAway: (drive, listed) => this.#live.isAway(drive, listed),
      restart: () => this.restart(null),
      clock,
      log,
    })
    this.drains = new DriveDrains({ ...drains, written: () => this.#written() }, keptJournals)
    this.volumes = new Volumes({
      home,
      stagingDirectory: parts.staging,
      boot: bootId(),
      identity: this.identity,
      registry,
      keys: this.keys,
      engine: this.engine,
      drives: this.drives,
      toldDrives: this.#live.told.buffer,
      clock,
      log,
      checkViews: parts.checkViews,
      random: systemRandom,
      members: () => {
        const members = cluster?.membership.members() ?? []
        if (members.length === 0) return [{ id: identity.id, boxKey: identity.keys.box.publicKey }]
        return members.map(({ node, boxKey }) => ({ id: node, boxKey: Buffer.from(boxKey, 'hex') }))
      },
      replicated: () => this.#replicated,
      stopWriting: (volume, goesOn) => this.mounts.stopWriting(volume, goesOn),
      owned: (volume) => this.#farVolumes?.owned(volume) ?? null,
      forget: (number, forgetting) => this.mounts.forget(number, forgetting),
      left: (volume, line, opens) => this.#farVolumes?.client.left(volume, line, opens),
      lost: (volume, before) => {
        this.mounts.abandon(volume)
        this.#farVolumes?.client.lost(volume, before)
      },
      nameOf: cluster && ((node) => cluster.nameOf(node)),
      opened: (volume) => this.mounts.opened(volume),
      announce: (change) => this.mounts.announce(change),
    })
    const self = { id: identity.id, keys: identity.keys }
    this.kept =
      cluster &&
      new KeptEntries({
        home,
        disk: systemDisk,
        coordinator,
        cluster: cluster.record.id,
        self,
        generation: () => cluster.record.generation,
        log,
      })
    const { kept } = this
    this.#clusterVolumes =
      kept &&
      new ClusterVolumes({
        registry,
        kept,
        clock,
        log,
        adopt: (list) => this.volumes.adopt(list),
      })
    this.#root = new RootRequests({
      node: identity.id,
      coordinator,
      volumes: this.volumes,
      lookAtVolumes: (ms) => this.lookAtVolumes(ms),
      again: (frame, fd) => this.mounts.again(frame, fd),
      clock,
      log,
    })
    const native = new NativeHost({
      home,
      engine: this.engine,
      volumes: this.volumes,
      clock,
      random: systemRandom,
      log,
      now: () => isoTime(clock),
      onMessage: (message) => this.#heard(message, -1, 0),
    })
    this.#access = new AccessHost({
      engine: this.engine,
      random: systemRandom,
      damaged: (message) => this.#heard(message, -1, 0),
      reason: (reason) => this.reasons.note(reason),
      sync: (number, seq) => this.#syncs.sync(number, seq),
      forget: async (number, session, forgetting) => {
        await this.#farVolumes?.forget(number, session, forgetting)
      },
      log,
      onDeath: options.onDeath,
    })
    this.mounts = new Mounts({
      keeper,
      native,
      access: this.#access,
      engine: this.engine,
      volumes: this.volumes,
      random: systemRandom,
      clock,
      log,
      // In a cluster other kernels see the same files: their owner has the locks.
      ownLocks: cluster !== null,
      mayLose: cluster !== null,
      now: () => isoTime(clock),
      onMessage: (message, fd, mount) => this.#heard(message, fd, mount),
      kernelEnded: () => this.#farVolumes?.client.kernelEnded(),
      onDeath: options.onDeath,
    })
    this.#farVolumes =
      cluster &&
      new FarVolumes({
        node: identity.id,
        boot: bootId(),
        staging: parts.staging,
        cluster,
        volumes: this.volumes,
        mounts: this.mounts,
        access: this.#access,
        reasons: this.reasons,
        repairs: () => this.#repairs,
        random: systemRandom,
        clock,
        log,
      })
    const targets = {
      volumes: this.volumes,
      engine: this.engine,
      client: this.#farVolumes?.client ?? null,
      owner: ({ stored }: NodeVolume) => this.#replicated?.owner(stored.record.id) ?? null,
      nameOf: (node: NodeId) => cluster?.nameOf(node) ?? node,
      random: systemRandom,
      leaseClock: suspendProof(clock),
    }
    this.probes = new Probes({ look: () => probeTargets(targets), clock, log })
    this.provisioning = new NodeProvisioning({
      home,
      identity,
      cluster: cluster?.record.id ?? null,
      members: () => cluster?.membership.members().map(({ node }) => node) ?? null,
      dmiDir: process.env.WEFT_DMI,
      host: () => hostDrives(this),
      disk: systemDisk,
      clock,
      random: systemRandom,
      log,
    })
  }

  static async start(options: NodeOptions): Promise<Node> {
    const { home, keeper, log } = options
    const state = await keeper.state
    const clock = systemClock()
    const staging = await ensureStagingDir(runDirOf(home), STAGING_VOLUMES * limits.stagingBytesMax)
    const identity = openNodeIdentity(home, systemDisk, isoTime(clock))
    const self = { id: identity.id, keys: identity.keys }
    const cluster = await ClusterMember.open({ home, self, clock, random: systemRandom, log })
    const coordinator =
      cluster?.coordinator ?? (await openEmbeddedCoordinator(join(home, 'coordinator')))
    const driveOwner = {
      home,
      node: identity.id,
      cluster: cluster?.record.id ?? null,
      keys: labelKeys(identity),
      disks: process.env.WEFT_BY_ID ? { byIdDir: process.env.WEFT_BY_ID } : {},
    }
    // Of one that fails before there is a node, its state tells.
    let driveFails = (_drive: Drive, _error: unknown) => {}
    const opened = await openDrives(driveOwner, log, (drive, error) => driveFails(drive, error))
    const node = new Node(options, {
      identity,
      driveOwner,
      opened,
      cluster,
      coordinator,
      staging: staging.path,
      clock,
      checkViews: NATIVE_DEATHS.includes(state.endedBy ?? ''),
    })
    driveFails = node.onDriveFail
    if (staging.warning) {
      node.startProblems.push({
        severity: 'warning',
        what: 'staged data may reach a swap device',
        why: staging.warning,
        next: 'swapoff -a, or a kernel of 6.4 or later',
      })
    }
    if (cluster) {
      const { drives, chunks, engine, registry } = node
      const { keys, volumes } = node
      const release = (id: VolumeId, wantedFor: ReleaseFor) => node.volumes.release(id, wantedFor)
      const common = { node: identity.id, cluster, engine, registry, clock, log }
      const random = systemRandom
      const repairs = new NodeRepairs({ ...common, coordinator, keys, volumes, random })
      const pace: TokenBucket['take'] = (bytes, isAwaited) => repairs.bucket.take(bytes, isAwaited)
      const draining = async () => {
        await repairs.wishes.refresh()
        return repairs.wishes.draining
      }
      const synced = (volume: string, ms: number) => node.#synced(volume, ms)
      const awayMs = () => repairs.wishes.settings.graceMs
      const away = () => node.missingDrives.map(({ id }) => id)
      const world = { ...common, drives, chunks, release, pace, synced, draining, awayMs, away }
      const replicated = await ReplicatedVolumes.open(world)
      node.#replicated = replicated
      node.#repairs = repairs
      repairs.start(replicated)
      node.recovery =
        node.kept &&
        new Recovery({
          node: identity.id,
          cluster,
          kept: node.kept,
          copies: () => copiesOn(drives, replicated.copies.list()),
          restart: () => node.restart(null),
          wake: () => node.#clusterVolumes?.wake(),
          clock,
          log,
        })
    }
    const known = await node.#openVolumes()
    await node.mounts.restore(state)
    if (known) await node.#root.forgetAllBut(node.mounts.numbers())
    node.#api = await startApi({
      home,
      control: nodeControl(node),
      registry: figures({
        volumes: node.volumes,
        mounts: node.mounts,
        probes: node.probes,
        cluster,
        repairs: node.#repairs,
        commits: node.#commits,
      }),
      log,
      version: options.version,
    })
    await keeper.ready()
    node.recovery?.resume().catch(background(log, 'coordinator.recover'))
    node.#clusterVolumes?.follow()
    cluster?.onReached(() => node.#clusterVolumes?.wake())
    cluster?.onMoved(() => {
      node.restart(null).catch(background(log, 'cluster.moved'))
    })
    node.#sweep()
    node.probes.start()
    node.provisioning.start()
    node.drains.run().catch(background(log, 'drive.drain'))
    node.classMoves.run().catch(background(log, 'class.move'))
    node.#driveWatch.run().catch(background(log, 'drive.watch'))
    log.info({ op: 'start', generation: state.generation, afterCrash: state.afterCrash }, 'ready')
    return node
  }

  /** Each thread has its own picture of a drive. */
  readonly onDriveFail = ({ id, dir, kind, state }: Drive, error: unknown): void => {
    const why = messageOf(error)
    this.log.error({ op: 'drive', drive: id, dir, state, error: why }, 'a drive fails')
    // A directory that is not mounted any more has not failed.
    if (kind === 'block' || state !== 'gone') this.#noteFailure(dir, why)
    this.#live.tell()
  }

  /** Drives of this node that are not here now, and may come back. */
  get missingDrives(): readonly MissingDrive[] {
    return this.#live.missing
  }

  /** Take a drive into use that is listed, and open in this thread. @returns false when only the next life of the daemon can */
  async comes(drive: Drive): Promise<boolean> {
    if (!(await this.#live.comes(drive))) return false
    this.#driveWatch.looked()
    this.classMoves.again()
    return true
  }

  /** As LiveDrives.drains; what is on it moves from now on, or stays where it is. */
  async drain(drive: Drive, isDraining: boolean): Promise<void> {
    await this.#live.drains(drive, isDraining)
    this.drains.begin(drive)
  }

  /**
   * Clear a drive that is empty, and not listed as one of this node any more.
   * @returns false when only the next life of the daemon can: it fails, or somebody has something open on its disk
   * @throws FsError EBUSY when something came to it since it was looked at: it is a drive again
   */
  async clear(drive: Drive): Promise<boolean> {
    if (drive.state !== 'ok') return false
    await this.#live.goes(drive)
    const { driveOwner, log, home } = this
    const back = await clearLeaving(driveOwner, this.drives.filter(takesData), log)
    for (const listed of back) {
      const again = await openListed(listed, driveOwner, { onFail: this.onDriveFail })
      if (!(await this.comes(again))) return false
    }
    if (back.some(({ dir }) => dir === drive.dir)) {
      throw new FsError('EBUSY', 'drive.remove', {
        drive: drive.id,
        retry: 'later',
        message: `something came to drive ${drive.dir} after it had been found empty: it is a drive of this node again`,
        next: `weft drive drain ${drive.id} says when it is empty; then remove it`,
      })
    }
    return !readDriveList(home)?.leaving.some(({ dir }) => dir === drive.dir)
  }

  /** Later lives are to know it too. The home may be on the drive that fails. */
  #noteFailure(dir: string, why: string): void {
    try {
      noteFailure(this.home, dir, { why, at: isoTime(this.clock) })
    } catch (error) {
      if (isBug(error)) throw error
      this.log.warn(
        { op: 'drive', dir, error: messageOf(error) },
        'its failure is not written down',
      )
    }
  }

  /** Records of this node's volumes, and of the copies that it holds of others'. */
  #written(): number {
    let records = 0
    for (const { shared } of this.volumes.all()) records += shared?.seq ?? 0
    return records + (this.#replicated?.copies.records ?? 0)
  }

  /** @throws FsError ENODEV when this home is in no cluster */
  replicated(): ReplicatedVolumes {
    if (this.#replicated) return this.#replicated
    throw new FsError('ENODEV', 'volume', { message: 'this node is in no cluster' })
  }

  /** Null when this home is in no cluster. */
  get repairs(): NodeRepairs | null {
    return this.#repairs
  }

  /** @returns whether the coordinator answered; else volumes are shown as last known, and opened when it does */
  async #openVolumes(): Promise<boolean> {
    const list = await (this.#clusterVolumes?.first() ?? this.registry.list())
    if (list) await this.volumes.openAll(list)
    else {
      const why = this.cluster?.coordinatorState().why || 'the coordinator has not answered yet'
      this.volumes.showAll(this.#clusterVolumes?.remembered() ?? [], why)
    }
    return list !== null
  }

  /** What other nodes made or took away a moment ago is known when this returns, if the coordinator answers soon. */
  async lookAtVolumes(ms?: number): Promise<void> {
    await this.#clusterVolumes?.look(ms)
  }

  /** Everything settled and closed; the mounts have ended before. @returns whether all volumes settled */
  async stop(): Promise<boolean> {
    await this.#api?.close()
    this.probes.close()
    this.drains.close()
    this.#driveWatch.close()
    this.classMoves.close()
    await this.provisioning.close()
    await this.mounts.allEnded()
    this.#farVolumes?.close()
    await this.mounts.unshareAll()
    await this.#clusterVolumes?.close()
    this.#repairs?.close()
    const settled = await this.volumes.closeAll()
    await this.#replicated?.close()
    await this.#access.end()
    await this.engine.end()
    await (this.cluster ?? this.coordinator).close()
    return settled
  }

  /**
   * Another life of the daemon under the same mounts, of another build when `program` is given. A volume that cannot settle, as
   * on a full drive, keeps nobody from it: what is staged is on tmpfs, and the next life goes on with it as after a kill -9.
   */
  async restart(program: string | null): Promise<void> {
    for (const { stored, shared } of this.volumes.all()) {
      if (shared) await this.#settle(stored.record)
    }
    await this.keeper.restart(program)
    // Every answer goes out first, that of whoever asked among them; nobody waits for it who would not be answered.
    this.clock.after(LEAVE_MS_MAX, this.#leave)
    // The appliance keeps few sessions, and one that nobody ends for a day.
    const loggedOut = this.provisioning.leave()
    this.#api
      ?.retire()
      .then(() => loggedOut)
      .then(this.#leave, background(this.log, 'restart'))
  }

  async #settle({ number, name }: Pick<VolumeRecord, 'number' | 'name'>): Promise<void> {
    try {
      await this.engine.call('settle', { number })
    } catch (error) {
      if (isBug(error)) throw error
      const why = messageOf(error)
      this.log.warn(
        { op: 'restart', volume: name, why },
        'not settled: the next life goes on with it',
      )
    }
  }

  /** A new key epoch at once; with `reseal` also a job that rewrites what older ones sealed, or goes on with one. */
  async rotate(
    volume: NodeVolume,
    reseal: boolean,
  ): Promise<{ newestEpoch: number; job: JobInfo | null }> {
    this.volumes.usable(volume)
    const { id, name } = volume.stored.record
    const running = this.jobs.running('reseal', name)
    if (running) {
      if (reseal) return { newestEpoch: volume.stored.record.keys.newest, job: running }
      throw new FsError('EBUSY', 'rotate', {
        message: `the old data of volume ${name} is being rewritten`,
        next: 'wait for its end, or cancel it: it goes on later',
      })
    }
    const goesOn = reseal && resealBegun(this, volume) === volume.stored.record.keys.newest
    if (!goesOn) {
      const holder = volume.opened
        ? ({ kind: 'opened', opened: volume.opened } as const)
        : ({ kind: 'node' } as const)
      const { stored, opened } = await this.keys.rotate(id, holder)
      volume.stored = stored
      await this.spreadKeys(volume, opened)
    }
    const newestEpoch = volume.stored.record.keys.newest
    if (!reseal) return { newestEpoch, job: null }
    beginReseal(this, volume)
    const job = this.jobs.start(
      'reseal',
      'bytes',
      (handle) => runReseal(this, volume, handle),
      name,
    )
    return { newestEpoch, job }
  }

  /**
   * Keys of a volume for every thread that has it open. All can open what the newest key sealed before anybody seals
   * with it.
   */
  async spreadKeys(volume: NodeVolume, opened: OpenedKeys): Promise<void> {
    const { newest } = opened.keys
    const before = volume.opened?.keys.newest ?? newest
    for (const sealing of before === newest ? [newest] : [before, newest]) {
      await this.volumes.replaceKeys(volume, opened, sealing)
      await this.mounts.replaceKeys(volume, sealing)
    }
  }

  /** @throws FsError EINVAL, ENOENT, ENOKEY, EBUSY */
  fsck(nameOrId: string | undefined, mending: Mending): JobInfo {
    const { repair, acceptLoss } = mending
    if (acceptLoss && (!repair || nameOrId === undefined)) {
      throw new FsError('EINVAL', 'fsck', {
        message: 'to accept a loss, one volume is named, and --repair asked for with it',
        next: 'weft fsck VOLUME says what would be lost; then: weft fsck VOLUME --repair --accept-loss',
      })
    }
    const one = nameOrId === undefined ? null : this.volumes.find(nameOrId)
    if (one?.closed?.state === 'locked') this.volumes.usable(one)
    if (acceptLoss && one && one.stored.record.copies.length > 1) {
      throw new FsError('ENOTSUP', 'fsck', {
        message: `volume ${one.stored.record.name} has several copies: a loss in one of them is not accepted, it is mended from another`,
        next: 'weft volume inspect shows its copies; detach it here, and attach it on the node of a good one',
      })
    }
    const ours = this.volumes.all().filter((volume) => !this.volumes.isElsewhere(volume))
    const volumes = one ? [one] : ours
    // A check that passes one over in silence would say that all is whole.
    for (const volume of volumes) this.volumes.mustBeHere(volume, 'fsck')
    const busy = this.jobs.running('fsck', null)
    if (busy && repair) {
      throw new FsError('EBUSY', 'fsck', {
        message: `a check is running (job ${busy.id})`,
        next: 'wait for its end, or cancel it',
      })
    }
    const subject = one?.stored.record.name ?? null
    return this.jobs.start('fsck', 'bytes', (job) => runFsck(this, volumes, mending, job), subject)
  }

  /** Chunks that nothing names go, at the start and then a few times a day. */
  #sweep(): void {
    const log = background(this.log, 'sweep')
    // Closing a volume calls it off; the next one finds the same.
    this.engine.call('sweep', {}).catch((error) => codeOf(error) === 'ECANCELED' || log(error))
    this.#replicated?.sweep().catch(log)
    this.clock.after(SWEEP_MS, () => this.#sweep())
  }

  #synced(volume: string, ms: number): void {
    this.#commits.observe({ volume }, ms / 1000)
  }

  /** @param waits a READ that is served again then, and no later than a person waits who wants to end its program */
  async #mendFor(
    volume: VolumeId,
    chunk: ChunkId,
    waits: { frame: Uint8Array; fd: number; mount: number } | undefined,
  ): Promise<void> {
    const mending = this.#mend(volume, chunk)
    if (waits) {
      await Promise.race([mending, sleep(this.clock, MENDED_MS_MAX)])
      await this.mounts.again(waits.frame, waits.fd, waits.mount)
    }
    await mending
  }

  /** Another copy may have it: the next read finds it whole then. */
  async #mend(volume: VolumeId, chunk: ChunkId): Promise<void> {
    try {
      if (!(await this.#repairs?.mend(volume, chunk))) return
    } catch (error) {
      if (isBug(error)) throw error
      this.log.warn({ op: 'chunk.mend', volume, chunk, error: messageOf(error) }, 'not mended')
      return
    }
    this.log.info({ op: 'chunk.mend', volume, chunk }, 'mended from another copy')
    const left = this.damage.get(volume)?.filter((one) => one.chunk !== chunk) ?? []
    this.damage.set(volume, left)
  }

  /** Who has got a lock is answered when its kernel has dropped the pages of before. */
  async #locked(message: Extract<FromWorker, { kind: 'locked' }>, mount: number): Promise<void> {
    const { fd, number, ino, token, uniqueLo, uniqueHi } = message
    await this.#invalidations.forget(fd, number, ino, 0, 0)
    answerBare(fd, 0, uniqueLo, uniqueHi)
    this.mounts.dropped(mount, token)
  }

  #heard(
    message: Exclude<FromWorker, { kind: 'done' | 'negotiated' | 'ended' }>,
    fd: number,
    mount: number,
  ): void {
    switch (message.kind) {
      case 'damaged': {
        const list = this.damage.get(message.volume) ?? []
        if (!list.some(({ chunk }) => chunk === message.chunk)) list.push(message)
        this.damage.set(message.volume, list)
        const { volume, chunk, what, waits } = message
        this.log.error({ op: 'read', volume, chunk, what }, 'a chunk is damaged')
        this.#mendFor(volume as VolumeId, chunk as ChunkId, waits && { ...waits, mount }).catch(
          background(this.log, 'chunk.mend'),
        )
        return
      }
      case 'reason':
        this.reasons.note(message.reason)
        return
      case 'refused':
        this.#invalidations
          .forget(fd, message.number, message.ino, message.from, message.length)
          .catch(background(this.log, 'mount.invalidate'))
        return
      case 'locked':
        this.#locked(message, mount).catch(background(this.log, 'mount.locked'))
        return
      case 'far':
        this.#farVolumes?.client.request(message)
        return
      case 'late':
        this.mounts
          .forget(message.number, { attributes: message.attributes, names: true })
          .catch(background(this.log, 'mount.late'))
        return
      case 'list':
        this.#farVolumes?.client.list(message)
        return
      case 'unsynced':
        this.#farVolumes?.client.unsynced(message.number, message.changes, message.ownedMs)
        return
      case 'interrupt':
        this.#farVolumes?.client.interrupt(message.uniqueLo, message.uniqueHi)
        return
      case 'sync':
        this.#syncs.answer(message).catch(background(this.log, 'fsync'))
        return
      case 'look':
        this.#root.look(message).catch(background(this.log, 'root.look'))
        return
      case 'mkdir':
        this.#root.mkdir(mount, message).catch(background(this.log, 'root.mkdir'))
        return
      case 'rmdir':
        this.#root.rmdir(mount, message).catch(background(this.log, 'root.rmdir'))
        return
    }
  }
}

/**
 * This boot of the machine: 32 hex digits. Source: Documentation/admin-guide/sysctl/kernel.rst, random/boot_id.
 * WEFT_BOOT_ID pretends another one, for tests of a cut in power only: what is staged and the view are then of a boot
 * that is over.
 */
function bootId(): string {
  const pretended = process.env.WEFT_BOOT_ID
  if (pretended && /^[0-9a-f]{32}$/.test(pretended)) return pretended
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim().replaceAll('-', '')
}
