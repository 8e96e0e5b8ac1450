import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { z } from 'zod'
import { CorruptError, FsError } from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import type { Self } from './authority.ts'
import { decodeStored, encodeJson, FORMAT } from './json.ts'
import type { ClusterRecord } from './record.ts'
import { type ClusterView, closedViewShape, closeView, openView } from './view.ts'

/** What a node keeps of its cluster, so that it starts and admits its peers while the coordinator is away. */
export interface CachedCluster {
  readonly view: ClusterView
  /** Number of the newest start (lives.ts); 0 before the first. */
  readonly start: number
}

/** <home>/cluster.json, docs/format.md §7. The text stands in it as a string, so that the check is over its very bytes: CRC32, 8 hex digits. */
const FILE = 'cluster.json'
const bytesMax = 32 * 1024 * 1024

const fileShape = z.strictObject({
  version: z.literal(FORMAT),
  check: z.string().regex(/^[0-9a-f]{8}$/),
  text: z.string(),
})
const textShape = z.strictObject({ start: z.int().min(0), view: closedViewShape })

/**
 * Null when the home is in no cluster.
 * @throws FsError ENOTSUP for a file of a newer build; CorruptError for one that is damaged or of another node
 */
export function readCache(home: string, disk: Disk, self: Self): CachedCluster | null {
  const path = join(home, FILE)
  if (!disk.exists(path)) return null
  const bytes = disk.readFile(path, bytesMax)
  try {
    const { check, text } = decodeStored(fileShape, bytes, path)
    if (check !== checkOf(text)) throw new CorruptError('its check does not fit')
    const { start, view: closed } = decodeStored(textShape, Buffer.from(text), path)
    const view = openView(closed, 'trusted')
    if (!view.members.has(self.id) && !view.removed.has(self.id)) {
      throw new CorruptError(`it is not of this node (${self.id})`)
    }
    return { view, start }
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error
    throw new CorruptError(
      `${path}: damaged; put it back from a backup, or remove it and join again with an invite`,
      { path },
      error,
    )
  }
}

/** Durable when it returns. @throws FsError of the disk, which leaves the old file */
export function writeCache(home: string, disk: Disk, { view, start }: CachedCluster): void {
  const text = JSON.stringify({ start, view: closeView(view) })
  disk.replaceFile(join(home, FILE), encodeJson({ version: FORMAT, check: checkOf(text), text }))
}

/** A node is in one cluster, for good. */
export function inOtherCluster(op: 'create' | 'join', { name, id }: ClusterRecord): FsError {
  return new FsError('EEXIST', `cluster.${op}`, {
    cluster: id,
    message: `cluster ${op}: this node is in the cluster ${name} (${id}), and a node is in one; remove it there first, and begin with an empty home`,
  })
}

function checkOf(text: string): string {
  return crc32(text).toString(16).padStart(8, '0')
}
