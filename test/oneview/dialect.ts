/** What of the appliance's speech depends on X-API-Version. Source: facts §2.2, §5; a [?] marks where the step is a guess. */
export interface Dialect {
  readonly version: number
  readonly profileType: string
  readonly jbodType: string
  readonly hardwareType: string
  readonly taskType: string
  /** JBODs can be made, changed and deleted by themselves, and profile entries have `persistent` and `description`. */
  readonly ownJbods: boolean
  /** Where a JBOD tells its bays. */
  readonly baysField: 'driveBayUris' | 'logicalDriveBayUris'
}

/** The versions of releases with Synergy; no number between two of them is valid [?]. */
const VERSIONS: readonly number[] = [
  300, 500, 600, 800, 1000, 1200, 1600, 1800, 2000, 2200, 2400, 2600, 2800, 3000, 3200, 3400, 3600,
  3800, 4000, 4200, 4400, 4600, 4800, 5000, 5200, 5400, 5600, 5800, 6000, 6200, 6400, 6600, 6800,
  7000, 7200, 7400, 7600, 7800, 8000, 8200, 8400, 8600,
]

const PROFILE_TYPES: Readonly<Record<number, string>> = {
  300: 'ServerProfileV6',
  500: 'ServerProfileV7',
  600: 'ServerProfileV8',
  800: 'ServerProfileV9',
  1000: 'ServerProfileV10',
  1200: 'ServerProfileV11',
}

function jbodTypeOf(version: number): string {
  if (version < 500) return 'sas-logical-jbod' // [?]
  return version < 800 ? 'sas-logical-jbodV2' : 'sas-logical-jbodV4'
}

function hardwareTypeOf(version: number): string {
  if (version < 600) return 'server-hardware-5'
  return version < 1600 ? 'server-hardware-8' : 'server-hardware-10' // [?] which of the two from when
}

/** @returns null for a version that no release of Synergy had */
export function dialectOf(version: number): Dialect | null {
  if (!VERSIONS.includes(version)) return null
  return {
    version,
    profileType: PROFILE_TYPES[version] ?? 'ServerProfileV12',
    jbodType: jbodTypeOf(version),
    hardwareType: hardwareTypeOf(version),
    taskType: version < 1200 ? 'TaskResourceV2' : 'TaskResourceV3', // [?] V3 is only known to be later
    ownJbods: version >= 800, // [?] seen at 800 and 1000; where it began is unknown
    baysField: version < 1600 ? 'logicalDriveBayUris' : 'driveBayUris', // [?] somewhere above 1200
  }
}
