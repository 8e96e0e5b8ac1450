import type { World } from './asking.ts'
import type { Body } from './fixtures.ts'

/** What the tests do with JBODs and profiles over and over. */

export const SATA_HDD = { capacityGB: 500, media: 'HDD', interfaceType: 'SATA' } as const
export const SAS_SSD = { capacityGB: 800, media: 'SSD', interfaceType: 'SAS' } as const

/** Makes a JBOD of the drives in these places. @returns its body */
export async function newJbod(
  { simulator, work, ask }: World,
  name: string,
  places: readonly number[],
  more: Body = {},
): Promise<Body> {
  const driveBayUris = places.map((place) => simulator.frame.drives[place]!.bayUri)
  const task = await work('POST', '/rest/sas-logical-jbods', {
    body: { name, driveBayUris, eraseData: false, ...more },
  })
  const { resourceUri } = task.associatedResource as { resourceUri: string }
  return (await ask('GET', resourceUri)).body
}

export function profileUri({ simulator }: World, blade = 'blade1'): string {
  return simulator.frame.blade(blade).profile!.uri
}

/** An entry that names a JBOD which is there. */
export function entryOf(id: number, jbod: Body, more: Body = {}): Body {
  const { deviceInterface, driveMedia } = jbod.driveTechnology as Record<string, string>
  const word = (text: string) => text[0] + text.slice(1).toLowerCase()
  return {
    id,
    deviceSlot: 'Mezz 1',
    name: jbod.name,
    numPhysicalDrives: jbod.numPhysicalDrives,
    driveMinSizeGB: jbod.minSizeGB,
    driveMaxSizeGB: jbod.maxSizeGB,
    driveTechnology: `${word(deviceInterface!)}${word(driveMedia!)}`,
    eraseData: jbod.eraseData,
    persistent: true,
    sasLogicalJBODUri: jbod.uri,
    ...more,
  }
}

/** The profile as read, with other entries. */
export async function withEntries(
  world: World,
  entries: readonly Body[],
  blade = 'blade1',
): Promise<Body> {
  const { body } = await world.ask('GET', profileUri(world, blade))
  return { ...body, localStorage: { ...(body.localStorage as Body), sasLogicalJBODs: entries } }
}

/** Reads the profile, puts it back with these entries. @returns the task when it has ended */
export async function putEntries(
  world: World,
  entries: readonly Body[],
  blade = 'blade1',
): Promise<Body> {
  const body = await withEntries(world, entries, blade)
  return world.work('PUT', profileUri(world, blade), { body })
}
