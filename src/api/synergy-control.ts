import type { JobInfo } from './control.ts'

/** What a node can be asked about the drives of a frame, and about the policy that takes and gives them back. */

export type ServiceClass = 1 | 2 | 3

/** How this node reaches the appliance. The password is told to nobody. */
export interface SynergyConnection {
  readonly url: string
  readonly user: string
  readonly domain: string | null
  /** By what the appliance is known; `system`: by the authorities that Node knows. */
  readonly trust: 'ca' | 'pin' | 'system'
}

/** @property password only borrowed · @property ca PEM */
export interface SynergyConnectRequest {
  readonly url: string
  readonly user: string
  readonly domain?: string | undefined
  readonly ca?: string | undefined
  readonly pin?: string | undefined
  readonly password: Buffer
}

/** What the appliance said when it was connected. */
export interface SynergyConnected {
  readonly connection: SynergyConnection
  readonly free: readonly FreeFrameDrive[]
  /** Drives of the frame that nodes of this cluster have already. */
  readonly held: number
}

export interface FreeFrameDrive {
  /** URI of its bay. */
  readonly id: string
  /** 'Frame1, bay 3, drive 12' */
  readonly name: string
  readonly class: ServiceClass
  readonly sizeBytes: number
  readonly serial: string
}

/** A drive of the frame that this node has, is taking, or is giving back. */
export interface FrameDrive {
  /** The tag under which it is held. */
  readonly id: string
  readonly name: string
  readonly class: ServiceClass
  readonly serial: string
  readonly sizeBytes: number
  readonly towards: 'in' | 'ready' | 'out'
  /** What is being done with it, or was last; `settled` when it is in use. */
  readonly step: string
  /** As `weft drive list` has it; null until it is a drive. */
  readonly drive: string | null
  /** ISO time at which the way that it is on began. */
  readonly since: string
  readonly why: string
  /** What went wrong at the last try; '' when nothing did. */
  readonly trouble: string
}

export interface SynergyFinding {
  /** The drive's tag. */
  readonly id: string
  /** finished, found, orphan, abandoned, missing, taken-away, trouble, stuck, under-way, needs-power-off, elsewhere, in-doubt */
  readonly name: string
  readonly words: string
}

export interface SynergyStatus {
  /** Null when no frame is connected. */
  readonly connection: SynergyConnection | null
  readonly underWay: {
    readonly what: string
    readonly since: string
    readonly words: string
  } | null
  readonly drives: readonly FrameDrive[]
  /** Of the last one in this life of the daemon; null before. */
  readonly reconciled: {
    readonly at: string
    readonly findings: readonly SynergyFinding[]
  } | null
  /** How long the frame takes to give a drive, as learned or assumed. */
  readonly growSeconds: number
  readonly policy: PolicyInfo
  /** Why nothing goes on; '' when it does. */
  readonly trouble: string
}

/** What an appliance shows at one point that public documents left open. */
export interface SynergyCheck {
  readonly id: string
  readonly name: string
  readonly seen: string
  readonly ok: boolean
}

/** @property job null when it was only planned */
export interface SynergyChange {
  readonly plan: readonly string[]
  readonly job: JobInfo | null
}

export interface SynergyReleased extends SynergyChange {
  /** Tag of the drive that was meant. */
  readonly id: string
  readonly name: string
}

/** Each but status and connect throws FsError ENODEV when no frame is connected. */
export interface SynergyControl {
  status(): Promise<SynergyStatus>
  /** Looks, by reading alone, at what was guessed when this was written without a frame. */
  check(): Promise<readonly SynergyCheck[]>
  /** Tries it first, and keeps what worked. */
  connect(request: SynergyConnectRequest): Promise<SynergyConnected>
  /** @returns what is left before this node; EBUSY while there is any, unless `force` */
  logout(options: { readonly force: boolean }): Promise<{ readonly left: readonly string[] }>
  free(cos: ServiceClass | null): Promise<readonly FreeFrameDrive[]>
  allocate(request: {
    readonly class: ServiceClass
    readonly drives: number
    readonly plan: boolean
  }): Promise<SynergyChange>
  /**
   * @param drive tag, id of the drive, or its serial number
   * @param options `lost`: what is on it is lost or not needed, so that it goes though nobody can look
   */
  release(
    drive: string,
    options: { readonly plan: boolean; readonly lost: boolean },
  ): Promise<SynergyReleased>
  /** @returns a job whose result is `{findings: SynergyFinding[]}` */
  reconcile(options: {
    readonly releaseOrphans: boolean
    readonly retryPower: boolean
  }): Promise<JobInfo>
}

export interface PolicyInfo {
  readonly enabled: boolean
  readonly dryRun: boolean
  readonly growAtPercent: number
  readonly shrinkAtPercent: number
  /** Kept free on each class; or so many bytes. */
  readonly reserve: 'one-node' | 'none' | number
  readonly maxDrives: number
  readonly budgetPerDay: number
  readonly coolDownSeconds: number
  /** Of each class that this node has drives of: before it, untouched, to be used without the appliance. */
  readonly readyDrives: number
  /** All of it in a line for a person. */
  readonly words: string
}

/** As typed; what is not said stays as it is. */
export interface PolicyChange {
  readonly enabled?: boolean | undefined
  readonly dryRun?: boolean | undefined
  readonly growAt?: string | undefined
  readonly shrinkAt?: string | undefined
  readonly reserve?: string | undefined
  readonly maxDrives?: string | undefined
  readonly budget?: string | undefined
  readonly coolDown?: string | undefined
  readonly ready?: string | undefined
}

/** What the policy would do for one class now. */
export interface PolicyDecision {
  /** 'class-3' */
  readonly id: string
  /** 'high' */
  readonly name: string
  readonly class: ServiceClass
  readonly do: 'grow' | 'shrink' | 'none' | 'refused'
  readonly why: string
  readonly sizeBytes: number
  readonly usedBytes: number
  readonly reserveBytes: number
}

/** One act of the policy, its end, or a refusal. */
export interface PolicyEntry {
  /** Its place in the log, from 1. */
  readonly id: string
  /** 'grow began' */
  readonly name: string
  readonly at: string
  readonly class: ServiceClass | null
  readonly drives: number
  /** How long it took; null where nothing was done. */
  readonly seconds: number | null
  readonly why: string
}

export interface PolicyControl {
  show(): Promise<PolicyInfo>
  /** @throws FsError EINVAL with what to give instead */
  set(change: PolicyChange): Promise<PolicyInfo>
  plan(): Promise<readonly PolicyDecision[]>
  /** The oldest first. */
  log(): Promise<readonly PolicyEntry[]>
}
