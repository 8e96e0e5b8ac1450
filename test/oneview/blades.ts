import { type Body, fixture, uuidOf } from './fixtures.ts'
import type { Blade, BladeSpec, ControllerMode, Profile, SasInterconnects } from './model.ts'

/** A blade with its profile in force: the capture of one, with other identities. */

export const SAS_SLOT = 'Mezz 1'

export function frameNameOf(frame: number): string {
  return `0000A${66100 + frame}`
}

export function frameUriOf(frame: number): string {
  return `/rest/enclosures/000000${frameNameOf(frame)}`
}

/** @param sas of its frame, whether it is cabled to it or not */
export function newBlade(spec: BladeSpec, bay: number, sas: SasInterconnects): Blade {
  const { frame } = sas
  const uuid = (spec.uuid ?? uuidOf(`blade ${spec.name}`)).toUpperCase()
  const blade: Blade = {
    name: spec.name,
    uuid,
    uri: `/rest/server-hardware/${uuid}`,
    serialNumber: spec.serialNumber ?? `2M201${frame}${String(bay).padStart(2, '0')}GR`,
    frame,
    bay,
    hardwareName: `${frameNameOf(frame)}, bay ${bay}`,
    controller: spec.controller ?? 'P542D',
    sas: spec.cabled === false ? null : sas,
    profile: null,
    power: 'On',
  }
  if (spec.profile !== false) blade.profile = newProfile(spec, blade)
  return blade
}

function newProfile(spec: BladeSpec, blade: Blade): Profile {
  const uuid = uuidOf(`profile ${spec.name}`)
  const uri = `/rest/server-profiles/${uuid}`
  const virtual = spec.virtualUuid !== undefined || spec.virtualSerialNumber !== undefined
  const mode = spec.mode === undefined ? 'HBA' : spec.mode
  const body = {
    ...fixture('ServerProfile'),
    uri,
    name: spec.name,
    description: '',
    uuid: spec.virtualUuid ?? blade.uuid,
    serialNumber: spec.virtualSerialNumber ?? blade.serialNumber,
    serialNumberType: virtual ? 'Virtual' : 'Physical',
    serverHardwareUri: blade.uri,
    serverHardwareTypeUri: hardwareTypeUriOf(blade),
    enclosureUri: frameUriOf(blade.frame),
    enclosureBay: blade.bay,
    serverProfileTemplateUri: null,
    templateCompliance: 'Unknown',
    taskUri: null,
    scopesUri: `/rest/scopes/resources${uri}`,
    localStorage: {
      sasLogicalJBODs: [],
      controllers: mode === null ? [] : [controllerBody(mode)],
      reapplyState: 'NotApplying',
    },
  }
  return { uuid, uri, blade, body, inProgress: false, changes: 0 }
}

function controllerBody(mode: ControllerMode): Body {
  return {
    deviceSlot: SAS_SLOT,
    mode,
    initialize: false,
    importConfiguration: false,
    driveWriteCache: 'Unmanaged',
    predictiveSpareRebuild: 'Unmanaged',
    logicalDrives: [],
  }
}

export function hardwareTypeUriOf(blade: Blade): string {
  return `/rest/server-hardware-types/${uuidOf(`type ${blade.controller}`).toUpperCase()}`
}

export function modesOf(blade: Blade): readonly ControllerMode[] {
  return blade.controller === 'P542D' ? ['RAID', 'HBA'] : ['RAID', 'HBA', 'Mixed']
}
