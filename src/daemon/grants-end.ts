import { join } from 'node:path'
import { type Clock, sleep, suspendProof, type VolumeId } from '../base/index.ts'
import { grantedUntil } from '../fuse/index.ts'

/**
 * Fulfilled when no other node's kernel keeps anything of a volume that a life of the daemon before this one let it: nothing
 * of it may change before. Some seconds after a death, at once after an orderly end.
 */
export async function grantsEnd(
  stagingDirectory: string,
  volume: VolumeId,
  clock: Clock,
): Promise<void> {
  const untilMs = grantedUntil(join(stagingDirectory, volume))
  const leaseClock = suspendProof(clock)
  for (;;) {
    const leftMs = untilMs - leaseClock.monotonicMs()
    if (leftMs <= 0) return
    await sleep(clock, leftMs)
  }
}
