import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, utimesSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const built = resolve(import.meta.dirname, '..')
const mustFail = join(built, 'test/support/must-fail')
const beside = join(built, 'test/support/beside')

function runner(...args: string[]): { code: number | null; lines: string[]; output: string } {
  const { status, stdout } = spawnSync(
    process.execPath,
    [join(built, 'scripts/run-tests.js'), ...args],
    {
      encoding: 'utf8',
      timeout: 60_000,
    },
  )
  return { code: status, lines: stdout.trimEnd().split('\n'), output: stdout }
}

/** Each sample with what the runner has to say about it. */
const RED: Readonly<Record<string, RegExp>> = {
  'before-throws': /1 of 1 tests failed\n.*took this for a success/,
  'after-each-throws': /1 of 1 tests failed\n.*took this for a success/,
  'one-suite-of-two-stops': /1 of 2 tests failed\n.*took this for a success/,
  'forgotten-run': /without a summary/,
  'no-tests': /ran no test/,
  hangs: /took longer than 2 s/,
  blocks: /took longer than 2 s/,
  'never-settles': /exit 13|without a summary/,
  'exits-early': /without a summary/,
  fails: /1 of 2 tests failed/,
  'throws-on-load': /exit 1/,
  'leaves-a-process': /left a process behind: \d+ sleep 600/,
  'leaves-a-mount': /left behind: mount .*forgotten/,
  'leaves-a-lab':
    /left behind: of a lab .*\n.*left behind: loop device .*weft-lab-test.*node1-drive1/,
}

/** Directory and lock of a lab that a sample left, as the runner said. */
const labs: string[] = []

test('every must-fail sample has an expectation here', () => {
  const samples = readdirSync(mustFail)
    .filter((name) => name.endsWith('.js'))
    .map((name) => name.slice(0, -3))
  assert.equal(samples.sort(), Object.keys(RED).sort())
})

for (const [name, says] of Object.entries(RED)) {
  test(`the runner reports red: ${name}`, () => {
    const { code, lines, output } = runner('--deadline', '2', join(mustFail, `${name}.js`))
    assert.is(code, 1, output)
    assert.match(lines.at(-1) ?? '', /^\d+ passed, 1 failed$/)
    assert.match(output, says)
    assert.match(output, /^FAIL /m)
    labs.push(...[...output.matchAll(/of a lab (\S+)/g)].map(([, path = '']) => path))
  })
}

test('a source younger than what it was built to is red, unless a whole build began after it was written', () => {
  const source = resolve(built, '../test/support/must-pass.ts')
  const stamp = join(built, 'built')
  const before = [source, stamp].map((path) => ({ path, mtime: statSync(path).mtime }))
  const sample = join(built, 'test/support/must-pass.js')
  const now = Date.now() / 1000
  try {
    utimesSync(source, now, now + 1)
    assert.match(runner(sample).output, /must-pass\.js is older than its source: npm run build/)
    utimesSync(stamp, now, now + 2)
    assert.is(runner(sample).lines.at(-1), '2 passed, 0 failed')
  } finally {
    for (const { path, mtime } of before) utimesSync(path, mtime, mtime)
  }
})

test('the runner reports a file whose tests all pass green', () => {
  const { code, lines, output } = runner(join(built, 'test/support/must-pass.js'))
  assert.is(code, 0, output)
  assert.is(lines.at(-1), '2 passed, 0 failed')
})

test('a run in which no file matches is red', () => {
  const { code, lines } = runner('no-such-file-anywhere')
  assert.is(code, 1)
  assert.is(lines.at(-1), '0 passed, 1 failed')
})

test('a red and a green file together count tests of both and stay red', () => {
  const { code, lines } = runner(
    join(built, 'test/support/must-pass.js'),
    join(mustFail, 'fails.js'),
  )
  assert.is(code, 1)
  assert.is(lines.at(-1), '3 passed, 1 failed')
})

test('of two side by side the one that leaves a mount is red, and not the one that ends while it stands', () => {
  const files = ['leaves-a-mount.js', 'ends-beside-a-mount.js'].map((name) => join(beside, name))
  for (const order of [files, [...files].reverse()]) {
    const { code, lines, output } = runner(...order)
    assert.is(code, 1)
    assert.is(lines.at(-1), '2 passed, 1 failed', output)
    assert.match(output, /^FAIL .*leaves-a-mount\.js .*\n.*left behind: mount .*forgotten/m)
    assert.match(output, /^ok .*ends-beside-a-mount\.js /m)
    assert.is(output.match(/left behind|still standing/g)?.length, 1, output)
  }
})

test('a file that says it must be alone is, and one that does not say it is not', () => {
  const run = (name: string) => runner(join(beside, 'stays-a-second.js'), join(beside, name))
  assert.is(run('says-it-is-alone.js').lines.at(-1), '2 passed, 0 failed')
  const { lines, output } = run('wants-to-be-alone.js')
  assert.is(lines.at(-1), '1 passed, 1 failed')
  assert.match(output, /^FAIL .*wants-to-be-alone/m)
})

test('a file that was not built is red', () => {
  const { code, output } = runner(join(mustFail, 'not-there.js'))
  assert.is(code, 1)
  assert.match(output, /does not exist: npm run build/)
})

test('an unknown option is refused and not taken for a name', () => {
  assert.is(runner('--fast').code, 64)
})

test('nothing the samples left behind still stands', () => {
  assert.not.match(readFileSync('/proc/self/mountinfo', 'utf8'), /forgotten/)
  assert.is(labs.length, 2)
  assert.equal(labs.filter(existsSync), [])
  const loops = execFileSync('losetup', ['--list', '--noheadings', '-O', 'BACK-FILE'], {
    encoding: 'utf8',
  })
  assert.not.ok(
    labs.some((lab) => loops.includes(lab)),
    loops,
  )
  const outer = process.env.TMPDIR
  if (outer && existsSync(outer)) assert.equal(readdirSync(outer), [])
})

test.run()
