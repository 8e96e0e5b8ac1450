import type { Appliance } from './appliance.ts'
import { type Collection, listAll } from './collections.ts'
import { type Dmi, findSelf, inReach, type SasSlot, type Self, sasSlotOf } from './find-self.ts'
import { Inventory } from './inventory.ts'
import {
  type DriveEnclosure,
  driveEnclosure,
  type IndexDrive,
  indexDrive,
  type JbodAttachment,
  jbodAttachment,
  type LogicalJbod,
  logicalJbod,
  type SasLogicalInterconnect,
  type ServerHardware,
  type ServerProfile,
  sasLogicalInterconnect,
  serverHardware,
  serverProfile,
} from './resources.ts'

const PROFILES: Collection<ServerProfile> = {
  path: '/rest/server-profiles',
  what: 'server profiles',
  shape: serverProfile,
}
const HARDWARE: Collection<ServerHardware> = {
  path: '/rest/server-hardware',
  what: 'server hardware',
  shape: serverHardware,
}
const ENCLOSURES: Collection<DriveEnclosure> = {
  path: '/rest/drive-enclosures',
  what: 'drive enclosures',
  shape: driveEnclosure,
}
const LOGICAL_INTERCONNECTS: Collection<SasLogicalInterconnect> = {
  path: '/rest/sas-logical-interconnects',
  what: 'SAS logical interconnects',
  shape: sasLogicalInterconnect,
}
const JBODS: Collection<LogicalJbod> = {
  path: '/rest/sas-logical-jbods',
  what: 'logical JBODs',
  shape: logicalJbod,
}
const ATTACHMENTS: Collection<JbodAttachment> = {
  path: '/rest/sas-logical-jbod-attachments',
  what: 'attachments of logical JBODs',
  shape: jbodAttachment,
}
const INDEX: Collection<IndexDrive> = {
  path: '/rest/index/resources',
  what: 'drives of the index',
  shape: indexDrive,
}

/** What weft reads of the appliance. Nothing is kept: an hour later a blade may sit elsewhere. */
export class Frame {
  readonly #appliance: Appliance
  readonly #dmi: Dmi

  constructor(appliance: Appliance, dmi: Dmi) {
    this.#appliance = appliance
    this.#dmi = dmi
  }

  profiles(signal: AbortSignal): Promise<ServerProfile[]> {
    return listAll(this.#appliance, PROFILES, signal)
  }

  enclosures(signal: AbortSignal): Promise<DriveEnclosure[]> {
    return listAll(this.#appliance, ENCLOSURES, signal)
  }

  async inventory(signal: AbortSignal): Promise<Inventory> {
    return new Inventory(await this.enclosures(signal))
  }

  logicalInterconnects(signal: AbortSignal): Promise<SasLogicalInterconnect[]> {
    return listAll(this.#appliance, LOGICAL_INTERCONNECTS, signal)
  }

  attachments(signal: AbortSignal): Promise<JbodAttachment[]> {
    return listAll(this.#appliance, ATTACHMENTS, signal)
  }

  jbods(signal: AbortSignal): Promise<LogicalJbod[]> {
    return listAll(this.#appliance, JBODS, signal)
  }

  /** Of this very name; the appliance's own filter ignores case, or everything (facts §2.4). */
  async jbodsNamed(name: string, signal: AbortSignal): Promise<LogicalJbod[]> {
    const filter = `"name='${name}'"`
    const jbods = await listAll(this.#appliance, JBODS, signal, { filter })
    return jbods.filter((jbod) => jbod.name === name)
  }

  async indexDrives(enclosure: DriveEnclosure, signal: AbortSignal): Promise<IndexDrive[]> {
    const drives = await listAll(this.#appliance, INDEX, signal, {
      category: 'drives',
      // -1 is not known to be understood by the index; the toolkit asks for so many (facts §4.2).
      count: '10000',
      filter: `"driveEnclosureUri:${enclosure.uri}"`,
    })
    return drives.filter(({ attributes }) => attributes.driveEnclosureUri === enclosure.uri)
  }

  /** @throws FsError ENODEV, EEXIST: find-self.ts */
  async self(profiles: readonly ServerProfile[], signal: AbortSignal): Promise<Self> {
    return findSelf(this.#dmi, profiles, await listAll(this.#appliance, HARDWARE, signal))
  }

  async reach(
    { hardware }: Self,
    signal: AbortSignal,
  ): Promise<{ slot: SasSlot; enclosures: DriveEnclosure[] }> {
    const slot = sasSlotOf(hardware)
    const enclosures = await this.enclosures(signal)
    const isNamed = enclosures.every(({ interconnectUri }) => interconnectUri?.length)
    const groups = isNamed ? [] : await this.logicalInterconnects(signal)
    return { slot, enclosures: inReach(enclosures, slot, groups) }
  }
}
