import { randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeWorld, startNode } from '../support/node-world.ts'

interface Report {
  findings: { what: string; path: string | null; outcome: string; next: string }[]
}
interface Volumes {
  volumes: { name: string; state: string; id: string }[]
}

/** What a file of the tests holds: as much as goes into the journal itself, or a chunk. */
const contentOf = (name: string) => Buffer.alloc(name.startsWith('big') ? 300_000 : 900, name)

function put(dir: string, name: string): void {
  const fd = openSync(join(dir, name), 'w')
  try {
    writeFileSync(fd, contentOf(name))
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

async function volumeOf(world: NodeWorld): Promise<Volumes['volumes'][0]> {
  const { volumes } = await world.json<Volumes>('volume', 'list')
  assert.ok(volumes[0])
  return volumes[0]
}

const journalOf = (world: NodeWorld, id: string) =>
  join(world.home, 'drives', 'default', 'volumes', id)

async function fsck(
  world: NodeWorld,
  ...args: string[]
): Promise<{ code: number; text: string; report: Report }> {
  const done = await world.tryWeft('fsck', 'vol', ...args, '--json')
  assert.ok(done.stdout.startsWith('{'), done.stderr)
  const report = JSON.parse(done.stdout) as Report
  const text = report.findings.map(({ what, next }) => `${what} | ${next}`).join('\n')
  return { code: done.code ?? -1, text, report }
}

/** Both die as in a cut of power, and the index is gone: only checkpoint and journal are left. */
async function loseView(world: NodeWorld, id: string): Promise<void> {
  await world.killAll()
  rmSync(join(world.home, 'views', id), { recursive: true })
}

/** Files of the volume, each with the content it was given. */
function wholeFiles(dir: string): string[] {
  const names = readdirSync(dir).filter((name) => name !== 'lost+found')
  for (const name of names) {
    assert.ok(readFileSync(join(dir, name)).equals(contentOf(name)), `content of ${name}`)
  }
  return names
}

/** The volume is written, checked, closed and opened, also after a cut of power without its view. */
async function useIt(world: NodeWorld, before: readonly string[]): Promise<void> {
  const dir = join(world.mnt, 'vol')
  put(dir, 'new')
  put(dir, 'big-new')
  const expected = [...before, 'new', 'big-new'].sort()
  assert.equal(wholeFiles(dir).sort(), expected)
  assert.is((await fsck(world)).code, 0)
  await world.restart()
  assert.equal(wholeFiles(dir).sort(), expected)
  await loseView(world, (await volumeOf(world)).id)
  await world.up()
  await world.weft('mount', world.mnt)
  assert.equal(wholeFiles(dir).sort(), expected)
  assert.is((await fsck(world)).code, 0)
}

test('a journal that is needed and damaged in the middle: repair refuses, and with the loss accepted the volume goes on before it', async () => {
  const world = await startNode()
  try {
    const dir = await world.volume('vol', '--size', '1G')
    const names = Array.from({ length: 40 }, (_, n) => (n % 8 === 5 ? `big${n}` : `f${n}`))
    for (const name of names) put(dir, name)
    // Staged and not committed when both die: its inode will be gone with the records that are cut.
    writeFileSync(join(dir, 'unsynced'), contentOf('unsynced'))
    const { id } = await volumeOf(world)
    await loseView(world, id)
    const path = join(journalOf(world, id), '0000000001.journal')
    const bytes = readFileSync(path)
    // Behind the newest record are zeros.
    const at = Math.floor(bytes.findLastIndex((byte) => byte !== 0) / 2)
    bytes[at] = (bytes[at] as number) ^ 1
    writeFileSync(path, bytes)
    await world.up()
    await world.weft('mount', world.mnt)
    assert.is((await volumeOf(world)).state, 'damaged')

    const refused = await fsck(world, '--repair')
    assert.is(refused.code, 7)
    assert.match(refused.text, /records \d+ to \d+ would be lost/)
    assert.match(refused.text, /weft fsck vol --repair --accept-loss/)
    assert.is((await volumeOf(world)).state, 'damaged')
    assert.equal(readFileSync(path), bytes, 'nothing is changed')
    for (const args of [
      ['vol', '--accept-loss'],
      ['--repair', '--accept-loss'],
    ]) {
      const wrong = await world.tryWeft('fsck', ...args)
      assert.is(wrong.code, 2)
      assert.match(wrong.stderr, /--accept-loss wants one volume and --repair/)
    }
    assert.is(await world.post('/v1/fsck', { volume: 'vol', repair: false, acceptLoss: true }), 400)

    const cut = await fsck(world, '--repair', '--accept-loss')
    assert.match(cut.text, /records (\d+) to \d+ are given up: the volume goes on from record \d+/)
    const range = /records (\d+) to (\d+) would be lost/.exec(refused.text)
    assert.match(cut.text, new RegExp(`records ${range?.[1]} to ${range?.[2]} are given up`))
    assert.match(cut.text, /chunks that only lost records named were put aside/)
    const volume = await volumeOf(world)
    assert.is(volume.state, 'ready')
    const kept = wholeFiles(dir)
    assert.ok(kept.length >= 10 && kept.length < 40, `${kept.length} files are left`)
    assert.equal(
      [...kept].sort(),
      names.slice(0, kept.length).sort(),
      'those made before the damage',
    )
    const told = cut.report.findings
      .filter(({ what }) => /is lost$/.test(what))
      .map((one) => one.path)
    // The one in the damaged record itself cannot be named.
    for (const name of names.slice(kept.length + 2)) assert.ok(told.includes(name), name)
    const quarantine = join(journalOf(world, id), 'quarantine')
    assert.equal(readFileSync(join(quarantine, '0000000001.journal')), bytes)
    await useIt(world, kept)
  } finally {
    await world.close()
  }
})

test('a journal that is gone behind its checkpoint: with the loss accepted the volume goes on from the checkpoint', async () => {
  const world = await startNode()
  try {
    const dir = await world.volume('vol', '--size', '1G')
    const names = ['f1', 'big2', 'f3']
    for (const name of names) put(dir, name)
    const { id } = await volumeOf(world)
    const journal = journalOf(world, id)
    // The first file's header: repair begins a new journal behind the view, and takes a checkpoint.
    await world.weft('down')
    const first = join(journal, '0000000001.journal')
    const bytes = readFileSync(first)
    bytes[30] = (bytes[30] as number) ^ 1
    writeFileSync(first, bytes)
    await world.up()
    await world.weft('mount', world.mnt)
    await fsck(world, '--repair')
    assert.ok(existsSync(join(journal, 'checkpoint')))
    put(dir, 'later')
    await loseView(world, id)
    for (const name of readdirSync(journal)) {
      if (name.endsWith('.journal')) writeFileSync(join(journal, name), randomBytes(5000))
    }
    await world.up()
    await world.weft('mount', world.mnt)
    assert.is((await volumeOf(world)).state, 'damaged')
    const refused = await fsck(world, '--repair')
    assert.is(refused.code, 7)
    assert.match(refused.text, /record \d+ and all behind it would be lost/, refused.text)
    const cut = await fsck(world, '--repair', '--accept-loss')
    assert.match(cut.text, /record \d+ and all behind it are given up/, cut.text)
    assert.is((await volumeOf(world)).state, 'ready')
    assert.equal(wholeFiles(dir).sort(), [...names].sort())
    await useIt(world, names)
  } finally {
    await world.close()
  }
})

test('a volume that could not be opened gets the view that fsck can make, once its journal is back', async () => {
  const world = await startNode()
  try {
    const dir = await world.volume('vol', '--size', '1G')
    const names = Array.from({ length: 30 }, (_, n) => `f${n}`)
    for (const name of names) put(dir, name)
    const { id } = await volumeOf(world)
    await world.weft('down')
    const view = join(world.home, 'views', id, 'data.mdb')
    const path = join(journalOf(world, id), '0000000001.journal')
    for (const [round, destroyed] of ['pages', 'all of it', 'cut short', 'gone'].entries()) {
      const bytes = readFileSync(view)
      if (destroyed === 'pages') writeFileSync(view, bytes.fill(0xa5, 2 * 4096))
      else if (destroyed === 'all of it') writeFileSync(view, bytes.fill(0x5a))
      else if (destroyed === 'cut short') writeFileSync(view, bytes.subarray(0, 3 * 4096))
      else rmSync(view)
      // With the journal away the view cannot be made at the start either: the volume stays closed.
      const journal = readFileSync(path)
      rmSync(path)
      await world.up()
      await world.weft('mount', world.mnt)
      assert.is((await volumeOf(world)).state, 'damaged', destroyed)
      assert.is((await fsck(world, '--repair')).code, 7, destroyed)
      writeFileSync(path, journal)
      await fsck(world, '--repair')
      assert.is((await volumeOf(world)).state, 'ready', destroyed)
      assert.equal(wholeFiles(dir).sort(), [...names].sort(), destroyed)
      put(dir, `more${round}`)
      names.push(`more${round}`)
      assert.is((await fsck(world)).code, 0, destroyed)
      await world.weft('down')
    }
  } finally {
    await world.close()
  }
})

test.run()
