import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { COMMANDS, GROUPS } from '../../src/cli/commands.ts'
import { EXIT, exitCodeOf, mountHelperCode } from '../../src/cli/exit-codes.ts'
import { weft } from './fake-terminal.ts'

/** What the issue and the other scripts call by name. */
const PROMISED = [
  'up',
  'down',
  'mount',
  'umount',
  'attach',
  'detach',
  'status',
  'fsck',
  'doctor',
  'bench',
  'upgrade',
  'volume create',
  'volume list',
  'volume inspect',
  'volume resize',
  'volume delete',
  'drive list',
  'drive add',
  'synergy connect',
  'synergy status',
  'synergy free',
  'synergy allocate',
  'synergy release',
  'synergy reconcile',
  'synergy logout',
  'policy set',
  'policy plan',
  'policy log',
  'key create',
  'key list',
  'key add',
  'key remove',
  'key rotate',
  'key export',
  'key import',
  'key split',
  'key recover',
  'key lock',
  'key unlock',
  'key drill',
]

test('every promised command exists, and each says what it does, with an example that is a command line of it', async () => {
  const words = COMMANDS.map((row) => row.words)
  for (const promised of PROMISED) assert.ok(words.includes(promised), promised)
  assert.is(new Set(words).size, words.length)
  for (const row of COMMANDS) {
    const ran = await weft([...row.words.split(' '), '--help'])
    assert.is(ran.exit, 0, row.words)
    assert.is(ran.err, '', row.words)
    assert.ok(ran.out.startsWith(`weft ${row.words}`), `${row.words}: ${ran.out.split('\n')[0]}`)
    assert.ok(ran.out.includes(row.describe), row.words)
    assert.match(ran.out, /^Examples:$/m, row.words)
    for (const option of ['--home', '--json', '--help'])
      assert.ok(ran.out.includes(option), `${row.words} ${option}`)
    const { command } = await row.load()
    assert.ok(command.examples.length > 0, row.words)
    const examples = command.examples.map(([line]) => line)
    assert.ok(
      examples.some((line) => line.startsWith('weft ') && line.includes(row.words)),
      `${row.words}: ${examples}`,
    )
    for (const [name, options] of Object.entries({ ...command.options, ...command.positionals })) {
      assert.ok(options.describe, `${row.words}: ${name} is not described`)
    }
  }
})

test('the help of weft and of each group lists what is in it', async () => {
  const top = await weft(['--help'])
  assert.is(top.exit, 0)
  for (const row of COMMANDS.filter((row) => !row.words.includes(' ')))
    assert.match(top.out, new RegExp(`weft ${row.words}\\b`))
  for (const group of Object.keys(GROUPS)) {
    assert.ok(top.out.includes(`weft ${group}`))
    const inner = await weft([group, '--help'])
    assert.is(inner.exit, 0, group)
    assert.match(inner.out, /^Examples:$/m, group)
    for (const row of COMMANDS.filter((row) => row.words.startsWith(`${group} `)))
      assert.ok(inner.out.includes(`weft ${row.words}`), row.words)
  }
})

test('completion prints a script, and completes groups, verbs and options', async () => {
  assert.match((await weft(['completion'])).out, /_weft_yargs_completions/)
  const help = await weft(['completion', '--help'])
  assert.is(help.exit, 0)
  assert.match(help.out, /^weft completion\n\nPrint a script.*^Examples:$/ms)
  assert.not.match(help.out, /_weft_yargs_completions/)
  assert.match((await weft(['--get-yargs-completions', 'weft', 'vol'])).out, /^volume\b/m)
  const verbs = (await weft(['--get-yargs-completions', 'weft', 'volume', ''])).out
  for (const verb of ['create', 'list', 'inspect', 'resize', 'delete'])
    assert.ok(verbs.includes(verb), verb)
  assert.match(
    (await weft(['--get-yargs-completions', 'weft', 'volume', 'create', '--s'])).out,
    /--size/,
  )
})

test('the version is printed', async () => {
  assert.is((await weft(['--version'])).out, '0.1.0\n')
})

test('a wrong command line is exit 2, says what is wrong and where to read on, and prints nothing else', async () => {
  const table: [string[], RegExp][] = [
    [[], /^weft: a command is missing\n {2}next: weft --help\n$/],
    [['nonsense'], /^weft: unknown/],
    [['statsu'], /^weft: did you mean status\?/],
    [
      ['volume'],
      /^weft volume: a verb is missing: create, list, inspect, cos, resize, delete, repl, move\n {2}next: weft volume --help\n$/,
    ],
    [['volume', 'nonsense'], /^weft volume: unknown/],
    [
      ['mount'],
      /^weft mount: TARGET is missing\n {2}next: weft mount TARGET; weft mount --help has examples\n$/,
    ],
    [
      ['attach', 'notes'],
      /^weft attach: TARGET is missing\n {2}next: weft attach VOLUME TARGET; weft attach --help/,
    ],
    [['attach'], /^weft attach: VOLUME and TARGET are missing\n/],
    [['key', 'recover', 'v'], /^weft key recover: SHARES is missing\n {2}next: .* VOLUME SHARES…;/],
    [['key', 'drill'], /^weft key drill: VOLUME is missing\n {2}next: .* VOLUME \[FILE\];/],
    [['status', 'more'], /^weft status: unknown argument: more/],
    [['status', '--nonsense'], /^weft status: unknown argument: nonsense/],
    [['status', '--home'], /^weft status: not enough arguments following: home/],
    [['status', '--home', ''], /^weft status: --home is empty/],
    [['status', '--home', '/a', '--home', '/b'], /^weft status: --home is given more than once/],
    [
      ['mount', '/mnt', '--driver', 'other'],
      /^weft mount: --driver "other" is not known\n {2}next: use one of kernel, fuse-native; weft mount/,
    ],
    [
      ['drive', 'add', '/d', '--class', '7'],
      /^weft drive add: --class "7" is not known\n {2}next: use one of auto, 1, 2, 3; weft drive add/,
    ],
    [
      ['key', 'split', 'v', '--shares', 'five', '--threshold', '3', '--out', 'x'],
      /^weft key split: --shares has to be a whole number from 2 to 255/,
    ],
    [
      ['key', 'split', 'v', '--shares', '2', '--threshold', '3', '--out', 'x'],
      /never come together/,
    ],
    [['key', 'remove', 'v', 'x1'], /"x1" is not a slot number/],
    [['key', 'create'], /^weft key create: --out is missing/],
    [['debug', 'request', 'BREW', '/x'], /method "BREW" is not known/],
    [['mount', '/mnt', '-o', 'compress=zstd'], /mount option "compress=zstd" is not known/],
  ]
  for (const [argv, says] of table) {
    const ran = await weft(argv, { cwd: '/nowhere' })
    assert.is(ran.exit, EXIT.usage, `${argv.join(' ')}: ${ran.err}`)
    assert.match(ran.err, says)
    assert.match(ran.err, /\n {2}next: .+\n$/)
    assert.is(ran.out, '')
    const json = await weft([...argv, '--json'], { cwd: '/nowhere' })
    if (argv.at(-1) === '--home') continue
    assert.is(json.exit, EXIT.usage)
    const { error } = JSON.parse(json.err) as { error: Record<string, unknown> }
    assert.is(error.exit, EXIT.usage)
    assert.ok(error.message && error.next)
  }
})

test('docs/cli.md has every command and every exit code', () => {
  let root = import.meta.dirname
  while (!existsSync(join(root, 'package-lock.json'))) root = dirname(root)
  const text = readFileSync(join(root, 'docs/cli.md'), 'utf8')
  for (const row of COMMANDS)
    assert.ok(text.includes(`\`weft ${row.words}`), `docs/cli.md lacks weft ${row.words}`)
  for (const code of Object.values(EXIT))
    assert.match(text, new RegExp(`^\\| ${code} \\|`, 'm'), `docs/cli.md lacks exit code ${code}`)
  assert.ok(text.includes('weft /mnt/weft fuse.weft defaults,_netdev 0 0'))
})

test('an exit code stands for one thing, and mount(8) gets its own table', () => {
  assert.is(exitCodeOf('ENOENT'), 4)
  assert.is(exitCodeOf('EBUSY'), 5)
  assert.is(exitCodeOf('EKEYREJECTED'), 6)
  assert.is(exitCodeOf('ENOSPC'), 8)
  assert.is(exitCodeOf('ESOMETHING'), 1)
  assert.equal(
    [EXIT.ok, EXIT.usage, EXIT.permission, EXIT.refused].map(mountHelperCode),
    [0, 1, 1, 32],
  )
})

test.run()
