import { FsError } from '../../base/index.ts'
import { decode, versionBody } from './resources.ts'

/**
 * X-API-Versions that weft speaks: from OneView 4.10, the first whose JBODs outlive their profile, to 10.20, the last whose
 * resource types are known (facts §2.2). Newer appliances still speak this one.
 */
export const API_VERSION_MIN = 800
export const API_VERSION_MAX = 8000

/** @param body of GET /rest/version @throws FsError EPROTONOSUPPORT when the appliance and weft have no version in common */
export function pickVersion(body: unknown): number {
  const { currentVersion, minimumVersion } = decode(versionBody, body, 'the list of API versions')
  const version = Math.min(API_VERSION_MAX, currentVersion)
  if (version >= API_VERSION_MIN && version >= minimumVersion) return version
  const isOld = currentVersion < API_VERSION_MIN
  throw new FsError('EPROTONOSUPPORT', 'oneview.version', {
    currentVersion,
    minimumVersion,
    message: `oneview: the appliance speaks API ${minimumVersion} to ${currentVersion}, weft ${API_VERSION_MIN} to ${API_VERSION_MAX}: ${isOld ? 'the appliance is too old' : 'this weft is too old'}`,
    next: isOld ? 'update the appliance to OneView 4.10 or newer' : 'update weft',
  })
}
