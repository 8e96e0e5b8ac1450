import { join } from 'node:path'
import { FsError, type KeyEpoch } from '../base/index.ts'
import { systemDisk } from '../disk/index.ts'
import type { Resealed } from '../store/index.ts'
import type { JobHandle } from './jobs.ts'
import type { Node } from './node.ts'
import type { NodeVolume } from './volumes.ts'

/** In a volume's journal directory while a reseal is not over: the key epoch that everything is to be sealed with. */
const MARK = 'reseal'

/** The key epoch of a reseal that was begun and has not ended; null when there is none. */
export function resealBegun(node: Node, volume: NodeVolume): number | null {
  const path = markOf(node, volume)
  if (!systemDisk.exists(path)) return null
  const epoch = Number(systemDisk.readFile(path).toString('utf8'))
  return Number.isSafeInteger(epoch) ? epoch : null
}

export function beginReseal(node: Node, volume: NodeVolume): void {
  const { newest } = volume.stored.record.keys
  systemDisk.replaceFile(markOf(node, volume), Buffer.from(`${newest}\n`))
}

/** Rewrites what older keys sealed, then forgets those keys: in the volume's record, and in every thread. */
export async function runReseal(node: Node, volume: NodeVolume, job: JobHandle): Promise<Resealed> {
  const { id, name, number } = volume.stored.record
  const keepFrom = volume.stored.record.keys.newest as KeyEpoch
  const done = await node.engine.call('reseal', { number, keepFrom }, [], job)
  if (!volume.opened) {
    throw new FsError('ENOKEY', 'reseal', {
      message: `volume ${name} was locked; the old keys stay`,
      next: `weft key unlock ${name}, then start it again`,
    })
  }
  const holder = { kind: 'opened', opened: volume.opened } as const
  const { stored, opened } = await node.keys.dropEpochs(id, keepFrom, holder)
  volume.stored = stored
  await node.spreadKeys(volume, opened)
  const path = markOf(node, volume)
  systemDisk.unlink(path)
  job.progress(done.bytes, done.bytes, '')
  return done
}

function markOf(node: Node, volume: NodeVolume): string {
  return join(node.volumes.journalDirectory(volume), MARK)
}
