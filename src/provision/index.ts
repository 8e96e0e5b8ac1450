/**
 * provision: drives on demand. A `Provisioner` gives drives and takes them back (an HPE Synergy frame, or nobody: `fixed`);
 * `HostDrives` is what this node does with them, and the daemon's to implement; `Provisioning` is what the daemon holds, and
 * asks every few seconds.
 *
 * It promises: before each step that changes the appliance or a disk, what is about to be done is on stable storage under the
 * allocation's tag, so that a crash between any two steps, or in the middle of one, leaks nothing and assigns nothing twice.
 * What is done next follows from what intents, appliance and host say now, never from memory of an earlier life. Invariants: a
 * drive is detached only when this very life has made sure that nothing needs it; a tag is never used twice, and forgotten
 * only when nothing is held under it and no answer is outstanding; what bears another node's tag is not touched. The policy
 * decides without doing, and says why for each act and each refusal.
 *
 * What speaks to an appliance loads with the first call of `openOneView` or `checkOneView`: this door costs nothing where
 * there is no frame.
 */
import type { Finding as CheckFinding, OneViewOptions } from './oneview/index.ts'
import type { Provisioner } from './provisioner.ts'

export { type AllocationTimes, usualTimes } from './allocate.ts'
export { FixedDrives } from './fixed.ts'
export type {
  DiskIdentity,
  DiskToGive,
  DiskToTake,
  HostDisk,
  HostDrives,
  NewDrive,
  NodeRoom,
  PoolDrive,
  PoolDriveState,
  PoolFacts,
} from './host.ts'
export type { Allocation } from './intents.ts'
export type { Dmi, OneViewOptions } from './oneview/index.ts'
export type { Decision, PoolNumbers } from './policy.ts'
export type { LogEntry } from './policy-log.ts'
export type { FreeDrive, HeldDrive, Provisioner, Step } from './provisioner.ts'
export {
  type AllocateRequest,
  Provisioning,
  type ProvisioningStatus,
  type ProvisioningWorld,
} from './provisioning.ts'
export type { Finding, ReconcileOptions } from './reconcile.ts'
export {
  changeSettings,
  type PolicySettings,
  type PolicyWords,
  settingsWords,
  usualSettings,
} from './settings.ts'
export { isTagOf, makeTag, parseTag, type TagOwner, type TagParts } from './tags.ts'
export type { UnderWay } from './turn.ts'
export type { CheckFinding }

/** As of oneview/index.ts. */
export async function openOneView(options: OneViewOptions): Promise<Provisioner> {
  const oneview = await import('./oneview/index.ts')
  return oneview.openOneView(options)
}

/** As of oneview/index.ts. */
export async function checkOneView(
  options: Omit<OneViewOptions, 'tagPrefix'>,
  signal: AbortSignal,
): Promise<CheckFinding[]> {
  const oneview = await import('./oneview/index.ts')
  return await oneview.checkOneView(options, signal)
}
