import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { CorruptError, codeOf, FsError, isBug, messageOf, type NodeId } from '../base/index.ts'
import { systemDisk } from '../disk/index.ts'
import { type Drive, initDrive, openDrive, type ServiceClass } from '../drives/index.ts'
import { clearDrive } from './clear-drive.ts'

const FORMAT = 1

const entry = z.strictObject({ dir: z.string().startsWith('/') })
const shape = z.strictObject({
  version: z.literal(FORMAT),
  drives: z.array(entry),
  /** Empty ones that were taken out: what weft made on them goes at the next start. */
  leaving: z.array(entry).optional(),
})
type DriveList = Omit<z.infer<typeof shape>, 'version'>

/**
 * The drives of a home: <home>/drives.json names their directories. The first start makes one, <home>/drives/default.
 * @throws FsError of openDrive when one of them is not there or not ours; CorruptError
 */
export function openDrives(home: string, node: NodeId): Drive[] {
  const path = join(home, 'drives.json')
  if (!systemDisk.exists(path)) {
    const dir = join(home, 'drives', 'default')
    systemDisk.mkdir(dir)
    initDrive(dir, { class: 2, nodeId: node }, systemDisk)
    write(path, { drives: [{ dir }] })
  }
  return read(path).drives.map(({ dir }) => openDrive(dir, { nodeId: node }))
}

/**
 * What weft made on drives that were taken out goes, the label last. Nothing of them is open any more.
 * @returns what could not be cleared, in words: such a drive is out all the same
 */
export function clearLeaving(home: string): string[] {
  const path = join(home, 'drives.json')
  if (!systemDisk.exists(path)) return []
  const { drives, leaving = [] } = read(path)
  const troubles: string[] = []
  for (const { dir } of leaving) {
    try {
      clearDrive(dir, systemDisk)
    } catch (error) {
      if (isBug(error)) throw error
      troubles.push(`${dir}: ${messageOf(error)}`)
    }
  }
  if (leaving.length > 0) write(path, { drives })
  return troubles
}

/** It is no drive of this node from the next start of the daemon on. It is empty: nobody looks at that here. */
export function leaveDrive(home: string, { dir }: Drive): void {
  const path = join(home, 'drives.json')
  const { drives, leaving = [] } = read(path)
  write(path, {
    drives: drives.filter((one) => one.dir !== dir),
    leaving: [...leaving.filter((one) => one.dir !== dir), { dir }],
  })
}

/** Label a directory as a further drive and remember it; it is used from the next start of the daemon. */
export function addDrive(home: string, node: NodeId, directory: string, cos: ServiceClass): Drive {
  const path = join(home, 'drives.json')
  const dir = resolve(directory)
  const list = read(path)
  if (list.drives.some((one) => one.dir === dir)) {
    throw new FsError('EEXIST', 'drive.add', {
      message: `${dir} is a drive of this node already`,
      next: 'weft drive list shows them; name another directory',
    })
  }
  const drive = initDrive(dir, { class: cos, nodeId: node }, systemDisk)
  write(path, { ...list, drives: [...list.drives, { dir }] })
  return drive
}

function read(path: string): DriveList {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    if (codeOf(error)) throw error
    throw damaged(path, error)
  }
  const { version } = (value ?? {}) as { version?: unknown }
  if (typeof version === 'number' && version > FORMAT) {
    throw new FsError('ENOTSUP', 'drives', {
      message: `${path}: written by a newer weft (version ${version}, this build reads ${FORMAT}): run that build`,
    })
  }
  const parsed = shape.safeParse(value)
  if (!parsed.success) throw damaged(path, parsed.error)
  return parsed.data
}

function damaged(path: string, cause: unknown): CorruptError {
  const message = `${path}: damaged; put it back from a backup, or name each drive's directory in it again`
  return new CorruptError(message, {}, cause)
}

function write(path: string, list: DriveList): void {
  const text = JSON.stringify({ version: FORMAT, ...list }, null, 2)
  systemDisk.replaceFile(path, Buffer.from(`${text}\n`))
}
