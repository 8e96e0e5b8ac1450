import type { ServiceClass } from '../drives/index.ts'

/**
 * Whoever has drives to give: an HPE Synergy frame (oneview/), or nobody (fixed.ts). Each verb is one step towards a drive
 * under this node or back, and is told by the allocation's tag what it is about: asked again after a crash it finds what it
 * has done and goes on from there. Nothing is remembered here; what is taken, the appliance knows.
 */
export interface Provisioner {
  readonly kind: 'oneview' | 'fixed'

  /** Drives that this node could be given now: in reach, in good health, of nobody. */
  free(signal: AbortSignal): Promise<readonly FreeDrive[]>

  /** What the cluster's nodes hold or have begun to take, known by their tags; those of other owners are not among them. */
  held(signal: AbortSignal): Promise<readonly HeldDrive[]>

  /**
   * Set a drive aside for this node, under a tag. Nothing else is changed.
   * @throws FsError EBUSY when somebody else was quicker: pick another
   */
  reserve(tag: string, place: string, step: Step): Promise<HeldDrive>

  /**
   * Put a reserved drive before this node's host.
   * @throws FsError EPERM `needsPowerOff` when the appliance does it only with the server off (facts §6.2)
   */
  attach(tag: string, step: Step): Promise<HeldDrive>

  /** Take a drive away from its host. Nobody uses it any more when this is asked for. @throws as attach */
  detach(tag: string, step: Step): Promise<void>

  /**
   * Give a detached drive back; returns when it is free again.
   * @param how by default erased, where the drive can be; kept when what is on it was never ours
   */
  release(tag: string, step: Step, how?: { readonly keepsData: boolean }): Promise<void>

  /** Log out. */
  close(): Promise<void>
}

export interface Step {
  readonly signal: AbortSignal
  /** What goes on, for a person: 'task "Create" of the appliance: 40 %'. */
  readonly progress: (words: string) => void
}

export interface FreeDrive {
  /** Names the drive to its provisioner. OneView: URI of its bay. */
  readonly place: string
  /** The same for a person: 'Frame1, bay 3, drive 12'. */
  readonly name: string
  readonly class: ServiceClass
  /** As its maker says, so about; the host knows the true size. */
  readonly sizeBytes: number
  /** How the host will know it. */
  readonly serial: string
  /** Lower-case hex, without 0x; the host's may differ in its last digit (facts §10). Empty when it is not known. */
  readonly wwid: string
}

export interface HeldDrive extends FreeDrive {
  readonly tag: string
  /** `reserved`: of nobody's host; `attached`: before one. */
  readonly state: 'reserved' | 'attached' | 'changing'
  /** True when it is before this node's own host. */
  readonly isHere: boolean
  /** What is wrong with it, in the appliance's words; '' when nothing is. */
  readonly trouble: string
}
