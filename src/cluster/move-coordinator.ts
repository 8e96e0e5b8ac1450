import { type Authority, readCluster, repeated } from './authority.ts'
import { type ClusterRecord, type CoordinatorPlace, encodeRecord, RECORD_KEY } from './record.ts'

/**
 * Says in the record where the coordinator is: written into the new one once it is the one in use. Repeating it is no change.
 * @param authority whose coordinator is the new one. @param generation of it
 */
export async function recordMove(
  authority: Authority,
  place: CoordinatorPlace,
  generation: number,
): Promise<ClusterRecord> {
  return repeated('move', async () => {
    const { record, recordVersion } = await readCluster(authority)
    const moved: ClusterRecord = { ...record, coordinator: place, generation }
    if (JSON.stringify(moved) === JSON.stringify(record)) return record
    const { coordinator, log } = authority
    const done = await coordinator.compareAndSet(RECORD_KEY, recordVersion, encodeRecord(moved))
    if (!done.ok) return undefined
    log.info({ op: 'cluster.move', generation }, 'the coordinator has moved')
    return moved
  })
}
