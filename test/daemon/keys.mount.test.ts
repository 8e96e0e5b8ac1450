import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeWorld, PROGRAM, startNode } from '../support/node-world.ts'

/** What a person does with the keys of a volume, through the command line and on a mount. */

const PASSPHRASE = 'never-in-clear-4711 horse'
const ENOKEY = /Required key not available/

interface Slot {
  id: string
  kind: string
  name: string
}

function file(world: NodeWorld, name: string, text: string): string {
  const path = join(world.dir, name)
  writeFileSync(path, text, { mode: 0o600 })
  return path
}

async function slotsOf(world: NodeWorld, volume: string): Promise<Slot[]> {
  return (await world.json<{ keys: Slot[] }>('key', 'list', volume)).keys
}

async function exitOf(world: NodeWorld, ...args: string[]): Promise<number | null> {
  return (await world.tryWeft(...args)).code
}

function sh(program: string, ...args: string[]) {
  return spawnSync(program, args, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } })
}

/** Its root is there to be seen, and nothing else of it. */
function assertLocked(world: NodeWorld, volume: string): void {
  assert.ok(readdirSync(world.mnt).includes(volume))
  const root = join(world.mnt, volume)
  assert.ok(statSync(root).isDirectory())
  for (const line of [
    ['ls', root],
    ['cat', join(root, 'file')],
    ['touch', join(root, 'new')],
    ['mkdir', join(root, 'dir')],
    ['rmdir', root],
  ]) {
    const done = sh(line[0] ?? '', ...line.slice(1))
    assert.match(done.stderr, ENOKEY, line.join(' '))
  }
}

test('a locked volume is visible, answers ENOKEY below its root, and opens with what its slots say', async () => {
  const world = await startNode()
  try {
    const right = file(world, 'right', `${PASSPHRASE}\n`)
    const wrong = file(world, 'wrong', 'something else\n')
    const root = await world.volume('vault', '--passphrase-file', right)
    writeFileSync(join(root, 'file'), 'what was put away')
    assert.equal(
      (await slotsOf(world, 'vault')).map(({ kind }) => kind),
      ['node', 'passphrase'],
    )

    const person = join(world.dir, 'anna.key')
    const { publicKey } = await world.json<{ publicKey: string }>('key', 'create', '--out', person)
    assert.is(statSync(person).mode & 0o777, 0o600)
    await world.weft('key', 'add', 'vault', '--recipient', publicKey, '--label', 'anna')
    const out = join(world.dir, 'shares')
    const split = await world.json<{ files: string[] }>(
      ...(['key', 'split', 'vault', '--shares', '5', '--threshold', '3', '--out', out] as const),
    )
    assert.is(split.files.length, 5)
    const [a = '', b = '', c = '', d = '', e = ''] = split.files

    const openers: [string[], string[]][] = [
      [
        ['--passphrase-file', right],
        ['--passphrase-file', wrong],
      ],
      [['--identity', person], []],
      [
        ['--share', b, '--share', d, '--share', e],
        ['--share', a, '--share', c],
      ],
      [[], []],
    ]
    for (const [good, bad] of openers) {
      await world.weft('key', 'lock', 'vault')
      assertLocked(world, 'vault')
      const { volumes } = await world.json<{ volumes: { state: string }[] }>('volume', 'list')
      assert.is(volumes[0]?.state, 'locked')
      if (bad.length > 0) {
        assert.is(await exitOf(world, 'key', 'unlock', 'vault', ...bad), 6)
        assertLocked(world, 'vault')
      }
      await world.weft('key', 'unlock', 'vault', ...good)
      assert.is(readFileSync(join(root, 'file'), 'utf8'), 'what was put away')
      writeFileSync(join(root, 'again'), 'written after unlock')
    }

    // Locked twice and unlocked twice is no error: what was asked is so.
    await world.weft('key', 'lock', 'vault')
    await world.weft('key', 'lock', 'vault')
    await world.weft('key', 'unlock', 'vault')
    await world.weft('key', 'unlock', 'vault')
    assertSecretsKept(world, [PASSPHRASE, ...secretsOf([person, ...split.files])])
  } finally {
    await world.close()
  }
})

test('a volume whose node slot is gone is locked after a restart, until a person opens it', async () => {
  const world = await startNode()
  try {
    const right = file(world, 'right', `${PASSPHRASE}\n`)
    const wrong = file(world, 'wrong', 'something else\n')
    const root = await world.volume('vault', '--passphrase-file', right)
    writeFileSync(join(root, 'file'), 'what was put away')
    await world.volume('open')
    const out = join(world.dir, 'shares')
    await world.weft('key', 'split', 'vault', '--shares', '3', '--threshold', '2', '--out', out)
    const [node] = await slotsOf(world, 'vault')
    await world.weft('key', 'remove', 'vault', node?.id ?? '')

    await world.restart()
    assertLocked(world, 'vault')
    assert.equal(readdirSync(join(world.mnt, 'open')), [])
    const { problems } = await world.json<{ problems: { what: string; next: string }[] }>('status')
    const told = problems.find(({ what }) => /vault is locked/.test(what))
    assert.match(told?.next ?? '', /weft key unlock vault/)
    assert.is(await exitOf(world, 'key', 'unlock', 'vault'), 6)
    assert.is(await exitOf(world, 'key', 'unlock', 'vault', '--passphrase-file', wrong), 6)
    assert.is(await exitOf(world, 'attach', 'vault', world.mkdir('point')), 6)
    assertLocked(world, 'vault')
    await world.weft('key', 'unlock', 'vault', '--passphrase-file', right)
    assert.is(readFileSync(join(root, 'file'), 'utf8'), 'what was put away')

    // A kill takes the keys with it: the keeper cannot have them.
    await world.kill9()
    await world.ready()
    assertLocked(world, 'vault')

    const shares = readdirSync(out).map((name) => join(out, name))
    assert.is(await exitOf(world, 'key', 'recover', 'vault', shares[0] ?? ''), 6)
    await world.weft('key', 'recover', 'vault', ...shares.slice(1))
    assert.is(readFileSync(join(root, 'file'), 'utf8'), 'what was put away')
    assert.ok((await slotsOf(world, 'vault')).some(({ kind }) => kind === 'node'))
    await world.restart()
    assert.is(readFileSync(join(root, 'file'), 'utf8'), 'what was put away')
  } finally {
    await world.close()
  }
})

test('a backup is proven by a drill that changes nothing, and brings slots back', async () => {
  const world = await startNode()
  try {
    const right = file(world, 'right', `${PASSPHRASE}\n`)
    const wrong = file(world, 'wrong', 'something else\n')
    const root = await world.volume('vault')
    await world.volume('other', '--passphrase-file', right)
    await world.weft('key', 'add', 'vault', '--passphrase-file', right, '--label', 'safe')
    const backup = join(world.dir, 'vault.keys')
    await world.weft('key', 'export', 'vault', '--out', backup)
    assert.is(statSync(backup).mode & 0o777, 0o600)
    assert.is(await exitOf(world, 'key', 'export', 'vault', '--out', backup), 5)

    const before = await world.weft('key', 'list', 'vault', '--json')
    const drill = ['key', 'drill', 'vault', backup, '--passphrase-file']
    const proof = await world.json<{ opened: boolean; missingEpochs: number[] }>(...drill, right)
    assert.is(proof.opened, true)
    assert.equal(proof.missingEpochs, [])
    assert.is(await exitOf(world, ...drill, wrong), 6)
    const others = ['key', 'drill', 'other', backup, '--passphrase-file', right]
    assert.is(await exitOf(world, ...others), 2)
    const cut = file(world, 'cut.keys', readFileSync(backup, 'utf8').slice(0, -40))
    assert.is.not(await exitOf(world, 'key', 'drill', 'vault', cut, '--passphrase-file', right), 0)
    assert.is(await world.weft('key', 'list', 'vault', '--json'), before)

    // The slot of the passphrase is removed by mistake; the backup has it.
    const slot = (await slotsOf(world, 'vault')).find(({ kind }) => kind === 'passphrase')
    await world.weft('key', 'remove', 'vault', slot?.id ?? '')
    await world.weft('key', 'lock', 'vault')
    assert.is(await exitOf(world, 'key', 'unlock', 'vault', '--passphrase-file', right), 6)
    await world.weft('key', 'import', 'vault', backup, '--passphrase-file', right)
    await world.weft('key', 'unlock', 'vault', '--passphrase-file', right)
    writeFileSync(join(root, 'file'), 'still here')

    // After a rotation the old backup lacks a key, and says so before it is needed.
    await world.weft('key', 'rotate', 'vault')
    writeFileSync(join(root, 'newer'), 'sealed with the new key')
    assert.is(await exitOf(world, ...drill, right), 6)
    assert.is(await exitOf(world, 'key', 'import', 'vault', backup, '--passphrase-file', right), 2)
    await world.restart()
    assert.is(readFileSync(join(root, 'file'), 'utf8'), 'still here')
    assert.is(readFileSync(join(root, 'newer'), 'utf8'), 'sealed with the new key')
    assertSecretsKept(world, [PASSPHRASE])
  } finally {
    await world.close()
  }
})

test('a secret on the command line is refused and not repeated', async () => {
  const world = await startNode({ mount: false })
  try {
    await world.weft('volume', 'create', 'vault')
    for (const args of [
      ['key', 'add', 'vault', '--passphrase', PASSPHRASE],
      ['key', 'add', 'vault', `--passphrase=${PASSPHRASE}`],
      ['key', 'unlock', 'vault', `--secret-key=${PASSPHRASE}`],
      ['volume', 'create', 'second', '--password', PASSPHRASE],
    ]) {
      const done = await world.tryWeft(...args)
      assert.is(done.code, 2)
      assert.match(done.stderr, /command line is refused/)
      assert.not.match(`${done.stdout}${done.stderr}`, PASSPHRASE)
    }
    assert.is((await slotsOf(world, 'vault')).length, 1)
    // A descriptor does it.
    const line = 'printf %s "$SECRET" | "$0" "$1" --home "$2" key add vault --passphrase-fd 0'
    const added = spawnSync('bash', ['-c', line, process.execPath, PROGRAM, world.home], {
      encoding: 'utf8',
      env: { ...process.env, SECRET: PASSPHRASE },
    })
    assert.is(added.status, 0, added.stderr)
    assert.is((await slotsOf(world, 'vault')).length, 2)
  } finally {
    await world.close()
  }
})

/** The lines of key and share files that are secret. */
function secretsOf(paths: readonly string[]): string[] {
  return paths.flatMap((path) =>
    [...readFileSync(path, 'utf8').matchAll(/^(?:secret|data): (.+)$/gm)].map(
      ([, text]) => text ?? '',
    ),
  )
}

/** Neither in the log nor anywhere in the home, as text or as base64. */
function assertSecretsKept(world: NodeWorld, secrets: readonly string[]): void {
  const forms = secrets.flatMap((secret) => [secret, Buffer.from(secret).toString('base64')])
  for (const entry of readdirSync(world.home, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const bytes = readFileSync(join(entry.parentPath, entry.name))
    for (const form of forms) {
      assert.is(bytes.indexOf(form), -1, `a secret stands in ${entry.parentPath}/${entry.name}`)
    }
  }
}

test.run()
