import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { RecordSeq } from '../../src/base/index.ts'
import { firstHead, type JournalHead, scan } from '../../src/journal/index.ts'
import { seeded } from '../support/seeded.ts'
import {
  collect,
  confirmedAt,
  directory,
  fields,
  makeWorld,
  nameOfThrown,
  tamper,
  volumeId,
} from './world.ts'

/** Records 'one', 'two', 'three' with the heads around them; none says that another was confirmed. */
function threeRecords() {
  const world = makeWorld()
  const heads: JournalHead[] = [world.first]
  for (const text of ['one', 'two', 'three']) {
    heads.push(world.journal.append(heads.at(-1) as JournalHead, fields(), Buffer.from(text)))
  }
  const at = heads.map(({ offset }) => offset) as [number, number, number, number]
  return { ...world, heads, at }
}

test('cut short anywhere, the last record is a torn tail', () => {
  const { disk, at, heads, scanAll } = threeRecords()
  const whole = disk.readFile(`${directory}/0000000001.journal`)
  for (let end = at[2]; end < at[3]; end++) {
    tamper(disk, 1, () => whole.subarray(0, end))
    assert.equal(scanAll(), { bodies: ['one', 'two'], end: heads[2] }, `cut at ${end}`)
  }
})

test('flipped anywhere, the last record is a torn tail', () => {
  const { disk, at, scanAll } = threeRecords()
  for (let i = at[2]; i < at[3]; i++) {
    tamper(disk, 1, (bytes) => {
      bytes[i] = (bytes[i] as number) ^ 0x10
      return bytes
    })
    assert.equal(scanAll().bodies, ['one', 'two'], `flip at ${i}`)
    tamper(disk, 1, (bytes) => {
      bytes[i] = (bytes[i] as number) ^ 0x10
      return bytes
    })
  }
  assert.equal(scanAll().bodies, ['one', 'two', 'three'])
})

test('flipped anywhere, a record with one behind it is damage, named by place', () => {
  for (let bit = 0; bit < 8; bit += 7) {
    const { disk, at, scanAll } = threeRecords()
    for (let i = at[1]; i < at[2]; i++) {
      const flip = () =>
        tamper(disk, 1, (bytes) => {
          bytes[i] = (bytes[i] as number) ^ (1 << bit)
          return bytes
        })
      flip()
      assert.is(
        nameOfThrown(() => scanAll()),
        'CorruptError record',
        `flip at ${i}`,
      )
      flip()
    }
    tamper(disk, 1, (bytes) => bytes.fill(0xff, at[1], at[1] + 40))
    try {
      scanAll()
      assert.unreachable('damage is thrown')
    } catch (error) {
      const { subject } = error as { subject: object }
      assert.equal(subject, { file: 1, offset: at[1], seq: 2, sign: 'record' })
    }
  }
})

test('a torn tail that is known to have been confirmed is damage', () => {
  const { disk, at, scanAll } = threeRecords()
  tamper(disk, 1, (bytes) => bytes.subarray(0, at[3] - 1))
  assert.is(scanAll(null, { confirmed: 2 as RecordSeq }).bodies.length, 2)
  assert.is(
    nameOfThrown(() => scanAll(null, { confirmed: 3 as RecordSeq })),
    'CorruptError confirmed',
  )
  tamper(disk, 1, (bytes) => bytes.subarray(0, at[2]))
  assert.is(
    nameOfThrown(() => scanAll(null, { confirmed: 3 as RecordSeq })),
    'CorruptError confirmed',
  )
})

test('sectors that were never written end the log, unless a record behind says they were confirmed', () => {
  for (const confirmed of [false, true]) {
    const { disk, journal, first, scanAll } = makeWorld()
    let head = journal.append(first, fields(), Buffer.from('kept'))
    const kept = head
    head = journal.append(head, fields(), Buffer.alloc(2000, 'x'))
    const lostEnd = head.offset
    const known = confirmed ? confirmedAt(head) : {}
    head = journal.append(head, fields(), Buffer.from('behind'))
    head = journal.append(head, fields(known), Buffer.from('behind'))
    const from = Math.ceil(kept.offset / 512) * 512
    const to = Math.floor(lostEnd / 512) * 512
    tamper(disk, 1, (bytes) => bytes.fill(0, from, to))
    if (confirmed) {
      assert.is(
        nameOfThrown(() => scanAll()),
        'CorruptError confirmed',
      )
    } else {
      assert.equal(scanAll(), { bodies: ['kept'], end: kept })
    }
    tamper(disk, 1, (bytes) => bytes.fill(0xaa, from, to))
    assert.is(
      nameOfThrown(() => scanAll()),
      confirmed ? 'CorruptError confirmed' : 'CorruptError record',
    )
  }
})

test('a tear in a file that has a successor is damage', () => {
  const { disk, journal, first, scanAll } = makeWorld(1200)
  let head = first
  while (head.file < 3) head = journal.append(head, fields(), Buffer.alloc(200, 'x'))
  tamper(disk, 2, (bytes) => bytes.subarray(0, bytes.length - 3))
  assert.is(
    nameOfThrown(() => scanAll()),
    'CorruptError file',
  )
})

test('a missing file between others is damage', () => {
  const { disk, journal, first, scanAll } = makeWorld(1200)
  let head = first
  while (head.file < 4) head = journal.append(head, fields(), Buffer.alloc(200, 'x'))
  tamper(disk, 2, () => Buffer.alloc(0))
  assert.is(
    nameOfThrown(() => scanAll()),
    'CorruptError file',
  )
})

test('a damaged header of a file is damage when records follow it, a torn rotation when none does', () => {
  const { disk, journal, first, scanAll } = makeWorld(1200)
  let head = first
  let before = head
  while (head.file < 2) {
    before = head
    head = journal.append(head, fields(), Buffer.alloc(200, 'x'))
  }
  tamper(disk, 2, (bytes) => bytes.fill(0, 0, 100))
  assert.is(
    nameOfThrown(() => scanAll()),
    'CorruptError file',
  )
  tamper(disk, 2, (bytes) => bytes.subarray(0, 512))
  assert.equal(scanAll().end, before)
  head = journal.append(before, fields(), Buffer.alloc(200, 'y'))
  assert.is(head.file, 2)
  assert.equal(scanAll().end, head)
  tamper(disk, 1, (bytes) => bytes.fill(0, 0, 100))
  assert.is(
    nameOfThrown(() => scanAll()),
    'CorruptError',
  )
})

test('records left over from a longer tail do not count as behind', () => {
  const { disk, journal, first, scanAll } = makeWorld()
  const one = journal.append(first, fields(), Buffer.from('one'))
  journal.append(one, fields(), Buffer.alloc(100, 'o'))
  const old = disk.readFile(`${directory}/0000000001.journal`).subarray(one.offset)
  const two = journal.append(one, fields(), Buffer.from('two'))
  journal.append(two, fields(), Buffer.alloc(100, 't'))
  tamper(disk, 1, (bytes) => {
    bytes.fill(0xff, two.offset)
    return Buffer.concat([bytes, old])
  })
  assert.equal(scanAll(), { bodies: ['one', 'two'], end: two })
})

test('a log that does not hold the head to go on from says so', () => {
  const { disk, heads, at, scanAll } = threeRecords()
  const wrong = { ...(heads[2] as JournalHead), chain: Buffer.alloc(16, 3) }
  assert.is(
    nameOfThrown(() => scanAll(wrong)),
    'CorruptError head',
  )
  tamper(disk, 1, (bytes) => bytes.subarray(0, at[3] - 8))
  assert.is(
    nameOfThrown(() => scanAll(heads[3])),
    'CorruptError head',
  )
})

test('no journal is told apart from an empty one', () => {
  const { disk, first, scanAll } = makeWorld()
  assert.equal(scanAll(), { bodies: [], end: first })
  disk.mkdir('/none')
  assert.is(firstHead(disk, '/none', volumeId), null)
  assert.is(
    nameOfThrown(() => collect(scan(disk, '/none', volumeId, null, null))),
    'FsError ENOENT',
  )
})

test('after a power cut at any moment every synced record is there and the log goes on', () => {
  let torn = 0
  for (let seed = 0; seed < 1500; seed++) {
    const random = seeded(seed)
    const world = makeWorld(3000, seed % 2 === 0 ? 0 : 600)
    const { disk, first } = world
    let hands = [world.hand(), world.hand()]
    let head = first
    let synced = first
    let bodies: string[] = []
    for (let life = 0; life < 3; life++) {
      const steps = random.below(25)
      for (let i = 0; i < steps; i++) {
        const hand = hands[random.below(2)] as (typeof hands)[0]
        const body = `${seed} ${life} ${i} `.repeat(random.below(4) === 0 ? 100 : 2)
        const dice = random.below(10)
        if (dice === 0) {
          hand.sync(head)
          synced = head
        } else if (dice === 1) {
          // A transaction that is not committed.
          let lost = hand.append(head, fields(), Buffer.from(body))
          lost = hand.append(lost, fields(), Buffer.from(body))
        } else {
          head = hand.append(head, fields(confirmedAt(synced)), Buffer.from(body))
          bodies.push(body)
        }
      }
      disk.powerCut(random)
      const found = world.scanAll(null, { confirmed: synced.seq })
      assert.ok(found.end.seq >= synced.seq, `seed ${seed}: synced records are there`)
      const common = bodies.slice(0, synced.seq)
      assert.equal(found.bodies.slice(0, synced.seq), common, `seed ${seed}: as they were`)
      if (found.end.seq < head.seq) torn++
      hands = [world.hand(), world.hand()]
      head = found.end
      bodies = found.bodies
      hands[0]?.truncateTo(head)
      synced = head
    }
  }
  assert.ok(torn > 100, `power cuts that lost something: ${torn}`)
})

test('of garbage and hostile changes only the declared errors come, soon and in bounded memory', () => {
  const declared = new Set(['CorruptError', 'ProtocolError', 'no error'])
  const seen = new Map<string, number>()
  const rssBefore = process.memoryUsage().rss
  for (let seed = 0; seed < 3000; seed++) {
    const random = seeded(seed)
    const { disk, journal, first, scanAll } = makeWorld(2000)
    let head = first
    for (let i = 0; i < 12; i++) head = journal.append(head, fields(), Buffer.alloc(i * 20, i))
    const file = 1 + random.below(head.file)
    tamper(disk, file, (bytes) => {
      const at = random.below(bytes.length)
      const len = Math.min(1 + random.below(64), bytes.length - at)
      switch (random.below(5)) {
        case 0:
          random.bytes(len).copy(bytes, at)
          return bytes
        case 1:
          return bytes.subarray(0, at)
        case 2:
          return Buffer.concat([bytes.subarray(0, at), random.bytes(len), bytes.subarray(at)])
        case 3:
          bytes.copy(bytes, at, random.below(bytes.length))
          return bytes
        default:
          return Buffer.concat([bytes.subarray(0, 512), random.bytes(3000)])
      }
    })
    const name = nameOfThrown(() => scanAll()).replace(/^(\w+Error) .*/, '$1')
    assert.ok(declared.has(name), `seed ${seed}: ${name}`)
    seen.set(name, (seen.get(name) ?? 0) + 1)
  }
  assert.ok((seen.get('no error') ?? 0) > 50 && (seen.get('CorruptError') ?? 0) > 50)
  assert.ok(process.memoryUsage().rss - rssBefore < 300 * 1024 * 1024)
})

test('a file full of record beginnings that claim to be long does not hold the scan up', () => {
  const { disk, journal, first, scanAll } = makeWorld()
  const head = journal.append(first, fields(), Buffer.from('one'))
  tamper(disk, 1, (bytes) => {
    const bait = Buffer.from(bytes.subarray(first.offset, first.offset + 104))
    bait.writeUInt32LE(1024 * 1024, 8)
    bait.writeUInt32LE(40, 12)
    const baits = Buffer.alloc(8 * 1024 * 1024, bait)
    return Buffer.concat([bytes, baits])
  })
  const began = process.hrtime.bigint()
  assert.is(
    nameOfThrown(() => scanAll()),
    'CorruptError unclear',
  )
  assert.ok(process.hrtime.bigint() - began < 10_000_000_000n)
  assert.is(head.seq, 1)
})

test.run()
