import { randomUUID } from 'node:crypto'
import { sameTechnology, technologyOf } from './drive-technology.ts'
import type { DrivesIndex } from './drives-index.ts'
import { locked, TaskFailed } from './errors.ts'
import type { Frame } from './frame.ts'
import type { Criteria, JbodChanges, JbodSpec } from './jbod-requests.ts'
import type { Knobs } from './knobs.ts'
import type { Drive, Health, Jbod } from './model.ts'
import { type Pace, stamp } from './pace.ts'
import type { Work } from './tasks.ts'
import type { Zoning } from './zoning.ts'

/** Which drives are zoned together. A drive is in one JBOD at most; its number of drives never changes. Source: facts §5. */
export class Jbods {
  readonly #frame: Frame
  readonly #index: DrivesIndex
  readonly #knobs: Knobs
  readonly #pace: Pace
  readonly #zoning: Zoning

  constructor(frame: Frame, index: DrivesIndex, zoning: Zoning, knobs: Knobs, pace: Pace) {
    this.#frame = frame
    this.#index = index
    this.#zoning = zoning
    this.#knobs = knobs
    this.#pace = pace
  }

  /** POST */
  createWork(spec: JbodSpec): Work {
    const resource: { uri: string | null; name: string } = { uri: null, name: spec.name }
    let jbod: Jbod | undefined
    return {
      name: 'Create',
      category: 'sas-logical-jbods',
      resource,
      steps: [
        {
          says: 'Reserving drives',
          run: () => {
            jbod = this.reserve(spec)
            resource.uri = jbod.uri
          },
        },
        { says: 'Configuring', run: () => this.#settleLater(jbod!) },
      ],
      done: 'SAS logical JBOD created successfully.',
      failed: 'Unable to create SAS logical JBOD.',
    }
  }

  /**
   * The drives are the JBOD's from now on, or nothing has changed.
   * @throws TaskFailed when they cannot be had
   */
  reserve(spec: JbodSpec): Jbod {
    const drives = 'technology' in spec.from ? this.#pick(spec.from) : this.#check(spec.from)
    const sizes = drives.map(({ capacityGB }) => capacityGB)
    const uuid = randomUUID()
    const created = stamp().toISOString()
    const jbod: Jbod = {
      uuid,
      uri: `/rest/sas-logical-jbods/${uuid}`,
      drives,
      sas: drives[0]!.enclosure.sas,
      minSizeGB: Math.min(...sizes),
      maxSizeGB: Math.max(...sizes),
      created,
      name: spec.name,
      description: spec.description,
      eraseData: spec.eraseData,
      state: 'Configuring',
      modified: created,
    }
    this.#frame.jbods.set(uuid, jbod)
    this.#index.changed(drives)
    return jbod
  }

  #settleLater(jbod: Jbod): void {
    this.#pace.after(this.#knobs.jbodSettleMs, () => this.settle(jbod))
  }

  /** One that was settled stays as it is. */
  settle(jbod: Jbod): void {
    if (jbod.state !== 'Configuring') return
    this.become(jbod, this.#knobs.jbodSettlesAs)
    this.#index.changed(jbod.drives)
  }

  become(jbod: Jbod, state: Jbod['state']): void {
    jbod.state = state
    jbod.modified = stamp().toISOString()
  }

  patch(jbod: Jbod, changes: JbodChanges): void {
    Object.assign(jbod, changes, { modified: stamp().toISOString() })
  }

  /** PATCH */
  patchWork(jbod: Jbod, changes: JbodChanges): Work {
    return {
      name: 'Update',
      category: 'sas-logical-jbods',
      resource: { uri: jbod.uri, name: jbod.name },
      steps: [{ says: 'Updating', run: () => this.patch(jbod, changes) }],
      done: 'SAS logical JBOD updated successfully.',
      failed: 'Unable to update SAS logical JBOD.',
    }
  }

  /** DELETE: accepted even when a profile has it, and then it fails. */
  deleteWork(jbod: Jbod): Work {
    if (jbod.state === 'Deleting') throw locked(jbod.name)
    const before = jbod.state
    return {
      name: 'Delete',
      category: 'sas-logical-jbods',
      resource: { uri: jbod.uri, name: jbod.name },
      accepted: () => this.become(jbod, 'Deleting'),
      steps: [
        { says: 'Validating', run: () => this.#checkUnattached(jbod) },
        { says: 'Releasing drives', run: () => this.release(jbod) },
      ],
      done: 'Removed SAS logical JBOD successfully.',
      failed: 'Unable to remove SAS logical JBOD.',
      undo: () => {
        this.become(jbod, before)
        this.#settleLater(jbod)
      },
    }
  }

  /** The drives are free when they are sanitised, if that was wanted and they can. */
  async release(jbod: Jbod): Promise<void> {
    const toErase = jbod.eraseData ? jbod.drives.filter(({ canErase }) => canErase) : []
    if (toErase.length > 0) await this.#pace.wait(this.#knobs.sanitiseMs)
    for (const drive of toErase) {
      drive.erased = true
      this.#zoning.erased(drive)
    }
    this.free(jbod)
  }

  free(jbod: Jbod): void {
    this.#frame.jbods.delete(jbod.uuid)
    this.#index.changed(jbod.drives)
  }

  /** Fails, is about to, or is well again. */
  setHealth(drive: Drive, health: Health): void {
    drive.health = health
    const jbod = this.#frame.jbodOf(drive)
    if (jbod !== undefined) jbod.modified = stamp().toISOString()
    this.#index.changed([drive])
  }

  #checkUnattached(jbod: Jbod): void {
    const attachment = this.#frame.attachmentOf(jbod)
    if (attachment === undefined) return
    throw new TaskFailed(
      'DFRM_SAS_LOGICAL_JBOD_UNABLE_TO_DELETE_SP_EXISTS',
      `SAS logical JBOD ${jbod.name} is assigned to server profile ${attachment.profile.body.name}.`,
    )
  }

  /** The codes are guesses: that drives of another's, or of two kinds, are refused is known from the form of a JBOD [?]. */
  #check(drives: readonly Drive[]): readonly Drive[] {
    const [first] = drives
    for (const drive of drives) {
      const taken = this.#frame.jbodOf(drive)
      if (taken !== undefined)
        throw new TaskFailed(
          'DFRM_DRIVE_BAY_IN_USE',
          `Drive bay ${drive.bay} is in use by SAS logical JBOD ${taken.name}.`,
        )
      if (drive.health === 'Failed')
        throw new TaskFailed('DFRM_DRIVE_FAILED', `The drive in bay ${drive.bay} has failed.`)
      if (drive.enclosure.sas !== first!.enclosure.sas)
        throw new TaskFailed('DFRM_DRIVES_NOT_TOGETHER', 'The drives are in different domains.')
      if (!sameTechnology(technologyOf(drive), technologyOf(first!)))
        throw new TaskFailed('DFRM_DRIVES_NOT_ALIKE', 'The drives are of different technologies.')
    }
    return drives
  }

  #pick(criteria: Criteria): readonly Drive[] {
    const { numPhysicalDrives: count, minSizeGB, maxSizeGB } = criteria
    if (count < 1 || minSizeGB < 1 || maxSizeGB < minSizeGB)
      throw new TaskFailed(
        'DirectFabricJbodInvalidNumMinSizeGb',
        'The number or the sizes of the drives are not valid.',
      )
    const matching = this.#frame.drives.filter(
      (drive) =>
        this.#frame.isFree(drive) &&
        drive.health === 'OK' &&
        sameTechnology(technologyOf(drive), criteria.technology) &&
        drive.capacityGB >= minSizeGB &&
        drive.capacityGB <= maxSizeGB &&
        (criteria.sas === null || criteria.sas === drive.enclosure.sas) &&
        (criteria.enclosureUris === null || criteria.enclosureUris.includes(drive.enclosure.uri)),
    )
    for (const sas of this.#frame.sas) {
      const together = matching.filter(({ enclosure }) => enclosure.sas === sas)
      if (together.length >= count) return together.slice(0, count)
    }
    throw new TaskFailed(
      'DFRM_INSUFFICIENT_DRIVE_COUNT',
      `There are not enough drives that match: ${count} are wanted.`,
    )
  }
}
