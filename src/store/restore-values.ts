import { firstHead, type JournalHead, scan } from '../journal/index.ts'
import { type Change, decodeChanges } from '../meta/index.ts'
import { checkpointValues } from './checkpoint.ts'
import type { Engine } from './engine.ts'
import { turn, type Work } from './work.ts'

const RECORDS_PER_TURN = 500

/**
 * Puts values of the view right by what checkpoint and journal say of their keys, while the volume is in use. No record
 * is made: the log says it already.
 * @returns by key as latin1: what the log has for it, null when it has nothing
 * @throws CorruptError when checkpoint or journal are damaged themselves; nothing was changed then
 */
export async function restoreValues(
  engine: Engine,
  keys: readonly Buffer[],
  work: Work,
): Promise<Map<string, Buffer | null>> {
  const { volume, checkpoints } = engine
  const release = await checkpoints.hold()
  try {
    const wanted = new Set(keys.map((key) => key.toString('latin1')))
    const { id, journalDirectory } = volume.opening
    const logged = checkpointValues(volume, wanted)
    const values = logged?.values ?? new Map<string, Buffer | null>()
    let head: JournalHead | null = logged?.head ?? firstHead(volume.disk, journalDirectory, id)
    const read = function* (from: JournalHead | null, upTo: JournalHead) {
      for (const record of scan(volume.disk, journalDirectory, id, from, volume.sealer, {
        upTo: upTo.seq,
      })) {
        for (const { key, value } of decodeChanges(record.body as Buffer)) {
          const name = key.toString('latin1')
          if (wanted.has(name)) values.set(name, value ? Buffer.from(value) : null)
        }
        head = record.head
        yield
      }
    }
    let count = 0
    for (const _ of read(head, volume.shared.head)) {
      if (++count % RECORDS_PER_TURN === 0) await turn(work)
    }
    engine.locked(() => {
      for (const _ of read(head, volume.shared.head));
      const changes: Change[] = keys.map((key) => ({
        key,
        value: values.get(key.toString('latin1')) ?? null,
      }))
      const at = volume.view.head()
      if (at) volume.view.apply(changes, at)
    })
    return new Map(
      keys.map((key) => [key.toString('latin1'), values.get(key.toString('latin1')) ?? null]),
    )
  } finally {
    release()
  }
}
