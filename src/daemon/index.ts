/**
 * daemon: the composition root. Reads the home, opens every room, wires them, starts and stops them in order; holds the
 * engine thread and one worker thread for each mount. Started by the keeper, never by a person. Nobody imports it but main.
 */
import { FsError, messageOf, openLog, systemClock } from '../base/index.ts'
import { KeeperClient, removeStagingDir, runDirOf } from '../fuse/index.ts'
import { Node } from './node.ts'

/** Time for everything to settle once the keeper asked to stop; it kills after 10 s. */
const STOP_MS = 9_000

/** Runs until the keeper asks to stop. @returns exit code; the process may also end by its own signal */
export async function runDaemon(options: {
  home: string
  program: string
  version: string
}): Promise<number> {
  const log = openLog(2).child({ room: 'daemon' })
  const keeper = KeeperClient.connect()
  if (!keeper) {
    throw new FsError('EINVAL', 'daemon', {
      message: 'the daemon is started by its keeper: use weft up',
    })
  }
  // A worker that blocks in read cannot be joined, so this process leaves by signal (measured: exit may hang).
  const leave = () => process.kill(process.pid, 'SIGKILL')
  keeper.onLost(leave)
  const onDeath = (error: unknown) => {
    const stack = error instanceof Error ? error.stack : messageOf(error)
    log.error({ op: 'thread', stack }, 'a thread died; the daemon ends and is started anew')
    leave()
  }
  // This thread too: Node's own end would wait for the workers, and they for the kernel, for ever.
  process.on('uncaughtException', onDeath)
  const node = await Node.start({ ...options, log, keeper, leave, onDeath })
  await new Promise<void>((resolve) => keeper.onPleaseStop(resolve))
  const cancel = systemClock().after(STOP_MS, () => {
    log.error({ op: 'stop' }, `not settled within ${STOP_MS} ms; what was accepted is replayed`)
    leave()
  })
  const settled = await node.stop()
  // What could not be settled lies in staging alone, for the next start.
  if (settled) await removeStagingDir(runDirOf(options.home))
  cancel()
  log.info({ op: 'stop' }, 'stopped')
  leave()
  return 0
}
