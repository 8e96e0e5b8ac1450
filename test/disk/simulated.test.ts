import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'
import { SimulatedDisk, sectorBytes } from '../../src/disk/index.ts'
import { seeded } from '../support/seeded.ts'

function put(disk: SimulatedDisk, path: string, text: string, at = 0): void {
  const handle = disk.open(path, 'create')
  const bytes = Buffer.from(text)
  disk.write(handle, bytes, 0, bytes.length, at)
  disk.close(handle)
}

function sync(disk: SimulatedDisk, path: string): void {
  const handle = disk.open(path, 'write')
  disk.fdatasync(handle)
  disk.close(handle)
}

function codeOfThrown(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
  return 'no error'
}

test('synced bytes under a synced name survive every power cut', () => {
  for (let seed = 0; seed < 200; seed++) {
    const disk = new SimulatedDisk()
    disk.mkdir('/d')
    put(disk, '/d/a', 'kept')
    sync(disk, '/d/a')
    disk.fsyncDirectory('/d')
    put(disk, '/d/a', 'x'.repeat(3000), 4)
    disk.powerCut(seeded(seed))
    assert.is(disk.readFile('/d/a').subarray(0, 4).toString(), 'kept', `seed ${seed}`)
  }
})

test('unsynced bytes are seen kept, lost, cut short at a sector, and with holes', () => {
  const seen = new Set<string>()
  for (let seed = 0; seed < 2000; seed++) {
    const disk = new SimulatedDisk()
    put(disk, '/a', '')
    disk.fsyncDirectory('/')
    for (let i = 0; i < 4; i++) put(disk, '/a', 'x'.repeat(sectorBytes), i * sectorBytes)
    disk.powerCut(seeded(seed))
    const sectors = disk.readFile('/a').toString('latin1').replaceAll('\0', '0')
    assert.is(sectors.length % sectorBytes, 0)
    let shape = ''
    for (let at = 0; at < sectors.length; at += sectorBytes) {
      const sector = sectors.slice(at, at + sectorBytes)
      assert.ok(
        sector === 'x'.repeat(sectorBytes) || sector === '0'.repeat(sectorBytes),
        `seed ${seed}`,
      )
      shape += sector[0]
    }
    seen.add(shape)
  }
  for (const shape of ['', 'x', 'xx', 'xxx', 'xxxx', '0xxx', 'x0x0'])
    assert.ok(seen.has(shape), shape)
})

test('a name without fsync of its directory is sometimes lost, a rename never by half', () => {
  const seen = new Set<string>()
  for (let seed = 0; seed < 200; seed++) {
    const disk = new SimulatedDisk()
    put(disk, '/a', 'x')
    sync(disk, '/a')
    disk.fsyncDirectory('/')
    disk.rename('/a', '/b')
    put(disk, '/c', 'y')
    disk.powerCut(seeded(seed))
    const names = disk.list('/').join('')
    assert.ok(names.startsWith('a') !== names.startsWith('b'), names)
    seen.add(names)
  }
  assert.equal([...seen].sort(), ['a', 'ac', 'b', 'bc'])
})

test('replaceFile gives the old bytes or the new ones after a power cut at any step', () => {
  for (let seed = 0; seed < 50; seed++) {
    const disk = new SimulatedDisk()
    disk.replaceFile('/f', Buffer.from('old'))
    disk.fail('rename', 'EIO')
    assert.is(
      codeOfThrown(() => disk.replaceFile('/f', Buffer.from('lost'))),
      'EIO',
    )
    disk.powerCut(seeded(seed))
    assert.is(disk.readFile('/f').toString(), 'old')
    disk.replaceFile('/f', Buffer.from('new'))
    disk.powerCut(seeded(seed))
    assert.is(disk.readFile('/f').toString(), 'new')
  }
})

test('a full disk takes what fits and says ENOSPC; removing gives room again', () => {
  const disk = new SimulatedDisk(10)
  put(disk, '/a', '12345678')
  assert.is(
    codeOfThrown(() => put(disk, '/b', '12345')),
    'ENOSPC',
  )
  assert.is(disk.readFile('/b').toString(), '12')
  assert.is(disk.freeBytes('/'), 0)
  put(disk, '/a', 'overwrit')
  disk.unlink('/a')
  assert.is(disk.freeBytes('/'), 8)
})

test('an ordered failure comes once, at the call asked for', () => {
  const disk = new SimulatedDisk()
  disk.fail('write', 'EIO', { after: 1 })
  put(disk, '/a', 'one')
  assert.is(
    codeOfThrown(() => put(disk, '/a', 'four')),
    'EIO',
  )
  put(disk, '/a', 'two')
})

test('what a failed sync had to write never reaches the drive', () => {
  const disk = new SimulatedDisk()
  put(disk, '/a', 'x')
  disk.fsyncDirectory('/')
  disk.fail('fdatasync', 'EIO')
  assert.is(
    codeOfThrown(() => sync(disk, '/a')),
    'EIO',
  )
  sync(disk, '/a')
  disk.powerCut(seeded(1))
  assert.is(disk.readFile('/a').length, 0)
})

test('an fdatasyncAsync makes durable what was written before it, when it has returned and not sooner', async () => {
  const seen = new Set<string>()
  for (let seed = 0; seed < 100; seed++) {
    const disk = new SimulatedDisk()
    put(disk, '/a', 'old')
    disk.fsyncDirectory('/')
    const handle = disk.open('/a', 'write')
    const before = disk.fdatasyncAsync(handle)
    put(disk, '/a', 'new')
    if (seed % 2 === 0) await before
    disk.powerCut(seeded(seed))
    const found = disk.readFile('/a').toString().replaceAll('\0', '0')
    seen.add(`${seed % 2 === 0 ? 'awaited' : 'early'} ${found}`)
    if (seed % 2 === 0) continue
    await before.then(
      () => assert.unreachable('it never returns'),
      () => null,
    )
  }
  assert.equal([...seen].sort(), [
    'awaited new',
    'awaited old',
    'early ',
    'early 000',
    'early new',
    'early old',
  ])
})

test('the power goes off at the call asked for: nothing is changed, synced or read any more', () => {
  const disk = new SimulatedDisk()
  put(disk, '/a', 'x')
  disk.fsyncDirectory('/')
  disk.powerOffAfter(1)
  const handle = disk.open('/a', 'write')
  disk.write(handle, Buffer.from('y'), 0, 1, 0)
  assert.not(disk.off)
  assert.is(
    codeOfThrown(() => disk.fdatasync(handle)),
    'EIO',
  )
  assert.ok(disk.off)
  assert.is(
    codeOfThrown(() => disk.readFile('/a')),
    'EIO',
  )
  disk.close(handle)
  disk.powerCut(seeded(1))
  assert.not(disk.off)
  put(disk, '/a', 'z')
  assert.is(disk.readFile('/a').toString(), 'z')
})

test('handles are dead after a power cut', () => {
  const disk = new SimulatedDisk()
  const handle = disk.open('/a', 'create')
  disk.powerCut(seeded(2))
  assert.is(
    codeOfThrown(() => disk.size(handle)),
    'EIO',
  )
})

test.run()
