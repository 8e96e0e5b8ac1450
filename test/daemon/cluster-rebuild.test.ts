import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CopyId, DriveId, Epoch, NodeId, RecordSeq, VolumeId } from '../../src/base/index.ts'
import type { KeptEntry } from '../../src/daemon/cluster-kept.ts'
import { type CopyFound, type Heard, rebuildVolumes } from '../../src/daemon/cluster-rebuild.ts'
import { decodeRecord, encodeRecord, type VolumeRecord } from '../../src/volumes/index.ts'
import { sample } from '../volumes/sample-record.ts'

const id = <T extends string>(digit: string) => digit.repeat(32) as T
const nodes = ['1', '2', '3', '4'].map((digit) => id<NodeId>(digit))
const volume = id<VolumeId>('a')
const copyOf = (n: number) => ({
  id: id<CopyId>(`${4 + n}`),
  node: nodes[n - 1] as NodeId,
  drive: id<DriveId>('d'),
})

/** A volume of copies on nodes 1 to `repl`, all in sync at epoch 5. */
function record(change: Partial<VolumeRecord> = {}): VolumeRecord {
  const copies = [1, 2, 3].map(copyOf)
  const { name = 'db' } = change
  return {
    ...sample,
    ...{ id: volume, name, spec: { ...sample.spec, name }, copies },
    epoch: 5 as Epoch,
    owner: nodes[0] as NodeId,
    inSync: copies.map((copy) => copy.id),
    minimum: 2,
    ...change,
  }
}

const kept = (of: VolumeRecord, version: number, generation = 1): KeptEntry => ({
  ...{ generation, version },
  key: `volume/${of.id}`,
  value: encodeRecord(of).toString(),
})

const copy = (n: number, epoch: number, seq: number, more: Partial<CopyFound> = {}): CopyFound => ({
  volume,
  copy: copyOf(n).id,
  drive: copyOf(n).drive,
  promised: epoch as Epoch,
  end: { epoch: epoch as Epoch, seq: seq as RecordSeq },
  damaged: null,
  ...more,
})

const heard = (n: number, entries: KeptEntry[], copies: CopyFound[]): Heard => ({
  node: nodes[n - 1] as NodeId,
  entries,
  copies,
})

const only = (said: readonly Heard[]) => {
  const rebuilt = rebuildVolumes(said, 2)
  return { ...rebuilt, volume: rebuilt.volumes[0]?.record, refusal: rebuilt.refused[0] }
}

test('two of three copies rebuild a volume: the newest record, the longest log alone in sync, an epoch above every promise', () => {
  const old = kept(record({ epoch: 4 as Epoch }), 7)
  const newer = kept(record(), 9)
  const { volume: made, refused } = only([
    heard(2, [old], [copy(2, 6, 10, { promised: 8 as Epoch })]),
    heard(3, [newer], [copy(3, 6, 9)]),
  ])
  assert.equal(refused, [])
  assert.is(made?.epoch, 9)
  assert.is(made?.generation, 2)
  assert.equal(made?.inSync, [copyOf(2).id])
  assert.is(made?.rebuilt, true)
  assert.is(made?.copies.length, 3)
  assert.equal(decodeRecord(encodeRecord(made as VolumeRecord)), made, 'it can be read')
})

test('one of three copies is refused with numbers, its name stays taken, and no other volume is hindered', () => {
  const other = record({ id: id('b'), name: 'other', number: 77 as never })
  const said = [
    heard(
      2,
      [kept(record(), 9), kept(other, 3)],
      [copy(2, 6, 10), { ...copy(2, 1, 1), volume: id('b') }],
    ),
    heard(3, [], [{ ...copy(3, 1, 1), volume: id('b') }]),
  ]
  const { volumes, refusal, entries } = only(said)
  assert.equal(
    volumes.map(({ record }) => record.name),
    ['other'],
  )
  assert.is(refusal?.name, 'db')
  assert.match(refusal?.why ?? '', /^1 of its 3 copies answer, and 2 are needed/)
  assert.equal(refusal?.lacking, [nodes[0], nodes[2]])
  assert.is(entries.get('name/db')?.toString(), volume)
  assert.is(entries.has(`volume/${volume}`), false)
  assert.ok(Number(entries.get('number/next')) > 77)
})

test('a damaged copy does not count, and one that was made after the newest record does, when it has all', () => {
  const hurt = only([
    heard(2, [kept(record(), 9)], [copy(2, 6, 10)]),
    heard(3, [], [copy(3, 6, 10, { damaged: 'failed at append' })]),
  ])
  assert.match(hurt.refusal?.why ?? '', /1 of its 3 copies .*damaged: failed at append/)

  // Four copies, sets of two at least: two that answer may have been in none.
  const said = [heard(2, [kept(record(), 9)], [copy(2, 6, 10)]), heard(4, [], [copy(4, 6, 12)])]
  assert.match(only(said).refusal?.why ?? '', /2 of its 4 copies answer, and 3 are needed/)
  const { volume: made } = only([...said, heard(3, [], [copy(3, 6, 10)])])
  assert.equal(made?.inSync, [copyOf(4).id])
  assert.is(made?.copies.length, 4)
})

test('a tombstone counts before every record, and a higher generation before every version', () => {
  const tombstone = { generation: 1, version: 1, key: `tombstone/${volume}`, value: '{}' }
  const gone = only([heard(2, [kept(record(), 9)], [copy(2, 6, 10)]), heard(3, [tombstone], [])])
  assert.equal([gone.volumes, gone.refused], [[], []])
  assert.is(gone.entries.get(`tombstone/${volume}`)?.toString(), '{}')

  const { volume: made } = only([
    heard(2, [kept(record({ minimum: 1 }), 3, 2)], [copy(2, 6, 10)]),
    heard(3, [kept(record(), 900)], [copy(3, 6, 10)]),
  ])
  assert.is(made?.minimum, undefined, 'with a minimum of 1 all three must answer')
})

test('a volume of one copy is rebuilt where its journal lies, and refused without', () => {
  const one = copyOf(2)
  const lone = record({ copies: [one], inSync: [one.id], minimum: 1, owner: one.node })
  const journal = copy(2, 0, 0, { copy: null })
  const { volume: made } = only([heard(2, [kept(lone, 1)], [journal]), heard(3, [], [])])
  assert.ok((made?.epoch ?? 0) > 5 + 1, 'above lives that nobody has kept')
  assert.is(made?.rebuilt, undefined)
  const { refusal } = only([heard(3, [kept(lone, 1)], [])])
  assert.match(refusal?.why ?? '', /^0 of its 1 copies answer, and 1 are needed/)
  assert.equal(refusal?.lacking, [one.node])
})

test.run()
