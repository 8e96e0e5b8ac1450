import { isDeepStrictEqual } from 'node:util'
import { modesOf, SAS_SLOT } from './blades.ts'
import { technologyNamed } from './drive-technology.ts'
import { serverNotOff, TaskFailed } from './errors.ts'
import type { Body } from './fixtures.ts'
import type { Frame } from './frame.ts'
import type { Knobs } from './knobs.ts'
import { controllerOf, type JbodEntry, type LocalStorage } from './local-storage.ts'
import type { Jbod, Profile } from './model.ts'

/**
 * What the task of a profile's change checks. The words and codes are guesses but for those of facts §6 and §8, and so is that
 * these are found in the task and not at once [?].
 */

/** What needs power off when it changes, and how the appliance calls it: 'Firmware' was seen, the others are guesses [?]. */
const SECTIONS: Readonly<Record<string, string>> = {
  firmware: 'Firmware',
  bios: 'BIOS',
  boot: 'Boot Settings',
  bootMode: 'Boot Mode',
  connectionSettings: 'Connections',
  sanStorage: 'SAN Storage',
  osDeploymentSettings: 'OS Deployment',
}

const LOCAL_STORAGE = 'Local storage'

export function checkPower(profile: Profile, wanted: Body, knobs: Knobs): void {
  const { blade, body } = profile
  if (blade.power === 'Off') return
  const sections = Object.keys(SECTIONS)
    .filter((name) => !isDeepStrictEqual(wanted[name] ?? null, body[name] ?? null))
    .map((name) => SECTIONS[name]!)
  if (localStorageNeedsOff(body.localStorage, wanted.localStorage, knobs))
    sections.push(LOCAL_STORAGE)
  if (sections.length > 0) throw serverNotOff(blade.hardwareName, blade.uri, sections)
}

function localStorageNeedsOff(before: unknown, after: unknown, knobs: Knobs): boolean {
  const [old, wanted] = [(before ?? {}) as Body, (after ?? {}) as Body]
  const differs = (name: string) => !isDeepStrictEqual(old[name] ?? [], wanted[name] ?? [])
  // Controllers are no JBODs: they need it in any case.
  if (differs('controllers')) return true
  return knobs.jbodEditPower === 'off-required' && differs('sasLogicalJBODs')
}

export function checkLocalStorage(profile: Profile, storage: LocalStorage, frame: Frame): void {
  const { entries } = storage
  checkSequence(entries)
  for (const entry of entries) checkEntry(profile, entry, frame)
  checkNoneTwice(entries)
  checkControllers(profile, storage)
}

/** 1..n without a gap, in any order. */
function checkSequence(entries: readonly JbodEntry[]): void {
  const ids = entries.map(({ id }) => id).sort((a, b) => a - b)
  const wrong = ids.find((id, i) => id !== i + 1)
  if (wrong === undefined) return
  throw new TaskFailed(
    'SAS_LOGICAL_JBOD_ID_NOT_IN_SEQUENCE',
    `The specified SAS logical JBOD ID for JBOD [${wrong}] is not in sequence.`,
  )
}

function checkEntry(profile: Profile, entry: JbodEntry, frame: Frame): void {
  const { blade } = profile
  if (entry.deviceSlot !== SAS_SLOT || blade.sas === null)
    throw new TaskFailed(
      'NO_SAS_CONTROLLER',
      `${blade.hardwareName} does not appear to have an integrated SAS controller.`,
    )
  const technology = technologyNamed(entry.driveTechnology)
  if (technology === undefined)
    throw new TaskFailed(
      'INVALID_DRIVE_TECHNOLOGY',
      `${entry.driveTechnology} is no drive technology of a SAS logical JBOD.`,
    )
  if (entry.jbod === null) return
  checkJbod(profile, entry.jbod, frame)
  if (entry.numPhysicalDrives !== entry.jbod.drives.length)
    throw new TaskFailed('JBOD_MISMATCH', `${entry.jbod.name} has another number of drives.`)
}

function checkJbod(profile: Profile, jbod: Jbod, frame: Frame): void {
  const attachment = frame.attachmentOf(jbod)
  if (attachment?.profile === profile) return
  if (attachment !== undefined)
    throw new TaskFailed(
      'JBOD_IN_USE',
      `SAS logical JBOD ${jbod.name} is assigned to server profile ${attachment.profile.body.name}.`,
    )
  if (jbod.sas !== profile.blade.sas)
    throw new TaskFailed(
      'JBOD_NOT_REACHABLE',
      `SAS logical JBOD ${jbod.name} cannot be reached from ${profile.blade.hardwareName}.`,
    )
  if (jbod.state !== 'Configured')
    throw new TaskFailed('JBOD_NOT_CONFIGURED', `SAS logical JBOD ${jbod.name} is ${jbod.state}.`)
}

function checkNoneTwice(entries: readonly JbodEntry[]): void {
  const jbods = entries.flatMap(({ jbod }) => (jbod === null ? [] : [jbod]))
  const twice = jbods.find((jbod, i) => jbods.indexOf(jbod) !== i)
  if (twice === undefined) return
  throw new TaskFailed('JBOD_IN_USE', `SAS logical JBOD ${twice.name} is named twice.`)
}

function checkControllers(profile: Profile, storage: LocalStorage): void {
  const { entries } = storage
  for (const { mode, deviceSlot, logicalDrives, jbodIds } of storage.controllers) {
    if (deviceSlot === SAS_SLOT && !modesOf(profile.blade).includes(mode))
      throw new TaskFailed('INVALID_CONTROLLER_MODE', `${deviceSlot} has no mode ${mode}.`)
    // PS#225
    if (mode === 'HBA' && logicalDrives > 0)
      throw new TaskFailed('HBA_WITH_LOGICAL_DRIVES', `${deviceSlot} in mode HBA has none.`)
    const lost = jbodIds.find((id) => !entries.some((entry) => entry.id === id))
    if (lost !== undefined)
      throw new TaskFailed('JBOD_ID_UNKNOWN', `A logical drive is of JBOD ${lost}: there is none.`)
  }
  const controller = controllerOf(storage)
  if (controller?.mode !== 'RAID') return
  const raw = entries.find(({ id }) => !controller.jbodIds.includes(id))
  if (raw === undefined) return
  // [?] In mode RAID the host would not see the drives; whether the appliance minds is not known.
  throw new TaskFailed('RAW_JBOD_IN_RAID_MODE', `JBOD ${raw.name} has no logical drive.`)
}
