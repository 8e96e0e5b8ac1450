import { checkAppliance } from '../../src/provision/oneview/check.ts'
import { Frame } from '../../src/provision/oneview/frame.ts'
import { OneViewProvisioner } from '../../src/provision/oneview/oneview-provisioner.ts'
import { fixture } from './fixture.ts'
import { pageOf, type Reply, running, Script, scripted } from './script.ts'

export const PROFILE = '/rest/server-profiles/b425802b-a6a5-4941-8885-aab68dfa2ee2'
export const JBOD = '/rest/sas-logical-jbods/0a'
export const TASK = '/rest/tasks/A'
export const PREFIX = 'weft-0123456789ab-'
export const TAG = `${PREFIX}c0ffee000000-111111111111`
const dmi = { uuid: 'b425802b-a6a5-4941-8885-aab68dfa2ee2', serial: 'VCGU6DA002' }

/** The frame of the fixtures: one blade with two JBODs of its own, and 40 drives in reach, which the index knows. */
export class World {
  readonly script = new Script()
  readonly profile = fixture('ServerProfile')
  readonly enclosures = fixture('DriveEnclosureList')
  readonly jbods = fixture('SASLogicalJBODListForStorage')
  readonly attachments: object[] = []
  readonly index = new Map<
    string,
    { uri: string; status: string; attributes: Record<string, string> }
  >()
  readonly provisioner: OneViewProvisioner
  readonly check: () => ReturnType<typeof checkAppliance>

  constructor() {
    const { script, clock, appliance } = scripted(this.script)
    const frame = new Frame(appliance, dmi)
    this.provisioner = new OneViewProvisioner({ appliance, frame, tagPrefix: PREFIX, clock })
    this.check = () => checkAppliance(appliance, frame, dmi, clock, running)
    for (const { drive } of this.enclosures[0].driveBays) this.#addToIndex(drive)
    script
      .on('GET', '/rest/server-profiles', () => pageOf([this.profile]))
      .on('GET', PROFILE, () => ({ body: this.profile }))
      .on('GET', '/rest/server-hardware', () => pageOf(fixture('ServerHardwareList')))
      .on('GET', /^\/rest\/server-hardware\/./, () => ({
        body: { ...fixture('ServerHardware'), state: 'ProfileApplied' },
      }))
      .on('GET', '/rest/drive-enclosures', () => pageOf(this.enclosures))
      .on('GET', '/rest/sas-logical-jbods', () => pageOf(this.jbods))
      .on('GET', /^\/rest\/sas-logical-jbods\/[^/]+$/, ({ path }) => this.#jbod(path))
      .on('GET', /^\/rest\/sas-logical-jbods\/[^/]+\/drives$/, ({ path }) => this.#drivesOf(path))
      .on('GET', '/rest/sas-logical-jbod-attachments', () => pageOf(this.attachments))
      .on('GET', '/rest/sas-logical-interconnects', pageOf([]))
      .on('GET', '/rest/index/resources', () => pageOf([...this.index.values()]))
      .on('GET', /^\/rest\/index\/resources\/rest\/drives\//, ({ path }) => ({
        body: this.index.get(path.slice('/rest/index/resources'.length)),
      }))
      .on('GET', TASK, { body: { name: 'Work', taskState: 'Completed' } })
  }

  /** Of the first enclosure: bay 1 is at 0. */
  bay(number: number) {
    return this.enclosures[0].driveBays[number]
  }

  indexOf(number: number) {
    const id = this.bay(number).drive.uri.split('/').at(-1)
    return this.index.get(`/rest/drives/${id}`) as {
      status: string
      attributes: Record<string, string>
    }
  }

  /** As if weft had made it, of the drive in this bay. */
  addJbod(number: number, more: object = {}) {
    const { logicalDriveBayUris, ...like } = fixture('SASLogicalJBODListForStorage')[0]
    const sizes = { numPhysicalDrives: 1, minSizeGB: 0, maxSizeGB: 0, eraseData: true }
    const made = {
      ...like,
      ...sizes,
      uri: JBOD,
      name: TAG,
      driveBayUris: [this.bay(number).uri],
      ...more,
    }
    this.jbods.push(made)
    this.indexOf(number).attributes.available = 'no'
    return made
  }

  removeJbod(): void {
    this.jbods.splice(
      this.jbods.findIndex(({ uri }: { uri: string }) => uri === JBOD),
      1,
    )
  }

  /** Writes are carried out at once, under a task that has ended. */
  carryOut(): this {
    this.script
      .on('PUT', PROFILE, ({ body }) => {
        Object.assign(this.profile, body, { eTag: `${this.profile.eTag}+` })
        return { status: 202, headers: { location: TASK } }
      })
      .on('POST', '/rest/sas-logical-jbods', ({ body }) => {
        const bay = this.enclosures[0].driveBays.findIndex(
          (one: { uri: string }) => one.uri === body.driveBayUris[0],
        )
        this.addJbod(bay, body)
        return { status: 202, headers: { location: TASK } }
      })
      .on('DELETE', JBOD, () => {
        this.removeJbod()
        return { status: 202, headers: { location: TASK } }
      })
    return this
  }

  #addToIndex({ uri, driveMedia, deviceInterface, capacity }: Record<string, string>): void {
    const drive = {
      ...fixture('Drive'),
      uri: `/rest/drives/${uri?.split('/').at(-1)}`,
      attributes: {
        ...fixture('Drive').attributes,
        driveEnclosureUri: this.enclosures[0].uri,
        mediaType: driveMedia,
        interfaceType: deviceInterface,
        capacityInGB: capacity,
      },
    }
    this.index.set(drive.uri, drive)
  }

  #jbod(path: string): Reply {
    const body = this.jbods.find(({ uri }: { uri: string }) => uri === path)
    return body
      ? { body }
      : { status: 404, body: { errorCode: 'DFRM_SAS_LOGICAL_JBOD_NOT_FOUND', message: 'No.' } }
  }

  /** The two JBODs of the fixtures have the drives of bays 39 and 40, and of no bay that is known. */
  #drivesOf(path: string): Reply {
    const isFirst = path.startsWith(this.jbods[0].uri)
    return {
      body: isFirst ? [this.bay(38).drive, { serialNumber: this.bay(39).drive.serialNumber }] : [],
    }
  }
}
