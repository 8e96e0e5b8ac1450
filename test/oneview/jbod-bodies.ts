import type { Dialect } from './dialect.ts'
import { statusOf } from './drive-enclosures.ts'
import { technologyOf } from './drive-technology.ts'
import { type Body, fixture, uuidOf } from './fixtures.ts'
import type { Attachment, Drive, Jbod } from './model.ts'

/** GET /rest/sas-logical-jbods/{uuid} */
export function jbodBody(jbod: Jbod, dialect: Dialect): Body {
  const [captured] = fixture('SASLogicalJBODListForStorage') as unknown as [Body]
  const { logicalDriveBayUris: _, ...template } = captured
  const bays =
    dialect.baysField === 'driveBayUris'
      ? jbod.drives.map(({ bayUri }) => bayUri)
      : jbod.drives.map(logicalBayUriOf)
  const worst = jbod.drives.map(({ health }) => statusOf(health))
  const ill = jbod.state === 'ConfigError' || worst.includes('Critical')
  return {
    ...template,
    type: dialect.jbodType,
    uri: jbod.uri,
    eTag: jbod.modified,
    created: jbod.created,
    modified: jbod.modified,
    numPhysicalDrives: jbod.drives.length,
    driveTechnology: technologyOf(jbod.drives[0]!),
    minSizeGB: jbod.minSizeGB,
    maxSizeGB: jbod.maxSizeGB,
    sasLogicalInterconnectUri: jbod.sas.uri,
    [dialect.baysField]: bays,
    eraseData: jbod.eraseData,
    description: jbod.description,
    state: jbod.state,
    status: ill ? 'Critical' : worst.includes('Warning') ? 'Warning' : 'OK',
    name: jbod.name,
  }
}

function logicalBayUriOf({ enclosure, bay }: Drive): string {
  const box = uuidOf(`logical enclosure ${enclosure.serialNumber}`)
  const place = uuidOf(`logical bay ${enclosure.serialNumber} ${bay}`)
  return `${enclosure.sas.uri}/logical-drive-enclosures/${box}/logical-drive-bays/${place}`
}

/** GET /rest/sas-logical-jbod-attachments/{uuid}. No whole body was found in public: the type is a guess [?]. */
export function attachmentBody(attachment: Attachment): Body {
  return {
    type: 'sas-logical-jbod-attachment',
    uri: `/rest/sas-logical-jbod-attachments/${attachment.uuid}`,
    category: 'sas-logical-jbod-attachments',
    name: attachment.name,
    sasLogicalJBODUri: attachment.jbod.uri,
    serverHardwareUri: attachment.blade.uri,
    serverProfileUri: attachment.profile.uri,
    mezzSlotNumber: 1,
    state: attachment.jbod.state === 'ConfigError' ? 'ConfigError' : 'Configured',
    status: attachment.jbod.state === 'ConfigError' ? 'Critical' : 'OK',
    eTag: attachment.created,
    created: attachment.created,
    modified: attachment.created,
  }
}
