import type {
  CopyId,
  DriveId,
  Epoch,
  NodeId,
  VolumeId,
  VolumeNumber,
} from '../../src/base/index.ts'
import type { VolumeRecord } from '../../src/volumes/index.ts'

const hex = (digit: string) => digit.repeat(32)
const base64 = (bytes: number) => Buffer.alloc(bytes, 5).toString('base64')

/** A record of one copy, complete and without secrets. */
export const sample: VolumeRecord = {
  version: 1,
  generation: 1,
  id: hex('1') as VolumeId,
  number: 7 as VolumeNumber,
  name: 'mysql_vol',
  epoch: 3 as Epoch,
  owner: hex('a') as NodeId,
  copies: [{ id: hex('c') as CopyId, node: hex('a') as NodeId, drive: hex('d') as DriveId }],
  inSync: [hex('c') as CopyId],
  minimum: 1,
  released: [],
  movingTo: null,
  spec: {
    name: 'mysql_vol',
    sizeBytes: 107_374_182_400,
    repl: 1,
    minimum: 1,
    cos: 3,
    spread: 'node',
    nodes: null,
    onLoss: 'wait',
  },
  keys: {
    version: 1,
    keyringSealed: base64(113),
    newest: 1,
    slots: [
      {
        id: 1,
        kind: 'node',
        label: 'node aaaaaaaa',
        publicKey: base64(32),
        sealed: base64(80),
        createdAt: '2026-11-23T00:00:00.000Z',
      },
    ],
    nextSlot: 2,
  },
  state: 'ready',
  createdAt: '2026-11-23T00:00:00.000Z',
}
