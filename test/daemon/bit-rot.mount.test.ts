import { randomBytes } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeWorld, startNode, until } from '../support/node-world.ts'

interface Report {
  clean: boolean
  findings: {
    severity: string
    volume: string
    what: string
    path: string | null
    outcome: string
  }[]
}
interface Status {
  problems: { severity: string; what: string }[]
  drives: { usedBytes: number; totalBytes: number }[]
}

const PAGE = 16 * 1024
const FILE = 1024 * 1024

/** Chunk files of the drive, largest first. */
function chunks(world: NodeWorld): string[] {
  const directory = join(world.home, 'drives', 'default', 'chunks')
  return readdirSync(directory)
    .flatMap((prefix) =>
      readdirSync(join(directory, prefix)).map((id) => join(directory, prefix, id)),
    )
    .sort((a, b) => readFileSync(b).length - readFileSync(a).length)
}

function readAt(path: string, offset: number, length: number): Buffer {
  const fd = openSync(path, 'r')
  try {
    const out = Buffer.alloc(length)
    assert.is(readSync(fd, out, 0, length, offset), length)
    return out
  } finally {
    closeSync(fd)
  }
}

/** Written and on the drive. */
function put(path: string, bytes: Buffer): void {
  const fd = openSync(path, 'w')
  try {
    writeFileSync(fd, bytes)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** The kernel forgets the pages it has. */
async function remount(world: NodeWorld): Promise<void> {
  await world.weft('umount', world.mnt)
  await world.weft('mount', world.mnt)
}

function errnoOf(work: () => unknown): string {
  try {
    work()
    return ''
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'none'
  }
}

test('a flipped bit costs its page alone; status names it, fsck names the file, repair quarantines the chunk', async () => {
  const world = await startNode()
  try {
    const dir = await world.volume('vol', '--size', '1G')
    mkdirSync(join(dir, 'deep'))
    const path = join(dir, 'deep', 'file')
    const bytes = randomBytes(FILE)
    put(path, bytes)
    await remount(world)
    const [chunk] = chunks(world)
    assert.ok(chunk)
    const rotten = readFileSync(chunk as string)
    // One block of header, one of tags; in the first half of the twentieth 16 KiB: pages are of 8.
    const at = 2 * 4096 + 20 * PAGE + 123
    rotten[at] = (rotten[at] as number) ^ 0x10
    writeFileSync(chunk as string, rotten)

    // Read ahead would ask for more than the page; direct reads ask for what is said.
    assert.is(
      errnoOf(() => readAt(path, 20 * PAGE + 5000, 100)),
      'EIO',
    )
    assert.equal(readAt(path, 0, 4096), bytes.subarray(0, 4096))
    assert.equal(readAt(path, 24 * PAGE, 8 * PAGE), bytes.subarray(24 * PAGE, 32 * PAGE))
    const status = await world.json<Status>('status')
    assert.ok(
      status.problems.some(
        ({ severity, what }) => severity === 'error' && /vol.*damaged/.test(what),
      ),
      JSON.stringify(status.problems),
    )

    const looked = await world.tryWeft('fsck', 'vol', '--json')
    assert.is(looked.code, 7)
    const report = JSON.parse(looked.stdout) as Report
    assert.is(report.clean, false)
    const found = report.findings.filter(({ severity }) => severity === 'damage')
    assert.is(found.length, 1)
    assert.is(found[0]?.path, '/deep/file')
    assert.match(found[0]?.what ?? '', /8192 bytes \(327680 to 335871\)/)
    assert.is(found[0]?.outcome, 'left')

    const mended = await world.tryWeft('fsck', 'vol', '--repair', '--json')
    assert.is(mended.code, 7, 'what is lost is still lost')
    const repaired = JSON.parse(mended.stdout) as Report
    assert.equal(
      repaired.findings
        .filter(({ severity }) => severity === 'damage')
        .map(({ outcome }) => outcome),
      ['quarantined'],
    )
    const quarantine = join(world.home, 'drives', 'default', 'quarantine')
    assert.equal(readdirSync(quarantine), [(chunk as string).split('/').at(-1)])

    assert.is(
      errnoOf(() => readAt(path, 20 * PAGE + 5000, 100)),
      'EIO',
    )
    assert.equal(readAt(path, 0, 16 * PAGE), bytes.subarray(0, 16 * PAGE))
    assert.equal(readAt(path, 24 * PAGE, 40 * PAGE), bytes.subarray(24 * PAGE))

    // Copied back from a backup, it is whole again.
    put(path, bytes)
    await remount(world)
    assert.equal(readFileSync(path), bytes)
    const clean = await world.json<Report>('fsck', 'vol')
    assert.is(clean.clean, true)
  } finally {
    await world.close()
  }
})

test('a chunk that is gone: its files answer EIO, the others do not, and they can be deleted', async () => {
  const world = await startNode()
  try {
    const dir = await world.volume('vol', '--size', '1G')
    put(join(dir, 'one'), randomBytes(FILE))
    put(join(dir, 'two'), randomBytes(200_000))
    await remount(world)
    const [chunk] = chunks(world)
    rmSync(chunk as string)
    assert.is(
      errnoOf(() => readFileSync(join(dir, 'one'))),
      'EIO',
    )
    assert.is(readFileSync(join(dir, 'two')).length, 200_000)
    rmSync(join(dir, 'one'))
    put(join(dir, 'three'), Buffer.from('still in use'))
    assert.is((await world.json<Report>('fsck')).clean, true)
  } finally {
    await world.close()
  }
})

test('a drive tells the bytes that weft has on it, not those of its whole filesystem', async () => {
  const world = await startNode()
  try {
    const dir = await world.volume('vol', '--size', '1G')
    const used = async () => (await world.json<Status>('status')).drives[0]?.usedBytes ?? -1
    const empty = await used()
    assert.ok(empty >= 0 && empty < 4 * FILE, `${empty}`)
    put(join(dir, 'f'), randomBytes(24 * FILE))
    const full = await until('the count is fresh', async () => {
      const bytes = await used()
      return bytes >= 24 * FILE && bytes
    })
    assert.ok(full < 40 * FILE, `${full}`)
  } finally {
    await world.close()
  }
})

test.run()
