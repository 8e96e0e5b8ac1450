import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { CorruptError, codeOf, FsError, type NodeId } from '../base/index.ts'
import { systemDisk } from '../disk/index.ts'
import { type Drive, initDrive, openDrive, type ServiceClass } from '../drives/index.ts'

const FORMAT = 1

const shape = z.strictObject({
  version: z.literal(FORMAT),
  drives: z.array(z.strictObject({ dir: z.string().startsWith('/') })),
})

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
    write(path, [dir])
  }
  return read(path).map((dir) => openDrive(dir, { nodeId: node }))
}

/** Label a directory as a further drive and remember it; it is used from the next start of the daemon. */
export function addDrive(home: string, node: NodeId, directory: string, cos: ServiceClass): Drive {
  const path = join(home, 'drives.json')
  const dir = resolve(directory)
  const dirs = read(path)
  if (dirs.includes(dir)) {
    throw new FsError('EEXIST', 'drive.add', {
      message: `${dir} is a drive of this node already`,
      next: 'weft drive list shows them; name another directory',
    })
  }
  const drive = initDrive(dir, { class: cos, nodeId: node }, systemDisk)
  write(path, [...dirs, dir])
  return drive
}

function read(path: string): string[] {
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
  return parsed.data.drives.map(({ dir }) => dir)
}

function damaged(path: string, cause: unknown): CorruptError {
  const message = `${path}: damaged; put it back from a backup, or name each drive's directory in it again`
  return new CorruptError(message, {}, cause)
}

function write(path: string, dirs: readonly string[]): void {
  const text = JSON.stringify({ version: FORMAT, drives: dirs.map((dir) => ({ dir })) }, null, 2)
  systemDisk.replaceFile(path, Buffer.from(`${text}\n`))
}
