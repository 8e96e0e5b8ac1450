import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeWorld, startNode } from '../support/node-world.ts'

interface Report {
  clean: boolean
  checked: { inodes: number; records: number; chunks: number }
  findings: { severity: string; what: string; outcome: string; next: string }[]
}
interface Volumes {
  volumes: { name: string; state: string; id: string }[]
}

function put(path: string, bytes: Buffer): void {
  const fd = openSync(path, 'w')
  try {
    writeFileSync(fd, bytes)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

async function idOf(world: NodeWorld): Promise<string> {
  const { volumes } = await world.json<Volumes>('volume', 'list')
  return volumes[0]?.id ?? ''
}

async function stateOf(world: NodeWorld): Promise<string> {
  const { volumes } = await world.json<Volumes>('volume', 'list')
  return volumes[0]?.state ?? ''
}

async function fsck(
  world: NodeWorld,
  ...args: string[]
): Promise<{ code: number; report: Report }> {
  const done = await world.tryWeft('fsck', ...args, '--json')
  assert.ok(done.stdout.startsWith('{'), done.stderr)
  return { code: done.code ?? -1, report: JSON.parse(done.stdout) as Report }
}

test('a whole volume under use is checked, and everything is counted', async () => {
  const world = await startNode()
  try {
    const dir = await world.volume('vol', '--size', '1G')
    for (let i = 0; i < 30; i++) put(join(dir, `f${i}`), randomBytes(1000 + i * 20_000))
    const { code, report } = await fsck(world)
    assert.is(code, 0)
    assert.is(report.clean, true)
    assert.is(report.checked.inodes, 31)
    assert.ok(report.checked.records > 30)
    assert.ok(report.checked.chunks > 0)
    const unknown = await world.tryWeft('fsck', 'nosuch')
    assert.is(unknown.code, 4)
    await world.weft('key', 'lock', 'vol')
    const locked = await world.tryWeft('fsck', 'vol')
    assert.not.equal(locked.code, 0)
    assert.match(locked.stderr, /key unlock vol/)
    const all = await fsck(world)
    assert.match(all.report.findings[0]?.what ?? '', /locked and was not checked/)
  } finally {
    await world.close()
  }
})

test('a journal with a damaged head: the volume stays closed, fsck says so, and repair opens it with every file', async () => {
  const world = await startNode()
  try {
    const dir = await world.volume('vol', '--size', '1G')
    const bytes = randomBytes(300_000)
    put(join(dir, 'f'), bytes)
    const id = await idOf(world)
    await world.weft('down')
    const journal = join(world.home, 'drives', 'default', 'volumes', id, '0000000001.journal')
    const file = readFileSync(journal)
    file[30] = (file[30] as number) ^ 1
    writeFileSync(journal, file)
    await world.up()
    await world.weft('mount', world.mnt)
    assert.is(await stateOf(world), 'damaged')
    const looked = await fsck(world, 'vol')
    assert.is(looked.code, 7)
    assert.match(looked.report.findings.map(({ what }) => what).join('\n'), /journal file 1/)
    assert.is(await stateOf(world), 'damaged', 'looking changes nothing')
    await fsck(world, 'vol', '--repair')
    assert.is(await stateOf(world), 'ready')
    assert.equal(readFileSync(join(world.mnt, 'vol', 'f')), bytes)
    put(join(world.mnt, 'vol', 'g'), bytes)
    assert.is((await fsck(world)).code, 0)
    await world.restart()
    assert.equal(readFileSync(join(world.mnt, 'vol', 'g')), bytes)
    assert.equal(readdirSync(join(world.home, 'drives', 'default', 'volumes', id, 'quarantine')), [
      '0000000001.journal',
    ])
  } finally {
    await world.close()
  }
})

test('a view whose pages are damaged costs nothing but the time to make it anew', async () => {
  const world = await startNode()
  try {
    const dir = await world.volume('vol', '--size', '1G')
    for (let i = 0; i < 300; i++) writeFileSync(join(dir, `f${i}`), `content ${i}`)
    const id = await idOf(world)
    await world.weft('down')
    const view = join(world.home, 'views', id, 'data.mdb')
    const file = readFileSync(view)
    // Every page but the two heads.
    file.fill(0xa5, 2 * 4096)
    writeFileSync(view, file)
    await world.up()
    await world.weft('mount', world.mnt)
    if ((await stateOf(world)) !== 'ready') await fsck(world, '--repair')
    assert.is(await stateOf(world), 'ready')
    for (let i = 0; i < 300; i += 50) {
      assert.is(readFileSync(join(world.mnt, 'vol', `f${i}`), 'utf8'), `content ${i}`)
    }
    assert.is((await fsck(world)).code, 0)
  } finally {
    await world.close()
  }
})

test.run()
