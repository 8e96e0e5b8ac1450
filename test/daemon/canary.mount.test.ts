// deadline: 180 s
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeWorld, sh, startNode } from '../support/node-world.ts'

/** Words that stand nowhere else; each is used in one way only, so that a find says what leaked. */
const WORDS = {
  content: 'zx81contentquokkaflute',
  'large content': 'zx82largemarmotgravel',
  'file name': 'zx83nametapirlantern',
  'directory name': 'zx84dirokapithimble',
  'attribute name': 'zx85attrnameibexpewter',
  'attribute value': 'zx86attrvaluenarwhalcobalt',
  'symlink target': 'zx87symlinkwombatsaffron',
  passphrase: 'zx88passphrasegeckoanvil',
} as const

/** Every file below `dir` and every name, as bytes; and the same read as UTF-16. */
function findings(dir: string): string[] {
  const found: string[] = []
  const look = (path: string) => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const at = join(path, entry.name)
      for (const [what, word] of Object.entries(WORDS)) {
        if (entry.name.includes(word)) found.push(`${what} as a name: ${at}`)
      }
      if (entry.isDirectory()) look(at)
      if (!entry.isFile()) continue
      const bytes = readFileSync(at)
      for (const [what, word] of Object.entries(WORDS)) {
        if (bytes.includes(word)) found.push(`${what} in ${at}`)
        if (bytes.includes(Buffer.from(word, 'utf16le'))) found.push(`${what} as UTF-16 in ${at}`)
      }
    }
  }
  look(dir)
  return found
}

/** Every way in which a word can enter a volume. */
async function use(dir: string): Promise<void> {
  writeFileSync(join(dir, 'small'), WORDS.content)
  writeFileSync(join(dir, 'large'), `${WORDS['large content']} `.repeat(200_000))
  writeFileSync(join(dir, WORDS['file name']), 'x')
  mkdirSync(join(dir, WORDS['directory name']))
  writeFileSync(join(dir, WORDS['directory name'], 'inside'), 'y')
  symlinkSync(WORDS['symlink target'], join(dir, 'link'))
  await sh('setfattr', ['-n', `user.${WORDS['attribute name']}`, '-v', 'v', join(dir, 'small')])
  await sh('setfattr', ['-n', 'user.a', '-v', WORDS['attribute value'], join(dir, 'small')])
  await sh('sync', [dir])
  // Errors name their subject to the caller; the log must not.
  assert.not(existsSync(join(dir, `missing-${WORDS['file name']}`)))
  const { code } = await sh('mkdir', [join(dir, WORDS['directory name'])]).then(
    () => ({ code: 0 }),
    () => ({ code: 1 }),
  )
  assert.is(code, 1, 'a second directory of that name is refused')
}

function bytesBelow(dir: string): number {
  return readdirSync(dir, { withFileTypes: true }).reduce((sum, entry) => {
    const at = join(dir, entry.name)
    return sum + (entry.isDirectory() ? bytesBelow(at) : statSync(at).size)
  }, 0)
}

test('the alarm works: in a plain directory every word is found', async () => {
  const world = await startNode({ mount: false })
  try {
    const plain = world.mkdir('plain')
    await use(plain)
    writeFileSync(join(plain, 'secret'), WORDS.passphrase)
    const found = findings(plain)
    for (const what of ['content', 'large content', 'passphrase']) {
      assert.ok(
        found.some((line) => line.startsWith(`${what} in `)),
        `${what} is found`,
      )
    }
    for (const what of ['file name', 'directory name']) {
      assert.ok(
        found.some((line) => line.startsWith(`${what} as a name`)),
        `${what} is found`,
      )
    }
    writeFileSync(join(plain, 'wide'), Buffer.from(`x${WORDS.content}`, 'utf16le'))
    assert.ok(findings(plain).some((line) => line.includes('UTF-16')))
  } finally {
    await world.close()
  }
})

async function passphrase(world: NodeWorld, volume: string): Promise<void> {
  const file = join(world.mkdir('secrets'), 'passphrase')
  writeFileSync(file, WORDS.passphrase, { mode: 0o600 })
  await world.weft('key', 'add', volume, '--passphrase-file', file)
}

test('no word of a volume is found at rest: not in the home, not on a drive, not in a log', async () => {
  const world = await startNode({ drives: 2 })
  try {
    const dirs = [await world.volume('v'), await world.attached('w')]
    for (const dir of dirs) await use(dir)
    await passphrase(world, 'v')
    // Also what is written by a daemon that died and by the one that took over.
    await world.kill9()
    await world.ready()
    for (const dir of dirs) writeFileSync(join(dir, 'after'), WORDS.content)
    for (const dir of dirs) {
      assert.is(readFileSync(join(dir, 'small'), 'utf8'), WORDS.content)
      assert.is(readFileSync(join(dir, 'after'), 'utf8'), WORDS.content)
    }
    await world.weft('down')
    assert.ok(bytesBelow(world.home) > 1_000_000, 'something was written')
    assert.equal(findings(world.home), [])
    assert.ok(existsSync(join(world.dir, 'drive1')))
    assert.equal(findings(join(world.dir, 'drive1')), [])
    for (const runDir of world.runDirs) {
      if (existsSync(runDir)) assert.equal(findings(runDir), [], 'nothing stays staged in clear')
    }
  } finally {
    await world.close()
  }
})

test.run()
