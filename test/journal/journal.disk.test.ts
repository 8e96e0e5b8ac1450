import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { newId, systemRandom, type VolumeId } from '../../src/base/index.ts'
import { openBlob, sealBlob } from '../../src/crypto/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { createJournal, Journal, type RecordSealer, scan } from '../../src/journal/index.ts'
import { collect, confirmedAt, fields, nameOfThrown } from './world.ts'

function makeDiskWorld(sealer: RecordSealer) {
  const root = fs.mkdtempSync(join(tmpdir(), 'weft-journal-'))
  const directory = join(root, 'deep', 'journal')
  const volumeId = newId<VolumeId>(systemRandom)
  const first = createJournal(systemDisk, directory, volumeId)
  const options = {
    disk: systemDisk,
    directory,
    volumeId,
    sealer,
    fileBytesMax: 20_000,
    written: new Float64Array(3),
  }
  const hands = [new Journal(options), new Journal(options)] as const
  return {
    directory,
    volumeId,
    first,
    hands,
    close() {
      for (const hand of hands) hand.close()
      fs.rmSync(root, { recursive: true })
    },
  }
}

function realSealer(): RecordSealer {
  const key = systemRandom.bytes(32)
  return {
    seal: (_keyEpoch, plain, ad) => sealBlob(key, plain, ad),
    open: (_keyEpoch, sealed, ad) => openBlob(key, sealed, ad),
  }
}

test('on a real disk, sealed for real, records survive; no plain word is in the files', async () => {
  const sealer = realSealer()
  const world = makeDiskWorld(sealer)
  try {
    const { directory, volumeId, hands } = world
    let head = world.first
    const bodies: string[] = []
    for (let i = 0; i < 300; i++) {
      const body = `canary ${i} `.repeat(1 + (i % 40))
      const hand = hands[i % 7 < 4 ? 0 : 1]
      head = hand.append(head, fields(confirmedAt(head)), Buffer.from(body))
      bodies.push(body)
      if (i % 50 === 0) hand.sync(head)
      if (i % 50 === 25) await hand.syncAsync(head)
    }
    assert.ok(head.file > 3)
    const { records, end } = collect(scan(systemDisk, directory, volumeId, null, sealer))
    assert.equal(
      records.map(({ body }) => String(body)),
      bodies,
    )
    assert.equal(end, head)
    for (const name of fs.readdirSync(directory)) {
      assert.not.ok(fs.readFileSync(join(directory, name)).includes('canary'), name)
    }
    assert.is(
      nameOfThrown(() => collect(scan(systemDisk, directory, volumeId, null, realSealer()))),
      'CorruptError seal',
    )
  } finally {
    world.close()
  }
})

test('dropped files give their space back although another hand has them open', () => {
  const world = makeDiskWorld(realSealer())
  try {
    const [a, b] = world.hands
    let head = a.append(world.first, fields(), Buffer.alloc(15_000))
    const old = fs.openSync(join(world.directory, '0000000001.journal'), 'r')
    while (head.file < 3) head = b.append(head, fields(), Buffer.alloc(5000))
    b.dropBefore(head.file)
    assert.is(fs.fstatSync(old).size, 0)
    assert.is(fs.fstatSync(old).nlink, 0)
    fs.closeSync(old)
    head = a.append(head, fields(), Buffer.from('goes on'))
    a.sync(head)
  } finally {
    world.close()
  }
})

test.run()
