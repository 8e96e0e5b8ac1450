import type { ClusterStatus, EtcdAccess, InviteInfo, NodeInfo } from '../cluster/index.ts'
import type { PolicyControl, SynergyControl, SynergyStatus } from './synergy-control.ts'

export type { EtcdAccess, InviteInfo } from '../cluster/index.ts'

/**
 * What a node can be asked to do. The daemon implements it, the routes call it, the CLI knows its answers.
 * Every answer is JSON-able. A failure is thrown as FsError: its code becomes the HTTP status (errors.ts),
 * its message and `subject.next` (what to do next, a sentence or a command) reach the person unchanged.
 *
 * Secrets come as Buffers that are only borrowed: the api zeroes them when the promise settles, so an
 * implementation that keeps one copies it into secure memory first.
 */

export interface Problem {
  readonly severity: 'note' | 'warning' | 'error'
  /** What is wrong, with the name of the thing: 'drive d1 has 1.2 GiB left'. */
  readonly what: string
  readonly why: string
  /** The command or act that mends it. */
  readonly next: string
}

export type Driver = 'kernel' | 'fuse-native'

export interface MountInfo {
  readonly id: string
  /** The volume's name, or 'weft' for the namespace. */
  readonly name: string
  readonly target: string
  readonly kind: 'namespace' | 'exclusive' | 'bind'
  /** Name of the volume of an exclusive mount. */
  readonly volume: string | null
  readonly readOnly: boolean
  readonly driver: Driver
  /** Limits a person must know, printed at mount; empty for the kernel driver. */
  readonly notes: readonly string[]
  readonly since: string
}

export interface MountRequest {
  /** Absolute path. */
  readonly target: string
  readonly readOnly?: boolean | undefined
  readonly driver?: Driver | undefined
  /** Hide what is in the directory. */
  readonly nonempty?: boolean | undefined
  /** Further flags for mount(8), already checked: nosuid, nodev, noexec, noatime, nodiratime, relatime, sync, dirsync. */
  readonly flags?: readonly string[] | undefined
}

export interface AttachRequest {
  /** Name or id. */
  readonly volume: string
  readonly target: string
  readonly force?: boolean | undefined
  readonly readOnly?: boolean | undefined
  readonly nonempty?: boolean | undefined
  readonly flags?: readonly string[] | undefined
}

export interface UnmountRequest {
  readonly target: string
  /** Take it away under open files: their descriptors answer errors from then on. */
  readonly force?: boolean | undefined
}

export interface UnmountInfo {
  /** Processes of other mount namespaces, containers mostly, that go on using it: it ends with them. */
  readonly heldBy: readonly { readonly pid: number; readonly name: string }[]
}

export interface VolumeInfo {
  readonly id: string
  readonly name: string
  readonly number: number
  /** 'elsewhere': another node of the cluster owns it. 'waiting': not open yet, the coordinator is away. */
  readonly state: 'ready' | 'locked' | 'deleting' | 'lost' | 'damaged' | 'elsewhere' | 'waiting'
  /** Name of the node that owns it; null in no cluster. */
  readonly owner: string | null
  readonly sizeBytes: number
  readonly usedBytes: number
  readonly files: number
  readonly repl: number
  /** Of its copies those that have every acknowledged change, as last known. */
  readonly inSync: number
  /** Class of service: 1 low, 2 medium, 3 high; null takes what there is. */
  readonly cos: 1 | 2 | 3 | null
  /** Target of its exclusive mount. */
  readonly attached: string | null
  readonly createdAt: string
  readonly probe: VolumeProbe
}

/** What came of the last probe, which goes the way that a program's calls go. */
export interface VolumeProbe {
  /**
   * 'silent': one is under way and has no answer. 'closed': not open here. 'unused': another node owns it, and this one does
   * not use it. 'unknown': there was none yet.
   */
  readonly state: 'ok' | 'silent' | 'failed' | 'locked' | 'closed' | 'unused' | 'unknown'
  /** 'commit': on every copy, and read back; by the owner. 'call': to the owner. Null when nothing is probed. */
  readonly kind: 'commit' | 'call' | null
  /** What the last one that succeeded took; null before. */
  readonly ms: number | null
  /** ISO time of the last success, and since then; a commit of a program's is one. */
  readonly succeededAt: string | null
  readonly succeededSeconds: number | null
  /** Since when it is silent, or that it failed. */
  readonly forSeconds: number
  /** Of 'silent': the copy, drive or owner. Else ''. */
  readonly waitsFor: string
  /** Of 'failed', name of an errno. Else ''. */
  readonly code: string
  readonly why: string
}

export interface VolumeDetail extends VolumeInfo {
  /** As a person could type it: size=100G,repl=1,name=… */
  readonly spec: string
  readonly epoch: number
  /** Sequence number of the last record. */
  readonly records: number
  readonly keyEpoch: number
  readonly keySlots: number
  readonly chunks: number
  /** Bytes its chunks take on drives, and how many of them are still in use. */
  readonly storedBytes: number
  readonly liveBytes: number
  readonly journalBytes: number
  /** Ids of the drives that hold any of it. */
  readonly drives: readonly string[]
  readonly copies: readonly VolumeCopy[]
  /** What its owner does about its copies; null when it has one, or its owner does not answer. */
  readonly repair: VolumeRepair | null
  /** Of this node's copy, on its way to drives of its class; null when it is there. */
  readonly classMove: ClassMove | null
  /** Name of the node that a person wants to own it; null when it is there. */
  readonly movingTo: string | null
  /** Nodes that could own it now: up, with a copy and a key. Empty in no cluster. */
  readonly ownersNow: readonly string[]
  readonly problems: readonly Problem[]
}

/** One place that holds a volume. */
export interface VolumeCopy {
  readonly id: string
  /** Name of its node, or its id in no cluster. */
  readonly node: string
  /** It has every acknowledged change. */
  readonly inSync: boolean
  /** 'behind': as much as the record says, its owner not answering. 'leaving': it is given up. */
  readonly state: 'in sync' | 'incomplete' | 'joining' | 'silent' | 'damaged' | 'leaving' | 'behind'
  /** Why it is not in sync; '' when it is. */
  readonly why: string
  readonly silentSeconds: number
  readonly doneBytes: number
  readonly totalBytes: number
}

/** @property doing '' when there is nothing to do · @property trouble why that does not go on; '' when it does */
export interface VolumeRepair {
  readonly doing: string
  readonly trouble: string
  readonly next: string
  readonly doneBytes: number
  readonly totalBytes: number
  readonly secondsLeft: number | null
}

/** What a change does to one volume. */
export interface PlanStep {
  readonly volume: string
  readonly what: string
  /** That have to be copied. */
  readonly bytes: number
  /** Copies in sync at every moment of it, if none fails, and how many there must be. */
  readonly inSyncMeanwhile: number
  readonly minimum: number
}

/** A change of where copies lie. @property accepted false when it was only planned */
export interface ChangePlan {
  readonly accepted: boolean
  readonly what: string
  readonly steps: readonly PlanStep[]
  readonly bytes: number
  /** At the rate of repair, with nobody at the volumes, and with callers all the time. */
  readonly secondsMin: number
  readonly secondsMax: number
}

export interface RepairSettings {
  readonly graceMs: number
  readonly bytesPerSecond: number
}

export interface DrainStatus {
  readonly node: string
  /** Null when it is not being emptied. */
  readonly since: string | null
  /** What it still holds. */
  readonly left: readonly {
    readonly volume: string
    readonly doing: string
    readonly trouble: string
    readonly next: string
    readonly doneBytes: number
    readonly totalBytes: number
  }[]
}

/** Each throws FsError ENOENT when this node is in no cluster. */
export interface RepairControl {
  /** @param request.copies how many there shall be */
  repl(volume: string, request: { copies: number; plan: boolean }): Promise<ChangePlan>
  /** @param request.copy make a copy there first, if there is none */
  move(volume: string, request: { node: string; plan: boolean; copy: boolean }): Promise<ChangePlan>
  /** It does not move after all. */
  stay(volume: string): Promise<void>
  /** @param request.stop it keeps what it has */
  drain(node: string, request: { plan: boolean; stop: boolean }): Promise<ChangePlan>
  drainStatus(node: string): Promise<DrainStatus>
  settings(): Promise<RepairSettings>
  /** @param change.rate as typed, a second: 64M */
  set(change: {
    readonly graceMs?: number | undefined
    readonly rate?: string | undefined
  }): Promise<RepairSettings>
}

/** A volume as asked for: raw text (`size=100G,repl=1,name=x`), single fields, or both; a field given twice must agree. */
export interface VolumeCreateRequest {
  readonly spec?: string | undefined
  readonly name?: string | undefined
  readonly size?: string | undefined
  readonly repl?: string | undefined
  readonly cos?: string | undefined
  /** A lower class will do until there is room. */
  readonly cosFallback?: boolean | undefined
  readonly spread?: string | undefined
  /** Key slots made along with the node's own. */
  readonly passphrase?: Buffer | undefined
  readonly recipients?: readonly string[] | undefined
}

export interface DriveInfo {
  readonly id: string
  readonly name: string
  readonly dir: string
  readonly kind: 'directory' | 'block'
  readonly class: 1 | 2 | 3
  readonly state: 'ok' | 'failing' | 'gone'
  readonly totalBytes: number
  readonly freeBytes: number
  /** Bytes that weft has on it. */
  readonly usedBytes: number
  /** Null unless it is being emptied. */
  readonly drain: DriveDrain | null
  /** Null for a directory. */
  readonly disk: {
    readonly wwn: string
    readonly serial: string
    readonly model: string
    /** Under which it was taken from a frame; null when a person added it. */
    readonly tag: string | null
    /** What it did when it was added: a durable write of 4 KiB, and writing in order. */
    readonly measured: { readonly syncMs: number; readonly bytesPerSecond: number } | null
  } | null
  /** Why it is failing or gone; '' when it is not. */
  readonly why: string
}

/** A whole disk of this host, a drive or not. */
export interface DiskInfo {
  /** WWN, else its serial number, else its name. */
  readonly id: string
  /** Below /dev, today. */
  readonly name: string
  readonly path: string
  /** A name that stays. */
  readonly link: string
  readonly wwn: string
  readonly serial: string
  readonly model: string
  readonly transport: string
  readonly media: 'hdd' | 'ssd' | 'nvme'
  readonly sizeBytes: number
  /** drive: of this node; foreign: of another one. */
  readonly standing: 'free' | 'drive' | 'foreign' | 'unusable'
  /** Which drive it is, or why it cannot be one. */
  readonly why: string
}

export interface ClassMove {
  readonly chunksMoved: number
  readonly bytesMoved: number
  /** Found no room in the class. */
  readonly chunksLeft: number
  readonly why: string
}

export interface VolumeClassRequest {
  /** Null: any. */
  readonly class: 1 | 2 | 3 | null
  /** What finds no room goes to a lower class, and up later. */
  readonly orLower?: boolean | undefined
}

/** How far a drive that is being emptied is. */
export interface DriveDrain {
  readonly chunksMoved: number
  readonly bytesMoved: number
  /** Null until they are counted. */
  readonly chunksLeft: number | null
  /** Nothing that weft needs is on it any more. */
  readonly isEmpty: boolean
  /** Why it does not go on, or did not with some of it, in words; '' when nothing is in the way. */
  readonly why: string
}

/** What emptying a drive means; asked for with `plan` nothing was changed. */
export interface DriveDrainPlan {
  readonly accepted: boolean
  readonly what: string
  readonly chunks: number
  readonly journals: number
  readonly bytes: number
  /** On the other drives. */
  readonly freeBytes: number
}

export interface DriveAdded extends DriveInfo {
  /** What a person must know of it: that it shares its disk with another drive. */
  readonly notes: readonly string[]
}

export interface NodeStatus {
  readonly version: string
  readonly home: string
  readonly daemon: {
    readonly pid: number
    readonly startedAt: string
    readonly uptimeSeconds: number
    /** Path of the main.js it runs. */
    readonly program: string
  }
  readonly node: { readonly id: string }
  /** Null in no cluster. */
  readonly cluster: ClusterInfo | null
  readonly mounts: readonly MountInfo[]
  readonly volumes: readonly VolumeInfo[]
  readonly drives: readonly DriveInfo[]
  /** Null when no frame is connected. */
  readonly synergy: SynergyStatus | null
  readonly problems: readonly Problem[]
}

/** How this node reaches another one. */
export interface MemberStatus {
  readonly connection: 'self' | 'up' | 'down' | 'removed'
  /** Of the channel for calls; null when there is none. */
  readonly path: 'tcp' | 'udx' | null
  readonly rttMs: number | null
  /** When it was reached or lost. */
  readonly since: string | null
  /** Why it is down, in words. */
  readonly why: string
}

export type MemberInfo = NodeInfo & MemberStatus

/** What is known without asking anybody. */
export interface ClusterInfo extends ClusterStatus {
  /** @property why it does not answer; '' when it does */
  readonly coordinatorState: {
    readonly place: string
    /** '' when it answers. */
    readonly why: string
    /** ISO time from which on it has not answered; null when it does. */
    readonly since: string | null
  }
  readonly nodes: readonly MemberInfo[]
}

export interface ClusterCreateRequest {
  readonly name: string
  /** Name of this node; the host's when not given. */
  readonly node?: string | undefined
  readonly domain?: string | undefined
  /** host:port, or :port for every address. */
  readonly listen?: string | undefined
  /** host:port each; the addresses of this machine when not given. */
  readonly advertise?: readonly string[] | undefined
  /** etcd://h1:2379,h2:2379; on this node when not given. */
  readonly coordinator?: string | undefined
  readonly access?: EtcdAccess | undefined
}

/** @property invite a secret until its uses are gone */
export type ClusterJoinRequest = Omit<ClusterCreateRequest, 'name' | 'coordinator' | 'access'> & {
  readonly invite: string
}

/** The daemon starts anew as a member, under its mounts. */
export interface ClusterEntered {
  readonly id: string
  readonly name: string
  readonly node: string
  readonly addresses: readonly string[]
}

/** @property line holds the invite's secret and is kept nowhere */
export type InviteMade = InviteInfo & { readonly line: string }

/** What a coordinator that is lost is, or would be, rebuilt from. */
export interface RecoverPlan {
  /** On which it is. */
  readonly node: string
  readonly generation: number
  /** Members that answer, this node too. */
  readonly from: readonly string[]
  readonly silent: readonly { readonly node: string; readonly why: string }[]
  readonly volumes: readonly {
    readonly id: string
    readonly name: string
    readonly copies: number
    /** Nodes whose copies answer. */
    readonly answering: readonly string[]
    readonly epoch: number
  }[]
  readonly refused: readonly {
    readonly id: string
    readonly name: string
    readonly copies: number
    readonly answering: number
    readonly needed: number
    /** Nodes of the copies that are missing. */
    readonly lacking: readonly string[]
    readonly why: string
  }[]
}

export interface RecoverState {
  readonly state: 'none' | 'rebuilding' | 'done'
  readonly waitsFor: readonly string[]
  /** Of the one that was done in this life of the daemon. */
  readonly plan: RecoverPlan | null
}

/** @property begun false: the coordinator answered, and volumes were added to it; `plan` says which */
export interface Recovered {
  readonly begun: boolean
  readonly generation: number
  readonly plan: RecoverPlan | null
}

export interface CoordinatorMoved {
  readonly place: string
  readonly generation: number
}

/** @property keyEpoch of the keys after the removal; those before are known to the removed node */
export interface NodeRemoved {
  readonly id: string
  readonly name: string
  readonly reason: string
  readonly removedAt: string
  readonly keyEpoch: number
}

export type SlotKind = 'node' | 'recipient' | 'passphrase' | 'shares'

/** One way to open a volume. `id` is the slot's number as text. */
export interface KeySlotInfo {
  readonly id: string
  /** Who can open with it: a label a person gave, or 'this node'. */
  readonly name: string
  readonly kind: SlotKind
  /** base64 */
  readonly publicKey: string
  readonly shares: number | null
  readonly threshold: number | null
  readonly createdAt: string
}

export interface KeyList {
  readonly volume: {
    readonly id: string
    readonly name: string
    readonly locked: boolean
    readonly newestEpoch: number
    /** Oldest key epoch that live data still needs; equals newestEpoch when no re-seal is due. */
    readonly oldestEpoch: number
  }
  readonly keys: readonly KeySlotInfo[]
}

/** What opens a volume. 'node' is this node's own key. */
export type Opener =
  | { readonly kind: 'node' }
  | { readonly kind: 'passphrase'; readonly passphrase: Buffer }
  /** Raw X25519 keys, 32 bytes each. */
  | { readonly kind: 'keypair'; readonly publicKey: Buffer; readonly secretKey: Buffer }
  | { readonly kind: 'shares'; readonly shares: readonly Buffer[] }

export type NewSlot =
  | {
      readonly kind: 'passphrase'
      readonly passphrase: Buffer
      readonly label?: string | undefined
    }
  /** @property recipient base64 of a raw X25519 public key */
  | { readonly kind: 'recipient'; readonly recipient: string; readonly label?: string | undefined }

export interface SplitResult {
  readonly slot: KeySlotInfo
  readonly threshold: number
  /** One per person. Zeroed by the api after sending. */
  readonly shares: readonly Buffer[]
}

/** What a backup can do, proven without changing anything. */
export interface DrillResult {
  readonly volume: { readonly id: string; readonly name: string }
  readonly opened: boolean
  /** Number of the slot that opened. */
  readonly slot: string
  readonly kind: SlotKind
  /** Key epochs in the backup, and those the volume's live data needs that the backup lacks. */
  readonly epochs: readonly number[]
  readonly missingEpochs: readonly number[]
}

export interface JobInfo {
  readonly id: string
  /** 'fsck', 'reseal', … */
  readonly name: string
  readonly kind: string
  readonly state: 'running' | 'done' | 'failed' | 'cancelled'
  readonly done: number
  /** Null while unknown. */
  readonly total: number | null
  /** What done and total count: 'chunks', 'bytes', 'inodes'. */
  readonly unit: string
  readonly message: string
  /** Once done: what the kind of job answers (FsckReport for fsck). */
  readonly result: unknown
  /** Once failed. */
  readonly error: { readonly code: string; readonly message: string; readonly next: string } | null
  readonly startedAt: string
}

export interface FsckFinding {
  readonly severity: 'note' | 'damage'
  /** Name of the volume. */
  readonly volume: string
  readonly what: string
  /** Path below the volume's root, where one is known. */
  readonly path: string | null
  readonly outcome: 'left' | 'repaired' | 'quarantined'
  readonly next: string
}

export interface FsckReport {
  readonly clean: boolean
  readonly repair: boolean
  readonly volumes: readonly string[]
  readonly checked: {
    readonly inodes: number
    readonly records: number
    readonly chunks: number
    readonly bytes: number
  }
  readonly findings: readonly FsckFinding[]
}

export interface ScrubReport {
  readonly volumes: readonly string[]
  /** Of all copies together. */
  readonly chunks: number
  readonly bytes: number
  readonly findings: readonly {
    readonly volume: string
    readonly node: string
    /** Null: its log. */
    readonly chunk: string | null
    readonly what: string
    /** From another copy. */
    readonly mended: boolean
    readonly at: string
  }[]
  /** Copies that did not answer to the end of it. */
  readonly unfinished: readonly string[]
}

export interface VolumeControl {
  list(): Promise<readonly VolumeInfo[]>
  /**
   * @throws FsError EAGAIN with `growing`, the job that makes room for it, where the policy takes drives for a volume that does
   * not fit: ask again when that has ended
   */
  create(request: VolumeCreateRequest): Promise<VolumeDetail>
  /** @param volume name or id, here and below */
  inspect(volume: string): Promise<VolumeDetail>
  /**
   * @param size as typed: 100G
   * @throws FsError EAGAIN with `growing`, as create
   */
  resize(volume: string, size: string): Promise<VolumeDetail>
  /** @throws FsError EAGAIN with `growing`, as create */
  setClass(volume: string, request: VolumeClassRequest): Promise<VolumeDetail>
  delete(volume: string, options: { readonly force: boolean }): Promise<void>
}

export interface DriveControl {
  list(): Promise<readonly DriveInfo[]>
  /** Every disk of this host. */
  disks(): Promise<readonly DiskInfo[]>
  /** A directory, or a whole disk. */
  add(request: {
    readonly dir?: string | undefined
    readonly device?: string | undefined
    readonly class?: 1 | 2 | 3 | undefined
    /** Make the directory when it is missing. */
    readonly create?: boolean | undefined
    /** Erase what stands on the disk. */
    readonly force?: boolean | undefined
  }): Promise<DriveAdded>
  /** The LED of its bay. @returns the bay, in its enclosure's words */
  locate(name: string, on: boolean): Promise<{ readonly bay: string }>
  /** @param name id, the beginning of it, directory or its last part */
  status(name: string): Promise<DriveInfo>
  drain(
    name: string,
    options: { readonly plan: boolean; readonly stop: boolean },
  ): Promise<DriveDrainPlan>
  /** @param options.lost one that is not here, and will not be again @returns what it was */
  remove(name: string, options: { readonly lost: boolean }): Promise<DriveInfo>
}

export interface KeyControl {
  list(volume: string): Promise<KeyList>
  add(volume: string, slot: NewSlot): Promise<KeySlotInfo>
  /** Refuses the last slot. */
  remove(volume: string, slot: string): Promise<void>
  /** New key epoch at once; with reseal also a job that rewrites old data and drops old epochs. */
  rotate(
    volume: string,
    options: { readonly reseal: boolean },
  ): Promise<{ readonly newestEpoch: number; readonly job: JobInfo | null }>
  /** A wrapped backup as text; opens nothing without one of its slots' secrets. */
  exportBackup(volume: string): Promise<string>
  /** Gives the volume the slots of a backup. */
  importBackup(volume: string, backup: string, opener: Opener): Promise<KeyList>
  split(
    volume: string,
    options: {
      readonly shares: number
      readonly threshold: number
      readonly label?: string | undefined
    },
  ): Promise<SplitResult>
  /** Opens a volume with shares of a split key and makes a slot for this node again. */
  recover(volume: string, shares: readonly Buffer[]): Promise<KeyList>
  lock(volume: string): Promise<KeyList>
  unlock(volume: string, opener: Opener): Promise<KeyList>
  /** @param backup null drills the slots in use now */
  drill(volume: string, backup: string | null, opener: Opener): Promise<DrillResult>
}

/** Each throws FsError ENOENT when this node is in no cluster. */
export interface ClusterControl {
  status(): Promise<ClusterInfo>
  create(request: ClusterCreateRequest): Promise<ClusterEntered>
  join(request: ClusterJoinRequest): Promise<ClusterEntered>
  invite(request: {
    readonly uses?: number | undefined
    readonly lifetimeMs?: number | undefined
  }): Promise<InviteMade>
  invites(): Promise<readonly InviteInfo[]>
  revoke(invite: string): Promise<InviteInfo>
  /** To an etcd, while the cluster is used on. @param to etcd://h1:2379,h2:2379 */
  moveCoordinator(to: string, access: EtcdAccess): Promise<CoordinatorMoved>
  /** What `recover` would do; nothing is changed. */
  recoverPlan(): Promise<RecoverPlan>
  /**
   * Where the coordinator answers: add volumes that it lacks. Else, when `begin`, rebuild it on this node; the daemon starts
   * anew.
   */
  recover(begin: boolean): Promise<Recovered>
  recoverState(): Promise<RecoverState>
  /** Members by name, then the removed ones. */
  nodes(): Promise<readonly MemberInfo[]>
  /** @param node name or id */
  remove(
    node: string,
    options: { readonly reason?: string | undefined; readonly rotate?: boolean | undefined },
  ): Promise<NodeRemoved>
}

export interface JobControl {
  list(): Promise<readonly JobInfo[]>
  get(id: string): Promise<JobInfo>
  cancel(id: string): Promise<JobInfo>
}

/** Why calls on a volume, or on the root of the namespace, failed in this life of the daemon. */
export interface Why {
  /** Name; null at the root of the namespace. */
  readonly volume: string | null
  /** What is wrong with it now. */
  readonly problems: readonly Problem[]
  /** Those of the file that was asked about first, then the newest first. */
  readonly reasons: readonly {
    /** ISO time of the last one, and of the first. */
    readonly at: string
    readonly since: string
    /** The kernel's request: write, lookup … */
    readonly op: string
    /** Name of what it was answered. */
    readonly errno: string
    readonly why: string
    readonly next: string
    readonly isOfFile: boolean
  }[]
}

export interface NodeControl {
  status(): Promise<NodeStatus>
  /** @param request.inode st_ino of a file · @throws FsError ENOENT for a volume that is not there */
  why(request: {
    readonly volume?: string | undefined
    readonly inode?: string | undefined
  }): Promise<Why>
  /** Resolves when the shutdown has begun; unmounting and the end of the process follow. */
  shutdown(): Promise<void>
  /** Restarts the daemon under its mounts. @param request.program path of another build's main.js; absent restarts this one */
  upgrade(request: { readonly program?: string | undefined }): Promise<{ readonly program: string }>
  mounts(): Promise<readonly MountInfo[]>
  mount(request: MountRequest): Promise<MountInfo>
  umount(request: UnmountRequest): Promise<UnmountInfo>
  attach(request: AttachRequest): Promise<MountInfo>
  detach(request: UnmountRequest): Promise<UnmountInfo>
  fsck(request: {
    readonly volume?: string | undefined
    readonly repair: boolean
    /** Only with a volume and repair: records that are needed and damaged are given up. */
    readonly acceptLoss?: boolean | undefined
  }): Promise<JobInfo>
  /** Reads all copies through, as a job; all volumes of several copies when none is named. */
  scrub(request: { readonly volume?: string | undefined }): Promise<JobInfo>
  readonly volumes: VolumeControl
  readonly drives: DriveControl
  readonly keys: KeyControl
  readonly cluster: ClusterControl
  readonly repair: RepairControl
  readonly synergy: SynergyControl
  readonly policy: PolicyControl
  readonly jobs: JobControl
}
