import { type Clock, FsError } from '../../base/index.ts'
import type { FreeDrive, HeldDrive, Provisioner, Step } from '../provisioner.ts'
import type { Appliance } from './appliance.ts'
import { mustShowDisks, type Self, sasSlotOf } from './find-self.ts'
import type { Frame } from './frame.ts'
import { freeDriveOf, freeSeats, Inventory, type Seat, technologyOf } from './inventory.ts'
import { isConfigured, LogicalJbods } from './logical-jbods.ts'
import { changeProfile } from './profile-change.ts'
import { entryOf, withEntry, withoutEntry } from './profile-edit.ts'
import { type JbodAttachment, type LogicalJbod, numberOf, type ServerProfile } from './resources.ts'
import { Patience } from './waiting.ts'

/** The attachment goes in the profile's own task, as far as is known [?]. */
const LINGER = { stepMs: 1000, msMax: 10_000, limitMs: 5 * 60_000 }

export interface Parts {
  readonly appliance: Appliance
  readonly frame: Frame
  /** All tags of this cluster begin with it; what is named otherwise is never touched. */
  readonly tagPrefix: string
  readonly clock: Clock
}

/** Who has which JBOD, as profiles and attachments say. */
interface Holders {
  readonly self: Self
  readonly profiles: readonly ServerProfile[]
  readonly attachments: readonly JbodAttachment[]
}

/**
 * Drives of a Synergy frame: each is one logical JBOD, made of that drive alone and named with the tag, which a server
 * profile then names. The appliance remembers all of it, so every verb begins by looking (facts §9).
 */
export class OneViewProvisioner implements Provisioner {
  readonly kind = 'oneview'
  readonly #appliance: Appliance
  readonly #frame: Frame
  readonly #jbods: LogicalJbods
  readonly #tagPrefix: string
  readonly #clock: Clock

  constructor({ appliance, frame, tagPrefix, clock }: Parts) {
    this.#appliance = appliance
    this.#frame = frame
    this.#jbods = new LogicalJbods(appliance, frame, clock)
    this.#tagPrefix = tagPrefix
    this.#clock = clock
  }

  async free(signal: AbortSignal): Promise<FreeDrive[]> {
    const self = await this.#frame.self(await this.#frame.profiles(signal), signal)
    const { slot, enclosures } = await this.#frame.reach(self, signal)
    // Nothing is offered that could not be attached.
    mustShowDisks(self.profile, slot.deviceSlot)
    const inventory = new Inventory(enclosures)
    const taken = await this.#jbods.takenBays(inventory, signal)
    const free: Seat[] = []
    for (const enclosure of enclosures) {
      const index = await this.#frame.indexDrives(enclosure, signal)
      free.push(...freeSeats(inventory, index, taken))
    }
    return free.map(freeDriveOf)
  }

  async held(signal: AbortSignal): Promise<HeldDrive[]> {
    const jbods = await this.#frame.jbods(signal)
    const ours = jbods.filter(({ name }) => name?.startsWith(this.#tagPrefix))
    if (ours.length === 0) return []
    const holders = await this.#holders(signal)
    const inventory = await this.#frame.inventory(signal)
    const held: HeldDrive[] = []
    for (const jbod of ours) {
      const [seat] = await this.#jbods.seatsOf(jbod, inventory, signal)
      held.push(heldDriveOf(jbod, seat, holders))
    }
    return held
  }

  async reserve(tag: string, place: string, step: Step): Promise<HeldDrive> {
    this.#mustBeOurs(tag)
    const jbod = await this.#jbods.make(tag, place, step)
    return this.#held(jbod, step.signal)
  }

  async attach(tag: string, step: Step): Promise<HeldDrive> {
    this.#mustBeOurs(tag)
    const { signal } = step
    const jbod = await this.#jbods.mustFind(tag, signal)
    const holders = await this.#holders(signal)
    mustNotBeElsewhere(jbod, holders, 'oneview.attach')
    const { deviceSlot } = sasSlotOf(holders.self.hardware)
    const [seat] = await this.#jbods.seatsOf(jbod, await this.#frame.inventory(signal), signal)
    if (seat === undefined) throw driveless(jbod)
    const entry = {
      deviceSlot,
      name: tag,
      // A JBOD made of a given bay need not say sizes [?]; its drive does.
      driveMinSizeGB: numberOf(jbod.minSizeGB) || numberOf(seat.drive.capacity),
      driveMaxSizeGB: numberOf(jbod.maxSizeGB) || numberOf(seat.drive.capacity),
      driveTechnology: technologyOf(seat.drive),
      eraseData: jbod.eraseData ?? true,
      sasLogicalJBODUri: jbod.uri,
    }
    const isAttached = attachmentOf(jbod, holders.attachments) !== undefined
    const purpose = { op: 'oneview.attach', what: `attach ${tag} to this server` }
    await this.#changeOwnProfile(holders.self, purpose, step, (profile) => {
      mustShowDisks(profile, deviceSlot)
      if (entryOf(profile, jbod.uri) === undefined) return withEntry(profile, entry)
      // It was written, and the appliance failed to make it so: the same is asked again.
      return profile.state === 'UpdateFailed' && !isAttached ? profile : null
    })
    return this.#held(await this.#jbods.mustFind(tag, signal), signal)
  }

  async detach(tag: string, step: Step): Promise<void> {
    this.#mustBeOurs(tag)
    const jbod = await this.#jbods.find(tag, step.signal)
    if (jbod === null) return
    const holders = await this.#holders(step.signal)
    mustNotBeElsewhere(jbod, holders, 'oneview.detach')
    const isAttached = attachmentOf(jbod, holders.attachments) !== undefined
    const purpose = { op: 'oneview.detach', what: `take ${tag} away from this server` }
    await this.#changeOwnProfile(holders.self, purpose, step, (profile) => {
      if (entryOf(profile, jbod.uri) !== undefined) return withoutEntry(profile, jbod.uri)
      // It was taken out, and the appliance failed to make it so.
      return profile.state === 'UpdateFailed' && isAttached ? profile : null
    })
    await this.#untilUnattached(jbod, step)
  }

  /** Asked again after a crash, when the JBOD is gone already, it cannot know the drive, and does not wait for its erasing. */
  async release(tag: string, step: Step, how = { keepsData: false }): Promise<void> {
    this.#mustBeOurs(tag)
    const jbod = await this.#jbods.find(tag, step.signal)
    if (jbod === null) return
    mustBeNobodys(jbod, await this.#holders(step.signal))
    // Before it is gone: afterwards nobody knows which drive it was.
    const inventory = await this.#frame.inventory(step.signal)
    const [seat] = await this.#jbods.seatsOf(jbod, inventory, step.signal)
    await this.#jbods.delete(jbod, step, how)
    if (seat !== undefined) await this.#jbods.untilFree(seat, step)
  }

  async close(): Promise<void> {
    await this.#appliance.close()
  }

  async #untilUnattached(jbod: LogicalJbod, step: Step): Promise<void> {
    const patience = new Patience(this.#clock, LINGER)
    while (attachmentOf(jbod, await this.#frame.attachments(step.signal)) !== undefined) {
      step.progress(`the attachment of ${jbod.name} is still there`)
      if (await patience.again(step.signal)) continue
      throw new FsError('EAGAIN', 'oneview.detach', {
        jbod: jbod.uri,
        retry: 'later',
        message: `oneview: ${jbod.name} is out of the server profile, and the appliance still shows it attached`,
        next: 'look at the logical JBOD and at the SAS interconnects in OneView',
      })
    }
  }

  async #held(jbod: LogicalJbod, signal: AbortSignal): Promise<HeldDrive> {
    const [seat] = await this.#jbods.seatsOf(jbod, await this.#frame.inventory(signal), signal)
    return heldDriveOf(jbod, seat, await this.#holders(signal))
  }

  async #holders(signal: AbortSignal): Promise<Holders> {
    const profiles = await this.#frame.profiles(signal)
    return {
      profiles,
      self: await this.#frame.self(profiles, signal),
      attachments: await this.#frame.attachments(signal),
    }
  }

  #changeOwnProfile(
    { profile }: Self,
    purpose: { op: string; what: string },
    step: Step,
    edit: (profile: ServerProfile) => ServerProfile | null,
  ): Promise<void> {
    return changeProfile(this.#appliance, profile.uri, purpose, edit, step, this.#clock)
  }

  /** A bug or a mistyped tag must never reach another owner's JBOD. */
  #mustBeOurs(tag: string): void {
    if (tag.startsWith(this.#tagPrefix) && tag !== this.#tagPrefix) return
    throw new FsError('EINVAL', 'oneview.tag', {
      tag,
      message: `oneview: tag ${tag} does not begin with ${this.#tagPrefix}: it is not this cluster's`,
    })
  }
}

function attachmentOf(
  { uri }: LogicalJbod,
  attachments: readonly JbodAttachment[],
): JbodAttachment | undefined {
  return attachments.find(({ sasLogicalJBODUri }) => sasLogicalJBODUri === uri)
}

type Whose = 'nobody' | 'here' | 'elsewhere'

/** A drive is one server's at a time: zoning knows no other way (facts §1). */
function whose(jbod: LogicalJbod, { self, profiles, attachments }: Holders): Whose {
  const names = profiles.filter((profile) => entryOf(profile, jbod.uri) !== undefined)
  const attachment = attachmentOf(jbod, attachments)
  const isHere =
    names.some((profile) => profile.uri === self.profile.uri) ||
    attachment?.serverProfileUri === self.profile.uri ||
    attachment?.serverHardwareUri === self.hardware.uri
  if (isHere) return 'here'
  return names.length > 0 || attachment !== undefined ? 'elsewhere' : 'nobody'
}

function mustNotBeElsewhere(jbod: LogicalJbod, holders: Holders, op: string): void {
  if (whose(jbod, holders) !== 'elsewhere') return
  throw new FsError('EPERM', op, {
    jbod: jbod.uri,
    message: `oneview: ${jbod.name} is attached to another server, which may be using it`,
    next: 'ask at the node that runs there',
  })
}

function mustBeNobodys(jbod: LogicalJbod, holders: Holders): void {
  if (whose(jbod, holders) === 'nobody') return
  throw new FsError('EBUSY', 'oneview.release', {
    jbod: jbod.uri,
    message: `oneview: ${jbod.name} is still attached to a server`,
    next: 'detach it first',
  })
}

function heldDriveOf(jbod: LogicalJbod, seat: Seat | undefined, holders: Holders): HeldDrive {
  const holder = whose(jbod, holders)
  const profile = holders.profiles.find((one) => entryOf(one, jbod.uri) !== undefined)
  const attachment = attachmentOf(jbod, holders.attachments)
  const isSettled = isConfigured(jbod) || jbod.state === 'ConfigError'
  // Written into the profile, and not made so: the server need not have it.
  const isHalf = profile?.state === 'UpdateFailed' && attachment === undefined
  const isChanging = !isSettled || profile?.inProgress === true || isHalf
  const drive = seat === undefined ? nowhere(jbod) : freeDriveOf(seat)
  const troubles = [
    jbodTrouble(jbod),
    seat === undefined ? 'the appliance shows no drive in it' : '',
    illTrouble('the drive', seat?.drive.status),
    illTrouble('its entry in the server profile', profile && entryOf(profile, jbod.uri)?.status),
    illTrouble('its attachment', attachment?.status),
    isHalf ? 'the last update of the server profile failed' : '',
  ]
  return {
    ...drive,
    tag: jbod.name ?? '',
    state: isChanging ? 'changing' : holder === 'nobody' ? 'reserved' : 'attached',
    isHere: holder === 'here',
    trouble: troubles.filter((words) => words !== '').join('; '),
  }
}

function jbodTrouble({ state, status, stateReason }: LogicalJbod): string {
  if (state !== 'ConfigError' && (!status || status === 'OK')) return ''
  return `the logical JBOD is ${[state, status, stateReason].filter(Boolean).join(', ')}`
}

function illTrouble(what: string, status: string | null | undefined): string {
  return status && status !== 'OK' ? `${what} is ${status}` : ''
}

/** Of a JBOD whose drive the appliance does not show: being made, or the drive was pulled out. */
function nowhere({ name, maxSizeGB }: LogicalJbod): FreeDrive {
  return {
    place: '',
    name: `${name}, drive unknown`,
    class: 1,
    sizeBytes: numberOf(maxSizeGB) * 1e9,
    serial: '',
    wwid: '',
  }
}

function driveless(jbod: LogicalJbod): FsError {
  return new FsError('EIO', 'oneview.attach', {
    jbod: jbod.uri,
    message: `oneview: the appliance shows no drive in logical JBOD ${jbod.name}`,
    next: 'look whether the drive was pulled out; give it back and take another',
  })
}
