import sodium from 'sodium-native'
import { CorruptError, FsError, hexId, type VolumeId } from '../base/index.ts'
import { type KeyBundle, parseBundle } from './bundle.ts'
import { backupTitle } from './domains.ts'

/**
 * A bundle as text to print or store: title, `Field: value` lines, a blank line, base64 of the JSON, a blank line, the
 * checksum of all lines before it. The keys in it stay wrapped; the checksum finds damage, not forgery.
 */

const lineChars = 76

export function exportBundle(bundle: KeyBundle, volumeId: VolumeId): string {
  const body = Buffer.from(JSON.stringify(bundle)).toString('base64')
  const lines = [backupTitle, 'Version: 1', `Volume: ${volumeId}`, `Key-Epoch: ${bundle.newest}`]
  for (const slot of bundle.slots) lines.push(`Slot: ${slot.id} ${slot.kind} ${slot.label}`.trim())
  lines.push('')
  for (let at = 0; at < body.length; at += lineChars) lines.push(body.slice(at, at + lineChars))
  lines.push('')
  return `${[...lines, `Checksum: ${checksumOf(lines)}`].join('\n')}\n`
}

/**
 * Reads a backup; line ends, trailing blanks and blank lines around it do not matter.
 * @param volumeId the volume it must be of; null when the caller asks the backup
 * @throws FsError EINVAL when it is no backup or of another volume, ENOTSUP when newer than this program; CorruptError when damaged
 */
export function importBundle(
  text: string,
  volumeId: VolumeId | null,
): { volumeId: VolumeId; bundle: KeyBundle } {
  const lines = text
    .trim()
    .split('\n')
    .map((line) => line.trimEnd())
  if (lines[0] !== backupTitle) throw refused(`not a key backup: line 1 is not ${backupTitle}`)
  const version = field(lines, 'Version')
  if (version !== '1') {
    throw new FsError('ENOTSUP', 'key.import', {
      version,
      message: `key.import: the backup has version ${version}, this weft knows 1; use a newer weft`,
    })
  }
  const last = lines.pop() ?? ''
  if (last !== `Checksum: ${checksumOf(lines)}`) {
    throw new CorruptError('key backup damaged or cut short: its checksum does not fit')
  }
  const owner = field(lines, 'Volume')
  if (!/^[0-9a-f]{32}$/.test(owner)) throw new CorruptError('key backup without a volume id')
  if (volumeId !== null && owner !== volumeId) {
    throw refused(`a backup of volume ${owner}, not of ${volumeId}`, { backupOf: owner })
  }
  const bodyAt = lines.indexOf('') + 1
  return { volumeId: hexId<VolumeId>(owner), bundle: parseBody(lines.slice(bodyAt).join('')) }
}

function parseBody(base64: string): KeyBundle {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(base64, 'base64').toString())
  } catch (error) {
    throw new CorruptError('key backup whose body is not JSON', {}, error)
  }
  return parseBundle(value)
}

function field(lines: readonly string[], name: string): string {
  return lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? ''
}

function refused(why: string, subject: { backupOf?: string } = {}): FsError {
  return new FsError('EINVAL', 'key.import', { ...subject, message: `key.import: this is ${why}` })
}

function checksumOf(lines: readonly string[]): string {
  const hash = Buffer.alloc(32)
  sodium.crypto_generichash(hash, Buffer.from(lines.join('\n')))
  return hash.toString('hex')
}
