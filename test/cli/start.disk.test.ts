import { spawn } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { lastWords } from '../../src/cli/start-node.ts'
import { mainJs, type Ran, weft } from './fake-terminal.ts'

/** A keeper of a few lines: takes the lock file, serves status, shutdown and mount, ends on shutdown. */
const KEEPER = `
const { createServer } = require('node:http')
const { linkSync, writeFileSync, rmSync } = require('node:fs')
const [role, flag, home] = process.argv.slice(2)
if (role !== '__keeper' || flag !== '--home') process.exit(9)
const mine = home + '/lock.' + process.pid
writeFileSync(mine, JSON.stringify({ pid: process.pid }))
try { linkSync(mine, home + '/keeper.lock') } catch { console.error('held'); process.exit(5) }
process.on('SIGTERM', () => { rmSync(home + '/keeper.lock'); process.exit(0) })
const status = { version: '0.1.0', home, daemon: { pid: process.pid, startedAt: '', uptimeSeconds: 1 }, node: { id: 'n' }, mounts: [], volumes: [], drives: [], problems: [] }
const mount = { id: 'm', name: 'weft', target: '/m', kind: 'namespace', volume: null, readOnly: false, driver: 'fuse-native', notes: ['times are in ms'], since: '' }
const server = createServer((request, answer) => {
  answer.end(JSON.stringify(request.url === '/v1/mount' ? mount : request.url === '/v1/status' ? status : {}))
  if (request.url === '/v1/shutdown') {
    server.close()
    setTimeout(() => { rmSync(home + '/keeper.lock'); process.exit(0) }, 300)
  }
})
setTimeout(() => server.listen(home + '/control.sock'), 400)
`

interface World {
  readonly home: string
  readonly program: string
  run(...words: string[]): Promise<Ran>
  /** Ends the keeper if one is left. */
  close(): void
}

function world(script = KEEPER): World {
  const dir = mkdtempSync(join(tmpdir(), 'weft-start-'))
  const home = join(dir, 'home')
  const program = join(dir, 'main.cjs')
  writeFileSync(program, script)
  return {
    home,
    program,
    run: (...words) => weft(['--home', home, ...words], { program }),
    close() {
      try {
        const { pid } = JSON.parse(readFileSync(join(home, 'keeper.lock'), 'utf8')) as {
          pid: number
        }
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended, as it should.
      }
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

test('up starts the keeper in a private home, says so, and is content when it runs already; down waits for the end', async () => {
  const w = world()
  try {
    const up = await w.run('up')
    assert.is(up.exit, 0, up.err)
    assert.match(up.out, /^weft 0\.1\.0 is up on .*, daemon pid \d+\n$/)
    assert.is(statSync(w.home).mode & 0o777, 0o700)
    assert.is(statSync(join(w.home, 'log/keeper.log')).mode & 0o777, 0o600)
    const pid = ((await w.run('status', '--json')).json() as { daemon: { pid: number } }).daemon.pid
    const again = await w.run('up', '--json')
    assert.equal((again.json() as { wasRunning: boolean; daemon: { pid: number } }).daemon.pid, pid)
    assert.ok((again.json() as { wasRunning: boolean }).wasRunning)
    const down = await w.run('down')
    assert.is(down.exit, 0, down.err)
    assert.is((await w.run('status')).exit, 3)
    assert.is((await w.run('down')).exit, 0)
    // Last: the keeper is a child of this process, and its pid stays until the event loop has had the turn that reaps it.
    assert.throws(() => process.kill(pid, 0), /ESRCH/)
  } finally {
    w.close()
  }
})

test('two starts at once, as from two lines of fstab, are one node and both succeed', async () => {
  const w = world()
  try {
    const [one, two] = await Promise.all([w.run('up', '--json'), w.run('mount', '/m')])
    assert.is(one.exit, 0, one.err)
    assert.is(two.exit, 0, two.err)
    assert.is((await w.run('down')).exit, 0)
  } finally {
    w.close()
  }
})

test('mount starts a node when none runs, and prints the limits of the driver', async () => {
  const w = world()
  try {
    const ran = await w.run('mount', '/m')
    assert.is(ran.exit, 0, ran.err)
    assert.is(ran.out, 'weft is mounted at /m\n  note: times are in ms\n')
    assert.is((await w.run('down')).exit, 0)
  } finally {
    w.close()
  }
})

test('a keeper that ends while it starts is explained with the last thing it said, without a stack', async () => {
  const line = JSON.stringify({
    level: 50,
    message: 'cannot go on',
    error: 'home is on a read-only disk',
  })
  const cases: [string, number, RegExp][] = [
    [
      `console.error(${JSON.stringify(line)}); process.exit(1)`,
      1,
      /exit code 1\): cannot go on: home is on a read-only disk\n {2}next: run `weft doctor`/,
    ],
    ["throw new RangeError('out of pages')", 1, /: out of pages\n/],
    [
      "console.error('weft is already running as pid 12 on this home'); process.exit(5)",
      5,
      /already running as pid 12/,
    ],
    ["process.kill(process.pid, 'SIGKILL')", 1, /signal SIGKILL\)\n/],
  ]
  for (const [script, exit, says] of cases) {
    const w = world(script)
    try {
      const ran = await w.run('up')
      assert.is(ran.exit, exit, ran.err)
      assert.match(ran.err, says)
      assert.not.match(ran.err, /\n\s+at /)
      assert.is(ran.err.split('\n').length, 3)
    } finally {
      w.close()
    }
  }
})

test('a home that cannot be made is refused with the path', async () => {
  const w = world()
  try {
    writeFileSync(join(w.home, '..', 'file'), '')
    const ran = await weft(['--home', join(w.home, '../file/home'), 'up'], { program: w.program })
    assert.is(ran.exit, 2)
    assert.match(
      ran.err,
      /cannot use as home .*file\/home: a part of the path is not a directory\n {2}next: /,
    )
  } finally {
    w.close()
  }
})

test('a request that meets a restarting daemon waits for it; down ends a keeper that has no daemon', async () => {
  const w = world()
  try {
    mkdirSync(w.home, { mode: 0o700 })
    const slow = spawn(process.execPath, [w.program, '__keeper', '--home', w.home], {
      stdio: 'ignore',
    })
    const ended = new Promise((resolve) => slow.once('exit', resolve))
    while (!hasLock(w.home)) await new Promise((resolve) => setTimeout(resolve, 20))
    const ran = await w.run('status')
    assert.is(ran.exit, 0, ran.err)
    rmSync(join(w.home, 'control.sock'))
    const down = await w.run('down')
    assert.is(down.exit, 0, down.err)
    await ended
  } finally {
    w.close()
  }
})

test('the built program runs by its name and as mount.fuse.weft, and a closed pipe ends it quietly', async () => {
  const w = world()
  try {
    const helper = join(w.home, '../mount.fuse.weft')
    symlinkSync(mainJs, helper)
    const home = join(w.home, 'none')
    const version = await process_(process.execPath, [mainJs, '--version'])
    assert.match(version.out, /^\d+\.\d+\.\d+\n$/)
    const status = await process_(process.execPath, [mainJs, '--home', home, 'status'])
    assert.is(status.code, 3)
    assert.match(status.err, /^weft status: no node runs on /)
    // mount(8) reads 1 as wrong invocation; the CLI itself says 2.
    assert.is(
      (await process_(process.execPath, [helper, 'weft', '/mnt/weft', '-o', 'nonsense'])).code,
      1,
    )
    assert.is(
      (await process_(process.execPath, [mainJs, 'mount', '/mnt/weft', '-o', 'nonsense'])).code,
      2,
    )
    const piped = await process_('sh', [
      '-c',
      `${process.execPath} ${mainJs} debug report --home ${home} | true; echo done`,
    ])
    assert.is(piped.out, 'done\n')
    assert.is(piped.err, '')
  } finally {
    w.close()
  }
})

test('a home that cannot be made or is no directory is refused before a keeper is started', async () => {
  const cases: [string, RegExp][] = [
    ['/proc/x', /cannot use as home \/proc\/x: no directory can be made in \/proc$/m],
    ['/proc/x/y', /cannot use as home \/proc\/x\/y: no directory can be made in \/proc$/m],
    ['/etc/passwd', /cannot use as home \/etc\/passwd: it is a file, not a directory$/m],
  ]
  for (const [home, says] of cases) {
    // A process of its own: what it fears is a call that never returns.
    const ran = await process_(process.execPath, [mainJs, '--home', home, 'up'])
    assert.is(ran.code, 2, `${home}: ${ran.err}`)
    assert.match(ran.err, says)
    assert.match(ran.err, /\n {2}next: run the command as root, or choose a home/)
  }
})

test('a working directory that is gone ends only a command that needs it, in words', async () => {
  const w = world()
  const gone = join(w.home, '../gone')
  const inGone = (...words: string[]) =>
    process_('sh', [
      '-c',
      'mkdir "$1" && cd "$1" && rmdir "$1" && shift && exec "$@"',
      'sh',
      gone,
      process.execPath,
      mainJs,
      ...words,
    ])
  try {
    const status = await inGone('--home', join(w.home, 'none'), 'status')
    assert.is(status.code, 3, status.err)
    assert.match(status.err, /^weft status: no node runs on /)
    for (const words of [
      ['--home', 'relative', 'status'],
      ['--home', w.home, 'bench', '.'],
    ]) {
      const ran = await inGone(...words)
      assert.is(ran.code, 1, ran.err)
      assert.match(
        ran.err,
        /^weft \w+: the working directory cannot be used: it was removed \(ENOENT\)\n {2}next: cd to another/,
      )
      assert.is(ran.err.split('\n').length, 3)
    }
  } finally {
    w.close()
  }
})

test('the launchers find Node without a PATH, as mount(8) and cron start them', async () => {
  const w = world()
  const root = join(import.meta.dirname, '../../..')
  const dest = join(w.home, '../dest')
  try {
    const made = await process_('env', [`DESTDIR=${dest}`, join(root, 'scripts/launchers')])
    assert.is(made.code, 0, made.err)
    const bare = (launcher: string, ...args: string[]) =>
      process_('/usr/bin/env', ['-i', 'PATH=/nowhere', join(dest, launcher), ...args])
    assert.match((await bare('usr/local/bin/weft', '--version')).out, /^\d+\.\d+\.\d+\n$/)
    const refused = await bare('sbin/mount.fuse.weft', 'weft', '/mnt/weft', '-o', 'nonsense')
    assert.match(refused.err, /nonsense/)
    assert.is(refused.code, 1)
  } finally {
    w.close()
  }
})

test('the last words of a log are its last warning or error, else its last line', () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-log-'))
  const path = join(dir, 'log')
  try {
    const said = (text: string, offset = 0) => {
      writeFileSync(path, text)
      return lastWords(path, offset)
    }
    assert.is(said(''), '')
    assert.is(said('plain\n'), 'plain')
    assert.is(
      said(
        '{"level":30,"message":"up"}\n{"level":50,"message":"bad","error":"why"}\n{"level":30,"message":"end"}\n',
      ),
      'bad: why',
    )
    assert.is(said('{"level":50,"message":"of an earlier life"}\n', 44), '')
    assert.is(
      said(
        'file:///x.js:3\n  throw x\n  ^\n\nFsError: no room\n    at f (x.js:3:1)\n\nNode.js v20\n',
      ),
      'no room',
    )
    assert.is(lastWords(join(dir, 'none'), 0), '')
  } finally {
    rmSync(dir, { recursive: true })
  }
})

test.run()

function hasLock(home: string): boolean {
  try {
    return readFileSync(join(home, 'keeper.lock'), 'utf8').endsWith('}')
  } catch {
    return false
  }
}

function process_(
  file: string,
  args: string[],
): Promise<{ code: number | null; out: string; err: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 15_000 })
    let out = ''
    let err = ''
    child.stdout.on('data', (bytes: Buffer) => {
      out += bytes.toString()
    })
    child.stderr.on('data', (bytes: Buffer) => {
      err += bytes.toString()
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, out, err }))
  })
}
