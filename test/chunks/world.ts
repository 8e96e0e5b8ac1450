import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ChunkId, Epoch, KeyEpoch, NodeId, VolumeId } from '../../src/base/index.ts'
import { type ChunkReader, ChunkStore, type ChunkStoreOptions } from '../../src/chunks/index.ts'
import { newSecret } from '../../src/crypto/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { type Drive, initDrive } from '../../src/drives/index.ts'
import { seeded } from '../support/seeded.ts'

export const volume = '5e'.repeat(16) as VolumeId
const nodeId = 'a1'.repeat(16) as NodeId

export interface ChunkWorld {
  readonly root: string
  readonly drives: readonly Drive[]
  readonly drive: Drive
  readonly store: ChunkStore
  readonly reader: ChunkReader
  readonly seal: { volume: VolumeId; keyEpoch: KeyEpoch; epoch: Epoch; key: Buffer }
  newId(): ChunkId
  /** A second store on the same drives, as another thread has. */
  anotherStore(options?: ChunkStoreOptions): ChunkStore
  close(): void
}

/** @param root an existing directory to use instead of a new one under TMPDIR; it is left standing */
export function makeWorld(
  options: ChunkStoreOptions & { drives?: number; root?: string; seed?: number } = {},
): ChunkWorld {
  const random = seeded(options.seed ?? 1)
  const root = options.root ?? mkdtempSync(join(tmpdir(), 'weft-chunks-'))
  const key = newSecret(32)
  const drives = Array.from({ length: options.drives ?? 1 }, (_, index) =>
    initDrive(join(root, `das${index}`), { class: 2, nodeId }, systemDisk),
  )
  const store = new ChunkStore(drives, options)
  const stores = [store]
  return {
    root,
    drives,
    drive: drives[0]!,
    store,
    reader: { volume, keyOf: () => key },
    seal: { volume, keyEpoch: 1 as KeyEpoch, epoch: 7 as Epoch, key },
    newId: () => random.bytes(16).toString('hex') as ChunkId,
    anotherStore(more = {}) {
      const another = new ChunkStore(drives, more)
      stores.push(another)
      return another
    },
    close() {
      for (const each of stores) each.close()
      if (options.root === undefined) rmSync(root, { recursive: true })
    },
  }
}
