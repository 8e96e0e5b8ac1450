import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ChunkId, type Epoch, limits, type RecordSeq } from '../../src/base/index.ts'
import { createJournal, type JournalHead, placesBehind, scan } from '../../src/journal/index.ts'
import { seeded } from '../support/seeded.ts'
import {
  chunkId,
  collect,
  confirmedAt,
  directory,
  fields,
  makeWorld,
  nameOfThrown,
  pathOf,
  plainSealer,
  volumeId,
} from './world.ts'

/** Without and with zeros written behind the newest record. */
const AHEADS = [0, 700]

test('records come back in order, over many files, from the start and from any head', () => {
  for (const ahead of AHEADS) {
    const { journal, first, scanAll } = makeWorld(2000, ahead)
    const heads: JournalHead[] = [first]
    const bodies: string[] = []
    for (let i = 0; i < 60; i++) {
      bodies.push(`record ${i} `.repeat(1 + (i % 7)))
      const before = heads[i] as JournalHead
      heads.push(
        journal.append(before, fields(confirmedAt(before)), Buffer.from(bodies[i] as string)),
      )
    }
    const end = heads[60] as JournalHead
    assert.ok(end.file > 5, `rotated to file ${end.file}`)
    assert.is(end.seq, 60)
    assert.equal(scanAll(), { bodies, end })
    for (let i = 0; i <= 60; i++) {
      assert.equal(scanAll(heads[i]), { bodies: bodies.slice(i), end }, `from head ${i}`)
    }
    const files = journal.files()
    assert.is(files.length, end.file)
    for (const { bytes } of files) assert.ok(bytes <= 2000)
    assert.is(
      journal.bytes(),
      files.reduce((sum, { bytes }) => sum + bytes, 0),
    )
  }
})

test('places are found over many files, several in one pass', () => {
  const { disk, journal, first } = makeWorld(2000)
  const heads: JournalHead[] = [first]
  for (let i = 0; i < 60; i++) {
    heads.push(journal.append(heads[i] as JournalHead, fields(), Buffer.from(`record ${i}`)))
  }
  const find = (...seqs: number[]) =>
    placesBehind(disk, directory, volumeId, seqs as RecordSeq[]).map((place) => place?.seq ?? null)
  assert.equal(find(...heads.keys()), [...heads.keys()])
  assert.equal(find(3, 4, 30, 59), [3, 4, 30, 59])
  assert.equal(find(59, 61), [59, null])
  journal.dropBefore((heads[30] as JournalHead).file)
  assert.equal(find(1, 59), [null, 59])
})

test('a file begun by a newer epoch before its first record follows all the same', () => {
  const { journal, first, scanAll } = makeWorld(1200)
  const second = { epoch: 2 as Epoch }
  let head = journal.append(first, fields(), Buffer.alloc(500, '1'))
  head = journal.append({ ...head, ...second }, fields(second), Buffer.alloc(500, '2'))
  assert.is(head.file, 2)
  assert.equal(scanAll().end, head)
})

test('a scan stops where it is told', () => {
  const { journal, first, scanAll } = makeWorld()
  let head = first
  for (const text of ['a', 'b', 'c']) head = journal.append(head, fields(), Buffer.from(text))
  assert.equal(scanAll(null, { upTo: 2 as RecordSeq }).bodies, ['a', 'b'])
  assert.equal(scanAll(null, { upTo: 0 as RecordSeq }).bodies, [])
})

test('a record larger than a file has one to itself', () => {
  const { journal, first, scanAll } = makeWorld(2000)
  let head = journal.append(first, fields(), Buffer.from('small'))
  head = journal.append(head, fields(), Buffer.alloc(500_000, 'L'))
  assert.is(head.file, 2)
  head = journal.append(head, fields(), Buffer.from('small again'))
  assert.is(head.file, 3)
  assert.equal(
    scanAll().bodies.map((body) => body.length),
    [5, 500_000, 11],
  )
})

test('a record names as many chunks as the limit says', () => {
  const { disk, journal, first } = makeWorld()
  const ids = Array.from(
    { length: limits.recordChunkIdsMax },
    (_, i) => i.toString(16).padStart(32, '0') as ChunkId,
  )
  const [begins, ends] = [ids.slice(0, 1000), ids.slice(1000)]
  journal.append(first, fields({ begins, ends }), Buffer.from('x'))
  const { records } = collect(scan(disk, directory, volumeId, null, plainSealer))
  assert.equal(records[0]?.header.begins, begins)
  assert.equal(records[0]?.header.ends, ends)
  const over = fields({ begins: [...ids, chunkId(1)] })
  assert.is(
    nameOfThrown(() => journal.append(first, over, Buffer.from('x'))),
    'AssertionError',
  )
})

test('two hands append in turn and each follows the other over rotations', () => {
  for (const ahead of AHEADS) {
    const { hand, first, scanAll } = makeWorld(1500, ahead)
    const hands = [hand(), hand()]
    let head = first
    for (let i = 0; i < 40; i++) {
      // Runs of different lengths, so that each hand also sees files it did not begin.
      const turn = hands[i % 5 < 3 ? 0 : 1] as (typeof hands)[0]
      head = turn.append(head, fields(), Buffer.from(`${i}`))
      if (i % 4 === 0) turn.sync(head)
    }
    const { bodies, end } = scanAll()
    assert.equal(
      bodies,
      Array.from({ length: 40 }, (_, i) => `${i}`),
    )
    assert.equal(end, head)
  }
})

test('records of a transaction that was not committed are cut by the next append', () => {
  for (const ahead of AHEADS) {
    const { hand, first, scanAll } = makeWorld(64 * 1024, ahead)
    const [a, b] = [hand(), hand()]
    const kept = a.append(first, fields(), Buffer.from('kept'))
    let lost = a.append(kept, fields(), Buffer.from('dropped, and longer than what comes'))
    for (let i = 0; i < 5; i++) lost = a.append(lost, fields(), Buffer.from('dropped too'))
    const end = b.append(kept, fields(), Buffer.from('new'))
    assert.equal(scanAll(), { bodies: ['kept', 'new'], end })
    const next = a.append(end, fields(), Buffer.from('by the first again'))
    assert.equal(scanAll(), { bodies: ['kept', 'new', 'by the first again'], end: next })
  }
})

test('files begun by a transaction that was not committed do not look like a loss', () => {
  for (const ahead of AHEADS) {
    for (let dropped = 1; dropped < 30; dropped++) {
      const { hand, first, scanAll } = makeWorld(1200, ahead)
      const [a, b] = [hand(), hand()]
      let head = a.append(first, fields(), Buffer.from('kept'))
      let lost = head
      for (let i = 0; i < dropped; i++) lost = a.append(lost, fields(), Buffer.alloc(150, 'd'))
      const bodies = ['kept']
      for (let i = 0; i < 12; i++) {
        head = (i % 2 ? a : b).append(head, fields(), Buffer.from(`new ${i}`))
        bodies.push(`new ${i}`)
        assert.equal(scanAll(), { bodies, end: head }, `${dropped} dropped, ${i} new`)
      }
    }
  }
})

test('a full disk leaves the log as it was, whole, and the next append with room succeeds', () => {
  for (let room = 0; room < 1200; room += 97) {
    const { disk, journal, first, scanAll } = makeWorld(1500)
    let head = first
    for (let i = 0; i < 3; i++) head = journal.append(head, fields(), Buffer.alloc(150, `${i}`))
    disk.resize(disk.totalBytes('/') - disk.freeBytes('/') + room)
    let full = ''
    for (let i = 3; full === '' && i < 20; i++) {
      const error = nameOfThrown(() => {
        head = journal.append(head, fields(), Buffer.alloc(150, `${i % 10}`))
      })
      if (error !== 'no error') full = error
    }
    assert.is(full, 'FsError ENOSPC')
    assert.is(scanAll().end.seq, head.seq, `room ${room}`)
    if (head.file === 1) assert.is(disk.stat(pathOf(1))?.bytes, head.offset)
    disk.resize(1_000_000)
    head = journal.append(head, fields(), Buffer.from('goes on'))
    assert.is(scanAll().bodies.at(-1), 'goes on')
    assert.equal(scanAll().end, head)
  }
})

test('a write that fails half-way leaves no half record', () => {
  const { disk, journal, first, scanAll } = makeWorld()
  const head = journal.append(first, fields(), Buffer.from('one'))
  disk.fail('write', 'EIO')
  assert.is(
    nameOfThrown(() => journal.append(head, fields(), Buffer.from('two'))),
    'FsError EIO',
  )
  assert.is(disk.stat(pathOf(1))?.bytes, head.offset)
  journal.append(head, fields(), Buffer.from('three'))
  assert.equal(scanAll().bodies, ['one', 'three'])
})

test('after a failed sync nothing is appended or synced again, by any thread that shares the mark', async () => {
  const poison = new Int32Array(new SharedArrayBuffer(4))
  const { disk, hand, first } = makeWorld()
  const [a, b] = [hand({ poison }), hand({ poison })]
  const head = a.append(first, fields(), Buffer.from('x'))
  disk.fail('fdatasync', 'ENOSPC')
  assert.is(
    nameOfThrown(() => a.sync(head)),
    'FsError EIO',
  )
  for (const journal of [a, b]) {
    assert.is(journal.poisoned, true)
    assert.is(
      nameOfThrown(() => journal.sync(head)),
      'FsError EIO',
    )
    assert.is(
      nameOfThrown(() => journal.append(head, fields(), Buffer.from('y'))),
      'FsError EIO',
    )
    assert.is(
      nameOfThrown(() => journal.truncateTo(first)),
      'FsError EIO',
    )
    let rejected = 'no error'
    await journal.syncAsync(head).catch((error: unknown) => {
      rejected = nameOfThrown(() => {
        throw error
      })
    })
    assert.is(rejected, 'FsError EIO')
  }
})

test('an asynchronous sync that fails poisons, one that succeeds keeps what it promised', async () => {
  const { disk, journal, first, scanAll } = makeWorld()
  const head = journal.append(first, fields(), Buffer.from('kept'))
  await journal.syncAsync(head)
  disk.powerCut(seeded(1))
  assert.equal(scanAll().bodies, ['kept'])
  const again = makeWorld()
  const lost = again.journal.append(again.first, fields(), Buffer.from('x'))
  again.disk.fail('fdatasync', 'EIO')
  let code = ''
  await again.journal.syncAsync(lost).catch((error: unknown) => {
    code = nameOfThrown(() => {
      throw error
    })
  })
  assert.is(code, 'FsError EIO')
  assert.is(again.journal.poisoned, true)
})

test('a rotation while a sync is in flight keeps its descriptor open until it settles', async () => {
  const { disk, journal, first, scanAll } = makeWorld(1200)
  let release = () => {}
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  const real = disk.fdatasyncAsync.bind(disk)
  disk.fdatasyncAsync = async (handle) => {
    await gate
    await real(handle)
  }
  let head = journal.append(first, fields(), Buffer.from('0'))
  const syncing = journal.syncAsync(head)
  for (let i = 1; i < 12; i++) head = journal.append(head, fields(), Buffer.from(`${i}`))
  assert.ok(head.file > 1)
  release()
  await syncing
  assert.is(scanAll().bodies.length, 12)
})

test('a failed sync of the file being closed stops the rotation', () => {
  const { disk, journal, first, scanAll } = makeWorld(1200)
  let head = first
  disk.fail('fdatasync', 'EIO')
  assert.is(
    nameOfThrown(() => {
      for (;;) head = journal.append(head, fields(), Buffer.from('x'))
    }),
    'FsError EIO',
  )
  assert.is(journal.poisoned, true)
  assert.equal(scanAll().end, head)
})

test('cutting goes to a head the log holds, over files, for all hands, and is durable', () => {
  for (const ahead of AHEADS) {
    for (const keep of [19, 15, 8, 3, 0]) {
      const { disk, hand, first, scanAll } = makeWorld(1200, ahead)
      const [a, b] = [hand(), hand()]
      const heads = [first]
      for (let i = 0; i < 20; i++) {
        heads.push((i % 3 ? a : b).append(heads[i] as JournalHead, fields(), Buffer.from(`${i}`)))
      }
      a.sync(heads[20] as JournalHead)
      const head = heads[keep] as JournalHead
      a.truncateTo(head)
      assert.is(scanAll().end.seq, keep)
      let grown = head
      for (let i = 0; i < 20; i++) {
        grown = (i % 2 ? a : b).append(grown, fields({ epoch: 2 as Epoch }), Buffer.from('new'))
      }
      assert.equal(scanAll().end, grown)
      disk.powerCut(seeded(keep))
      const after = scanAll(null, { confirmed: keep as RecordSeq })
      assert.equal(
        new Set(after.bodies.slice(keep)),
        new Set(after.bodies.length > keep ? ['new'] : []),
      )
    }
  }
})

test('cutting at a place that is not behind its record is refused', () => {
  const { journal, first } = makeWorld()
  const head = journal.append(first, fields(), Buffer.from('x'))
  const wrong = { ...head, chain: Buffer.alloc(16, 1) }
  const beyond = { ...head, offset: head.offset + 8 }
  const inside = { ...head, offset: head.offset - 8 }
  for (const bad of [wrong, beyond, inside]) {
    assert.is(
      nameOfThrown(() => journal.truncateTo(bad)),
      'CorruptError',
    )
  }
})

test('appending behind a head the log does not reach is damage, not a hole', () => {
  const { journal, first, scanAll } = makeWorld()
  const beyond = { ...first, offset: first.offset + 800 }
  assert.is(
    nameOfThrown(() => journal.append(beyond, fields(), Buffer.from('x'))),
    'CorruptError',
  )
  const missing = { ...first, file: 7 }
  assert.is(
    nameOfThrown(() => journal.append(missing, fields(), Buffer.from('x'))),
    'CorruptError',
  )
  assert.is(
    nameOfThrown(() => journal.sync(missing)),
    'CorruptError',
  )
  assert.equal(scanAll().bodies, [])
})

test('old files are dropped, their space comes back, and the rest is scanned from its own header', () => {
  const { disk, journal, first, scanAll } = makeWorld(1200)
  let head = first
  for (let i = 0; i < 30; i++) head = journal.append(head, fields(), Buffer.from(`${i}`))
  const idle = journal.bytes()
  journal.dropBefore(head.file)
  assert.equal(
    journal.files().map(({ file }) => file),
    [head.file],
  )
  assert.ok(disk.freeBytes('/') > disk.totalBytes('/') - idle / 2)
  const { bodies, end } = scanAll()
  assert.is(bodies.at(-1), '29')
  assert.equal(end, head)
  journal.dropBefore(head.file + 5)
  assert.is(
    nameOfThrown(() => scanAll()),
    'FsError ENOENT',
  )
})

test('a journal is made once', () => {
  const { disk } = makeWorld()
  assert.is(
    nameOfThrown(() => createJournal(disk, directory, volumeId)),
    'FsError EEXIST',
  )
})

test('a blind copy takes the same bytes, checked, over its own rotations, and can be read with the key', () => {
  const { disk, journal, first, hand } = makeWorld(5000)
  let head = first
  for (let i = 0; i < 30; i++) head = journal.append(head, fields(), Buffer.from(`${i}`))
  let copy = createJournal(disk, '/copy', volumeId)
  const blind = hand({ directory: '/copy', sealer: null, fileBytesMax: 1200 })
  for (const { raw, body } of scan(disk, directory, volumeId, null, null)) {
    assert.is(body, null)
    const torn = Buffer.from(raw)
    torn[raw.length - 1] = (torn[raw.length - 1] as number) ^ 1
    assert.is(
      nameOfThrown(() => blind.appendSealed(copy, torn)),
      'ProtocolError',
    )
    assert.is(
      nameOfThrown(() => blind.appendSealed(copy, raw.subarray(8))),
      'ProtocolError',
    )
    const after = blind.appendSealed(copy, raw)
    assert.is(
      nameOfThrown(() => blind.appendSealed(after, raw)),
      'ProtocolError',
    )
    copy = after
  }
  assert.is(copy.seq, head.seq)
  assert.equal(copy.chain, head.chain)
  const { records } = collect(scan(disk, '/copy', volumeId, null, plainSealer))
  assert.equal(
    records.map(({ body }) => String(body)),
    Array.from({ length: 30 }, (_, i) => `${i}`),
  )
  assert.is(
    nameOfThrown(() => blind.append(copy, fields(), Buffer.from('x'))),
    'AssertionError',
  )
})

test('zeros lie behind the newest record, the file does not grow while they last, and a full disk does without', () => {
  const { disk, journal, first, scanAll } = makeWorld(64 * 1024, 4096)
  let head = journal.append(first, fields(), Buffer.from('first'))
  const bytes = head.offset + 4096
  assert.is(disk.stat(pathOf(1))?.bytes, bytes)
  for (let i = 0; i < 10; i++) head = journal.append(head, fields(), Buffer.from(`${i}`))
  assert.is(disk.stat(pathOf(1))?.bytes, bytes)
  assert.equal(scanAll().end, head)
  disk.resize(disk.totalBytes('/') - disk.freeBytes('/'))
  let appended = 0
  const full = nameOfThrown(() => {
    for (;;) {
      head = journal.append(head, fields(), Buffer.alloc(100))
      appended++
    }
  })
  assert.is(full, 'FsError ENOSPC')
  assert.ok(appended > 8, `${appended} records fit into the zeros`)
  assert.equal(scanAll().end, head)
})

test.run()
