// deadline: 300 s
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { startNode, until } from '../support/node-world.ts'
import { bytesOf } from '../support/writers.ts'

const MIB = 1024 * 1024
const SIZE = 64 * MIB

/** Write blocks that follow from their number until a call fails. @returns blocks that were accepted, and the code */
function fill(path: string, blocksMax: number, sync: boolean): { blocks: number; code: string } {
  let fd = -1
  let blocks = 0
  try {
    fd = openSync(path, 'w')
    for (; blocks < blocksMax; blocks += 1) {
      const n = writeSync(fd, bytesOf(path, blocks, MIB), 0, MIB, blocks * MIB)
      if (n < MIB) return { blocks, code: 'short' }
      if (sync) fsyncSync(fd)
    }
    return { blocks, code: '' }
  } catch (error) {
    return { blocks, code: (error as NodeJS.ErrnoException).code ?? '' }
  } finally {
    if (fd >= 0) closeSync(fd)
  }
}

function assertBlocks(path: string, from: string, blocks: number): void {
  const fd = openSync(path, 'r')
  const got = Buffer.alloc(MIB)
  try {
    for (let n = 0; n < blocks; n += 1) {
      assert.is(readSync(fd, got, 0, MIB, n * MIB), MIB, `block ${n} is there`)
      assert.ok(got.equals(bytesOf(from, n, MIB)), `block ${n} is whole`)
    }
  } finally {
    closeSync(fd)
  }
}

const used = (dir: string) => {
  const { blocks, bfree, bsize } = statfsSync(dir)
  return (blocks - bfree) * bsize
}
const size = (dir: string) => {
  const { blocks, bsize } = statfsSync(dir)
  return blocks * bsize
}

test('a volume takes what its size says and refuses the write that goes past it', async () => {
  const world = await startNode()
  try {
    const dir = await world.volume('v', '--size', '64M')
    assert.is(size(dir), SIZE)
    assert.is(used(dir), 0)
    const file = join(dir, 'f')
    const { blocks, code } = fill(file, 100, false)
    assert.is(code, 'ENOSPC')
    assert.is(blocks, 64, 'to the last block')
    assert.is(used(dir), SIZE)
    assert.is(statSync(file).size, SIZE)
    assertBlocks(file, file, 64)
    const fd = openSync(file, 'r+')
    writeSync(fd, bytesOf('again', 0, MIB), 0, MIB, 5 * MIB)
    closeSync(fd)
    assert.throws(() => writeFileSync(join(dir, 'g'), 'x'), /ENOSPC/)
    mkdirSync(join(dir, 'd'))
    assert.is(used(dir), SIZE, 'overwriting takes nothing')

    await world.weft('volume', 'resize', 'v', '70M')
    assert.is(size(dir), 70 * MIB)
    assert.is(fill(join(dir, 'g'), 100, false).blocks, 6)
    const refused = await world.tryWeft('volume', 'resize', 'v', '60M')
    assert.is.not(refused.code, 0)
    assert.match(refused.stderr, /10 ?M/, 'it says by how much')
    assert.is(size(dir), 70 * MIB, 'nothing changed')

    unlinkSync(file)
    await until('the space is free', () => used(dir) === 6 * MIB)
    await world.weft('volume', 'resize', 'v', '8M')
    assert.is(size(dir), 8 * MIB)
    assert.is(fill(join(dir, 'h'), 100, false).blocks, 2)
    await world.restart()
    assert.is(size(dir), 8 * MIB)
    assert.is(used(dir), 8 * MIB)
    assert.equal(world.complaints(), [])
  } finally {
    await world.close()
  }
})

test('holes take nothing, and filling one past the size is refused', async () => {
  const world = await startNode()
  try {
    const dir = await world.volume('v', '--size', '64M')
    const file = join(dir, 'f')
    execFileSync('truncate', ['-s', '10G', file])
    assert.is(used(dir), 0)
    assert.throws(() => execFileSync('fallocate', ['-l', '65M', file], { stdio: 'ignore' }))
    execFileSync('fallocate', ['-l', '64M', file])
    assert.is(used(dir), SIZE)
    assert.throws(() => writeFileSync(join(dir, 'g'), 'x'), /ENOSPC/)
    execFileSync('fallocate', ['-p', '-o', '1M', '-l', '1M', file])
    assert.is(used(dir), SIZE - MIB)
    writeFileSync(join(dir, 'g'), Buffer.alloc(MIB, 7))
    assert.is(used(dir), SIZE)
  } finally {
    await world.close()
  }
})

test('on an exclusive mount ENOSPC comes with fsync at the latest, and no byte is shown that is nowhere', async () => {
  const world = await startNode()
  try {
    const dir = await world.attached('v', '--size', '64M')
    assert.is(size(dir), SIZE)
    const file = join(dir, 'f')
    const fd = openSync(file, 'w+')
    let code = ''
    try {
      for (let n = 0; n < 80; n += 1) {
        assert.is(writeSync(fd, bytesOf(file, n, MIB), 0, MIB, n * MIB), MIB)
      }
      fsyncSync(fd)
    } catch (error) {
      code = (error as NodeJS.ErrnoException).code ?? ''
    }
    assert.is(code, 'ENOSPC')
    // What the kernel still shows must be what a new reader would get.
    const shown = readFileSync(file)
    closeSync(fd)
    assert.ok(used(dir) <= SIZE)
    await world.weft('detach', dir)
    await world.weft('attach', 'v', dir)
    // Behind the end of what was kept the kernel may show zeros: it decides sizes here.
    const kept = Buffer.alloc(shown.length)
    readFileSync(file).copy(kept)
    let nowhere = 0
    const block = 4096
    for (let at = 0; at < shown.length; at += block) {
      if (!shown.subarray(at, at + block).equals(kept.subarray(at, at + block))) nowhere += 1
    }
    assert.is(
      nowhere,
      0,
      `${nowhere} of ${shown.length / block} pages showed bytes that are nowhere`,
    )
    const before = used(dir)
    unlinkSync(file)
    await until('the space is free', () => used(dir) < before / 2)
    writeFileSync(join(dir, 'g'), bytesOf('g', 0, MIB))
    execFileSync('sync', [dir])
    assert.ok(readFileSync(join(dir, 'g')).equals(bytesOf('g', 0, MIB)))
  } finally {
    await world.close()
  }
})

/** What the files below a directory take of its drive. */
function taken(dir: string): number {
  return Number(execFileSync('du', ['-s', '-B1', dir], { encoding: 'utf8' }).split('\t')[0])
}

test('a full drive refuses early and whole, lets delete, and has its space back within a minute', async () => {
  const home = mkdtempSync(join(tmpdir(), 'weft-full-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=300m,mode=700', 'tmpfs', home])
  const node = await startNode({ home: join(home, 'home') })
  try {
    const dir = await node.volume('v')
    const accepted: number[] = []
    let code = ''
    for (let n = 0; n < 40 && code === ''; n += 1) {
      const done = fill(join(dir, `f${n}`), 10, true)
      accepted.push(done.blocks)
      code = done.code
    }
    assert.is(code, 'ENOSPC')
    const whole = accepted.reduce((sum, blocks) => sum + blocks, 0)
    assert.ok(whole > 100, `${whole} MiB were taken`)
    const check = () => {
      for (const [n, blocks] of accepted.entries()) {
        if (blocks > 0) assertBlocks(join(dir, `f${n}`), join(dir, `f${n}`), blocks)
      }
    }
    check()
    await node.restart()
    check()
    assert.is((await node.json<{ daemon: unknown }>('status')).daemon === null, false)
    const full = taken(join(home, 'home'))
    for (const name of readdirSync(dir)) rmSync(join(dir, name))
    assert.equal(readdirSync(dir), [])
    await until(
      'the drive has its space back',
      () => taken(join(home, 'home', 'drives')) < full / 20,
      60_000,
    ).catch((error: Error) => {
      const what = execFileSync('du', ['-a', '-B1', join(home, 'home')], { encoding: 'utf8' })
      throw new Error(`${error.message}; it was ${full}:\n${what}`)
    })
    const again = fill(join(dir, 'again'), 20, true)
    const df = execFileSync('df', ['-B1', home, dir], { encoding: 'utf8' })
    assert.equal(again, { blocks: 20, code: '' }, `${df}\n${node.complaints(40).join('\n')}`)
    assertBlocks(join(dir, 'again'), join(dir, 'again'), 20)
  } finally {
    await node.close()
    execFileSync('umount', ['-l', home])
    rmSync(home, { recursive: true })
  }
})

test('what is deleted is given back to the last file, also when nothing is done afterwards', async () => {
  const w = await startNode()
  try {
    const dir = await w.volume('v')
    for (let i = 0; i < 150; i += 1) writeFileSync(join(dir, `${i}`), 'x'.repeat(100))
    for (let i = 0; i < 150; i += 1) unlinkSync(join(dir, `${i}`))
    const left = async () => {
      const { files, usedBytes } = JSON.parse(await w.weft('volume', 'inspect', 'v', '--json'))
      return { files, usedBytes }
    }
    // Each look starts a program: some seconds together.
    for (let look = 0; look < 40 && (await left()).files > 0; look += 1);
    assert.equal(await left(), { files: 0, usedBytes: 0 })
  } finally {
    await w.close()
  }
})

test.run()
