import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Epoch, RecordSeq } from '../../src/base/index.ts'
import { commonPlace, type Places } from '../../src/replication/common-place.ts'
import type { Place } from '../../src/replication/messages.ts'

/** A log of so many records, the tags of which differ from another's behind record `same`. */
function log(records: number, { same = records, from = 0, name = 'x' } = {}) {
  const looked: number[] = []
  const chainAt = (seq: number) => Buffer.from(seq <= same ? `both ${seq}` : `${name} ${seq}`)
  const place = (seq: number): Place => ({
    epoch: 1 as Epoch,
    seq: seq as RecordSeq,
    chain: chainAt(seq),
  })
  const places: Places = {
    head: place(records),
    placesBehind: (seqs) => {
      looked.push(...seqs)
      return seqs.map((seq) => (seq < from || seq > records ? null : place(seq)))
    },
  }
  return { places, looked, end: place(records), chainAt }
}

async function parted(own: ReturnType<typeof log>, other: ReturnType<typeof log>) {
  const asked: number[] = []
  const place = await commonPlace(own.places, other.end, async (seqs) => {
    asked.push(...seqs)
    return other.places.placesBehind(seqs).map((one) => one?.chain ?? null)
  })
  return { seq: place?.seq ?? null, asked: asked.length }
}

test('a log that is the beginning of this one is known by its end, with one place looked for and no question', async () => {
  const own = log(40_000)
  assert.equal(await parted(own, log(39_998)), { seq: 39_998, asked: 0 })
  assert.equal(own.looked, [39_998])
})

test('this log is the beginning of another: one question', async () => {
  assert.equal(await parted(log(500), log(40_000)), { seq: 500, asked: 1 })
})

test('logs that part are searched for where they do', async () => {
  for (const same of [0, 1, 17, 4711, 9998]) {
    const { seq } = await parted(log(10_000, { same }), log(9999, { same, name: 'y' }))
    assert.is(seq, same)
  }
})

test('of logs that were cut at their beginning no place may be left that both have', async () => {
  const same = 100
  const own = log(300, { same, from: 200 })
  assert.is((await parted(own, log(250, { same, name: 'y' }))).seq, null)
  const reaching = log(300, { same, from: 50 })
  assert.is((await parted(reaching, log(250, { same, name: 'y' }))).seq, same)
})

test.run()
