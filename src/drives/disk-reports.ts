import { FsError, messageOf } from '../base/index.ts'

/** One device as `lsblk --json --bytes --nodeps` tells it. */
export interface LsblkRow {
  readonly path: string
  /** Name below /sys/block. */
  readonly name: string
  /** 'major:minor' */
  readonly device: string
  readonly type: string
  readonly sizeBytes: number
  readonly model: string
  readonly serial: string
  readonly wwn: string
  readonly transport: string
  readonly isRotational: boolean
  readonly isReadOnly: boolean
}

/** The columns parseLsblk reads; all of them are in util-linux 2.33 (2018). */
export const LSBLK_COLUMNS = 'PATH,KNAME,MAJ:MIN,TYPE,SIZE,MODEL,SERIAL,WWN,TRAN,ROTA,RO'

/** What wipefs found on a device. */
export interface Signature {
  /** xfs, ext4, swap, gpt, dos, LVM2_member, linux_raid_member, crypto_LUKS, … */
  readonly type: string
  readonly offsetBytes: number
  readonly label: string
  readonly uuid: string
}

/** @throws FsError EIO when this is not lsblk's JSON */
export function parseLsblk(text: string): LsblkRow[] {
  const rows: LsblkRow[] = []
  for (const item of listIn('lsblk', text, 'blockdevices')) {
    const path = words(item.path)
    const name = words(item.kname)
    if (path === '' || name === '') continue
    rows.push({
      path,
      // The kernel writes a slash in a name (cciss/c0d0) as an exclamation mark below /sys.
      name: name.replaceAll('/', '!'),
      device: words(item['maj:min']),
      type: words(item.type),
      sizeBytes: Number(item.size ?? 0),
      model: words(item.model),
      serial: words(item.serial),
      wwn: words(item.wwn),
      transport: words(item.tran),
      isRotational: flag(item.rota),
      isReadOnly: flag(item.ro),
    })
  }
  return rows
}

/** @throws FsError EIO when this is not wipefs's JSON */
export function parseWipefs(text: string): Signature[] {
  // wipefs 2.38 answers a list; before 2.33 it says nothing at all when there is none.
  if (text.trim() === '') return []
  return listIn('wipefs', text, 'signatures').map((item) => ({
    type: words(item.type),
    offsetBytes: Number(item.offset ?? 0),
    label: words(item.label),
    uuid: words(item.uuid),
  }))
}

/** 'xfs "data" (uuid 0123…) at byte 0, gpt at byte 512' */
export function describeSignatures(found: readonly Signature[]): string {
  return found
    .map(({ type, offsetBytes, label, uuid }) => {
      const named = label === '' ? '' : ` "${label}"`
      const known = uuid === '' ? '' : ` (uuid ${uuid})`
      return `${type}${named}${known} at byte ${offsetBytes}`
    })
    .join(', ')
}

function listIn(tool: string, text: string, field: string): Readonly<Record<string, unknown>>[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw unreadable(tool, messageOf(cause), cause)
  }
  const list = (value as Readonly<Record<string, unknown>> | null)?.[field]
  if (!Array.isArray(list)) throw unreadable(tool, `it has no list "${field}"`)
  return list.filter((item) => typeof item === 'object' && item !== null)
}

function unreadable(tool: string, why: string, cause?: unknown): FsError {
  return new FsError('EIO', tool, {
    cause,
    message: `what ${tool} printed is not what it prints: ${why}`,
    next: `compare with ${tool} of util-linux 2.33 or later`,
  })
}

function words(value: unknown): string {
  return typeof value === 'string' ? value.trim() : ''
}

/** true, or "1" as before util-linux 2.33. */
function flag(value: unknown): boolean {
  return value === true || value === '1'
}
