import { MessageChannel } from 'node:worker_threads'
import {
  background,
  type ChunkId,
  type Clock,
  type Log,
  type NodeId,
  type VolumeNumber,
} from '../base/index.ts'
import { systemDisk } from '../disk/index.ts'
import { decodeCheckpoint, type JournalHead } from '../journal/index.ts'
import {
  type AskCopy,
  type Copy,
  lead,
  type OpenedLog,
  type Owner,
  OwnerReplicas,
  type Refused,
  type SetStore,
  type Times,
  VolumeLog,
} from '../replication/index.ts'
import type { Replicas, RootAttributes, SharedVolume, VolumeOpening } from '../store/index.ts'
import type { EngineHost } from './engine-host.ts'
import { serveReplicas } from './replica-port.ts'

export interface OwnedVolumeWorld {
  readonly node: NodeId
  readonly engine: EngineHost
  readonly ask: AskCopy
  readonly store: SetStore
  readonly clock: Clock
  readonly times: Times
  readonly log: Log
  readonly number: VolumeNumber
  readonly shared: SharedVolume
  /** What the engine's thread is told to open the volume; it owns the keys in it. */
  opening(): VolumeOpening
  /** Of the root directory, for a volume whose log is empty. */
  readonly root: RootAttributes
  readonly checkView: boolean
  readChunk(chunk: ChunkId): Promise<Buffer | null>
  /** As OwnerWorld.isWhole, of replication. */
  isWhole(chunk: ChunkId, bytes: Buffer): boolean
  /** As OwnerWorld.pace, of replication. */
  pace(bytes: number, isAwaited: () => boolean): Promise<void>
  /** As OwnerWorld.awayMs, of replication. */
  awayMs(): number
  /** What was asked for is on stable storage on every copy in sync, after so long. */
  synced(ms: number): void
  /** The moment before anything of the volume is answered with an error. */
  fencing(): void
  /** Another node has the volume, or may have: its engine is to be closed. Told once, if it was served at all. */
  lost(words: string): void
}

/**
 * Take a volume of several copies over, with the engine's thread as its log.
 * @returns its owner, serving; or why not, nothing being open then. @throws as lead, and as the engine's `open`
 */
export async function ownVolume(world: OwnedVolumeWorld, copy: Copy): Promise<Owner | Refused> {
  const { engine, number, shared } = world
  shared.replicated = true
  let open = false
  let serves = false
  const settle = { resolve: (_: Replicas) => {}, reject: (_: unknown) => {} }
  const owned = new Promise<Replicas>((resolve, reject) => {
    settle.resolve = resolve
    settle.reject = reject
  })
  // Nobody may have asked yet.
  owned.catch(() => {})
  const opened = async (
    { epoch }: { epoch: VolumeLog['epoch'] },
    head: JournalHead,
  ): Promise<OpenedLog> => {
    const opening = world.opening()
    const { port1, port2 } = new MessageChannel()
    serveReplicas(port2, owned, world.clock, (ms) => world.synced(ms))
    const root = head.seq === 0 ? world.root : null
    const args = { opening, epoch, root, checkView: world.checkView, replicas: port1 }
    await engine.call('open', args, [opening.keys.bytes, port1])
    open = true
    const log = new VolumeLog({
      disk: systemDisk,
      volume: opening.id,
      directory: opening.journalDirectory,
      fencing: () => world.fencing(),
      shared,
      epoch,
      from: head,
    })
    const checkpoint = await engine.call('checkpoint', { number })
    return {
      log,
      first: log.head,
      chunksInUse: () => engine.call('chunksInUse', { number }),
      readChunk: (chunk) => world.readChunk(chunk),
      checkpoint: checkpoint && decodeCheckpoint(opening.id, Buffer.from(checkpoint)),
      unnamed: (chunks) => engine.call('unnamed', { number, chunks }),
      pinCheckpoint: async () => {
        const pin = await engine.call('pinCheckpoint', { number })
        return () => {
          engine.call('unpinCheckpoint', { pin }).catch(background(world.log, 'unpin'))
        }
      },
    }
  }
  const leave = async (why: unknown) => {
    settle.reject(why)
    if (open) await engine.call('close', { number, clean: false })
  }
  try {
    const { node, ask, store, clock, times, log: report } = world
    const lost = (words: string) => {
      if (serves) world.lost(words)
    }
    const volume = copy.identity.volume
    const led = await lead(
      {
        volume,
        node,
        ask,
        store,
        clock,
        times,
        report,
        open: opened,
        lost,
        pace: world.pace,
        isWhole: world.isWhole,
        awayMs: world.awayMs,
      },
      copy,
    )
    if ('why' in led) {
      await leave(new Error(led.words))
      return led
    }
    serves = true
    settle.resolve(new OwnerReplicas(led, shared, (chunk) => world.readChunk(chunk)))
    return led
  } catch (error) {
    await leave(error)
    throw error
  }
}
