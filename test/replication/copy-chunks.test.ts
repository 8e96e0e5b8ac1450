import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type ChunkId,
  type Clock,
  type CopyId,
  type Epoch,
  type NodeId,
  systemClock,
  type VolumeId,
} from '../../src/base/index.ts'
import { SimulatedDisk } from '../../src/disk/index.ts'
import { Copy, type Request } from '../../src/replication/index.ts'

const owner = 'a1'.repeat(16) as NodeId
const other = 'a2'.repeat(16) as NodeId
const chunk = 'cc'.repeat(16) as ChunkId
const epoch = (value: number) => value as Epoch

/** A copy whose drive takes a chunk when the test says so. */
function slowCopy() {
  const stored = new Set<ChunkId>()
  const waiting: (() => void)[] = []
  let nowMs = 0
  const clock: Clock = { ...systemClock(), monotonicMs: () => nowMs }
  const pass = (ms: number) => {
    nowMs += ms
  }
  const disk = new SimulatedDisk()
  disk.mkdir('/copy')
  const copy = Copy.create(
    { volume: '0f'.repeat(16) as VolumeId, id: 'c0'.repeat(16) as CopyId, directory: '/copy' },
    {
      disk,
      clock,
      termMs: 10_000,
      chunks: {
        put: (id) =>
          new Promise<void>((done) => {
            waiting.push(() => {
              stored.add(id)
              done()
            })
          }),
        has: (id) => stored.has(id),
        drives: () => '00'.repeat(16),
        old: async () => [],
        check: async () => null,
        read: async () => null,
        delete: async (id) => {
          stored.delete(id)
        },
      },
    },
  )
  const store = () => {
    for (const one of waiting.splice(0)) one()
  }
  return { copy, store, pass }
}

const put = (at: number): Request => ({
  op: 'putChunk',
  epoch: epoch(at),
  owner,
  chunk,
  bytes: Buffer.from('x'),
})

test('records and signs of life do not wait for a chunk that is being stored', async () => {
  const { copy, store } = slowCopy()
  await copy.handle({ op: 'promise', epoch: epoch(1), owner })
  const putting = copy.handle(put(1))
  assert.is((await copy.handle({ op: 'grant', epoch: epoch(1), owner })).kind, 'granted')
  const records = Buffer.alloc(0)
  const before = copy.head
  const append = { op: 'append', epoch: epoch(1), owner, before, records, sync: true } as const
  assert.is((await copy.handle(append)).kind, 'appended')
  store()
  assert.is((await putting).kind, 'done')
})

test('a chunk that comes to its place behind a promise to another is not confirmed', async () => {
  const { copy, store } = slowCopy()
  await copy.handle({ op: 'promise', epoch: epoch(1), owner })
  const putting = copy.handle(put(1))
  const promised = await copy.handle({ op: 'promise', epoch: epoch(2), owner: other })
  assert.is(promised.kind, 'promised')
  store()
  const answer = await putting
  assert.ok(answer.kind === 'refused' && answer.why === 'promised')
  assert.is((await copy.handle(put(1))).kind, 'refused', 'and a later one is not even begun')
})

test('a chunk of a new owner waits until that owner may be promised the copy', async () => {
  const { copy, store, pass } = slowCopy()
  await copy.handle({ op: 'promise', epoch: epoch(1), owner: other })
  await copy.handle({ op: 'grant', epoch: epoch(1), owner: other })
  const early = await copy.handle(put(2))
  assert.ok(early.kind === 'refused' && early.why === 'leased')
  pass(11_000)
  const putting = copy.handle(put(2))
  await copy.handle({ op: 'state', candidate: owner })
  store()
  assert.is((await putting).kind, 'done')
  assert.is(copy.promised.epoch, 2)
})

test('what a copy lacks is told behind the chunks that are on their way to its drive', async () => {
  const { copy, store } = slowCopy()
  await copy.handle({ op: 'promise', epoch: epoch(1), owner })
  const putting = copy.handle(put(1))
  const asked = copy.handle({ op: 'lacksChunks', chunks: [chunk] })
  store()
  assert.equal(await asked, { kind: 'lacks', chunks: [] })
  await putting
})

test.run()
