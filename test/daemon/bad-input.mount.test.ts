// alone: it makes a mount namespace, with copies of whatever others mount
// deadline: 240 s
import { spawn, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { open } from 'lmdb'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { VolumeInfo } from '../../src/api/index.ts'
import { type NodeWorld, PROGRAM, run, sleep, startNode, until } from '../support/node-world.ts'

/**
 * What a person or a damaged machine can give us. Each refusal says what was tried, why not, and the next step, has the
 * exit code of docs/cli.md, and has changed nothing.
 */

interface Refusal {
  readonly exit: number
  /** In the message. */
  readonly says: RegExp
  /** In the next step. */
  readonly next: RegExp
}

/** All that a command could have changed, as scripts see it. */
async function stateOf(world: NodeWorld): Promise<string> {
  const { volumes: seen } = await get<{ volumes: VolumeInfo[] }>(world, '/v1/volumes')
  // What came of a probe changes by itself.
  const volumes = seen.map(({ probe: _, ...volume }) => volume)
  const { mounts } = await get<{ mounts: unknown[] }>(world, '/v1/mounts')
  const keys = await Promise.all(volumes.map(({ id }) => get(world, `/v1/volumes/${id}/keys`)))
  return JSON.stringify({ volumes, mounts, keys }, null, 1)
}

/** Faster than a process for each look. */
function get<T>(world: NodeWorld, path: string): Promise<T> {
  return new Promise((resolve, reject) => {
    request({ socketPath: join(world.home, 'control.sock'), path }, (answer) => {
      let text = ''
      answer.on('data', (part) => {
        text += part
      })
      answer.on('end', () => resolve(JSON.parse(text) as T))
    })
      .on('error', reject)
      .end()
  })
}

function check(line: string, done: { code: number | null; stderr: string }, expected: Refusal) {
  assert.is(done.code, expected.exit, `${line}: exit ${done.code}\n${done.stderr}`)
  const [message = '', next = '', ...more] = done.stderr.trimEnd().split('\n')
  assert.match(message, /^weft[a-z ]*: /, `${line}: ${done.stderr}`)
  assert.match(message, expected.says, `${line}: ${done.stderr}`)
  assert.match(next, /^ {2}next: ./, `${line}: ${done.stderr}`)
  assert.match(next, expected.next, `${line}: ${done.stderr}`)
  assert.equal(more, [], `${line} says more than two lines`)
}

async function refuses(world: NodeWorld, args: readonly string[], expected: Refusal) {
  const before = await stateOf(world)
  const line = `weft ${args.join(' ')}`
  check(line, await world.tryWeft(...args), expected)
  assert.is(await stateOf(world), before, `${line} changed something`)
}

/** `weft up` on a home that cannot be used. */
async function refusesToStart(world: NodeWorld, expected: Refusal) {
  check('weft up', await world.tryWeft('up'), expected)
  assert.is(world.daemonPid(), 0)
  assert.is(world.keeperPid(), 0)
}

test('names and sizes that cannot be are refused, and nothing is made', async () => {
  const world = await startNode()
  try {
    await world.volume('first', '--size', '64M')
    const unknown: Refusal = {
      exit: 4,
      says: /there is no volume "nope"/,
      next: /weft volume list/,
    }
    const target = world.mkdir('target')
    for (const args of [
      ['volume', 'inspect', 'nope'],
      ['volume', 'resize', 'nope', '1G'],
      ['volume', 'delete', 'nope', '--force'],
      ['attach', 'nope', target],
      ['key', 'list', 'nope'],
      ['key', 'lock', 'nope'],
      ['key', 'rotate', 'nope'],
    ]) {
      await refuses(world, args, unknown)
    }
    const sizes = { banana: /not a number/, '-5G': /not a number/, '1': /too small/ }
    for (const [size, says] of Object.entries({ ...sizes, '99999T': /too large/, '': /size/ })) {
      const expected = { exit: 2, says, next: /./ }
      await refuses(world, ['volume', 'create', 'second', '--size', size], expected)
      // A word that begins with - is an option to the command line itself.
      if (/^\w/.test(size)) await refuses(world, ['volume', 'resize', 'first', size], expected)
    }
    for (const name of ['a/b', '..', '.hidden', 'a b', 'ä', 'x'.repeat(65), '']) {
      const expected = { exit: 2, says: /name/i, next: /./ }
      await refuses(world, ['volume', 'create', name], expected)
    }
    await refuses(world, ['volume', 'create', 'first'], {
      exit: 5,
      says: /first.*exists already/,
      next: /another name/,
    })
    await refuses(world, ['volume', 'create', 'second', '--repl', '3'], {
      exit: 2,
      says: /repl/,
      next: /./,
    })
  } finally {
    await world.close()
  }
})

test('what is in use, full or the last of its kind stays as it is', async () => {
  const world = await startNode()
  try {
    const files = await world.volume('full', '--size', '64M')
    writeFileSync(join(files, 'three'), Buffer.alloc(3_000_000, 1))
    await until('the bytes are counted', async () => {
      const { usedBytes } = await world.json<{ usedBytes: number }>('volume', 'inspect', 'full')
      return usedBytes === 3_000_000
    })
    await refuses(world, ['volume', 'delete', 'full'], {
      exit: 5,
      says: /volume full is not empty: it holds 1 file/,
      next: /--force deletes/,
    })
    await refuses(world, ['volume', 'resize', 'full', '1M'], {
      exit: 8,
      says: /1M is 1\.9 MiB \(1951424 bytes\) less than the 2\.9 MiB \(3000000 bytes\) it uses/,
      next: /delete that much first/,
    })
    await refuses(world, ['key', 'remove', 'full', '1'], {
      exit: 5,
      says: /slot 1 is the last one/,
      next: /weft key add/,
    })
    await refuses(world, ['key', 'remove', 'full', '9'], {
      exit: 4,
      says: /no slot 9/,
      next: /./,
    })
    await refuses(world, ['key', 'remove', 'full', 'x'], {
      exit: 2,
      says: /not a slot number/,
      next: /weft key list full/,
    })
    assert.is(statSync(join(files, 'three')).size, 3_000_000)
  } finally {
    await world.close()
  }
})

test('a directory on weft, or one that is missing, does not become a drive', async () => {
  const world = await startNode()
  try {
    const files = await world.volume('data')
    mkdirSync(join(files, 'd'))
    const onWeft = {
      exit: 2,
      says: /lies on weft itself, mounted at .* would wait for itself/,
      next: /weft drive add/,
    }
    const link = join(world.dir, 'link')
    symlinkSync(files, link)
    for (const dir of [join(files, 'd'), join(files, 'new'), join(link, 'd'), world.mnt]) {
      await refuses(world, ['drive', 'add', dir, '--create'], onWeft)
    }
    const dir = join(world.dir, 'disk/weft')
    const missing = { exit: 4, says: /does not exist/, next: /weft drive add .* --create/ }
    await refuses(world, ['drive', 'add', dir], missing)
    assert.is(existsSync(dir), false)
    assert.match(await world.weft('drive', 'add', dir, '--create'), /note: .* same filesystem as/)
    await world.ready()
    await refuses(world, ['drive', 'add', dir], {
      exit: 5,
      says: /is a drive of this node already/,
      next: /weft drive list/,
    })
    await refuses(world, ['drive', 'add', files.replace(/data$/, '')], onWeft)
    const full = world.mkdir('full')
    writeFileSync(join(full, 'letters'), '')
    await refuses(world, ['drive', 'add', full], {
      exit: 5,
      says: /is not empty \(letters\): a drive needs a directory of its own/,
      next: /an empty directory/,
    })
  } finally {
    await world.close()
  }
})

test('mount points that are missing, taken, no directory or busy are refused', async () => {
  const world = await startNode()
  try {
    const files = await world.volume('data')
    const missing: Refusal = { exit: 4, says: /does not exist/, next: /^ {2}next: mkdir -p / }
    await refuses(world, ['mount', join(world.dir, 'nowhere')], missing)
    await refuses(world, ['attach', 'data', join(world.dir, 'nowhere')], missing)
    const file = join(world.dir, 'file')
    writeFileSync(file, 'here first')
    for (const args of [
      ['mount', file],
      ['attach', 'data', file],
    ]) {
      await refuses(world, args, { exit: 2, says: /is not a directory/, next: /director/ })
    }
    assert.is(readFileSync(file, 'utf8'), 'here first')
    const full = world.mkdir('full')
    writeFileSync(join(full, 'here first'), '')
    const inside: Refusal = { exit: 2, says: /is inside weft, .* mounted at/, next: /mkdir -p/ }
    for (const words of [['mount'], ['attach', 'data']]) {
      await refuses(world, [...words, full], {
        exit: 5,
        says: /is not empty \(it has "here first"\)/,
        next: /--nonempty/,
      })
      await refuses(world, [...words, files], inside)
    }
    await world.weft('attach', 'data', full, '--nonempty')
    await world.weft('detach', full)
    const over: Refusal = { exit: 5, says: /already a mount of weft/, next: /./ }
    await refuses(world, ['mount', world.mnt], over)
    await refuses(world, ['attach', 'data', world.mnt], over)
    await refuses(world, ['mount', '/proc'], { exit: 5, says: /already a mount of/, next: /./ })

    const point = world.mkdir('point')
    await world.weft('attach', 'data', point)
    const taken: Refusal = { exit: 5, says: /attached already, at/, next: /weft detach/ }
    await refuses(world, ['attach', 'data', world.mkdir('other')], taken)
    const held: Refusal = { exit: 5, says: /is attached at/, next: /weft detach/ }
    await refuses(world, ['key', 'lock', 'data'], held)
    await refuses(world, ['volume', 'delete', 'data', '--force'], held)
    await refuses(world, ['umount', join(world.dir, 'other')], {
      exit: 4,
      says: /is not a mount of this node/,
      next: /weft status/,
    })
    // A shell stands in it: not even that is a reason to take it away.
    for (const [inside, args] of [
      [point, ['detach', point]],
      [files, ['umount', world.mnt]],
    ] as const) {
      const stander = world.own(spawn('sleep', ['60'], { cwd: inside, stdio: 'ignore' }))
      await until('somebody stands in it', () => existsSync(`/proc/${stander.pid}/cwd`))
      await sleep(50)
      await refuses(world, args, { exit: 5, says: /is in use; see: fuser -vm/, next: /./ })
      stander.kill('SIGKILL')
      await new Promise((ended) => stander.on('exit', ended))
    }
    await world.weft('detach', point)
    await world.weft('umount', world.mnt)
    await world.weft('mount', world.mnt)
  } finally {
    await world.close()
  }
})

test('the root of the namespace holds volumes and nothing else, made by root alone', async () => {
  const world = await startNode()
  try {
    await world.volume('kept')
    const before = await stateOf(world)
    const at = (name: string) => join(world.mnt, name)
    const user = ['--reuid', '1000', '--regid', '1000', '--clear-groups']
    for (const [line, says] of [
      [['touch', at('file')], /Operation not permitted/],
      [['ln', '-s', 'kept', at('link')], /Operation not permitted/],
      [['mkfifo', at('fifo')], /Operation not permitted/],
      [['mv', at('kept'), at('other')], /Operation not permitted/],
      [['ln', '-T', '/etc/hostname', at('hard')], /cross-device/],
      [['mkdir', at('a b')], /Invalid argument/],
      [['mkdir', at('.hidden')], /Invalid argument/],
      [['mkdir', at('x'.repeat(65))], /Invalid argument|too long/],
      [['mkdir', at('kept')], /File exists/],
      [['setpriv', ...user, 'mkdir', at('mine')], /Permission denied/],
      [['setpriv', ...user, 'rmdir', at('kept')], /Permission denied/],
      [['setpriv', ...user, 'touch', at('kept/mine')], /Permission denied/],
    ] as const) {
      const [program, ...args] = line
      const done = spawnSync(program, args, {
        encoding: 'utf8',
        env: { ...process.env, LC_ALL: 'C' },
      })
      assert.is.not(done.status, 0, `${line.join(' ')} succeeded`)
      assert.match(done.stderr, says, line.join(' '))
    }
    assert.is(await stateOf(world), before)
    assert.equal(readdirSync(world.mnt), ['kept'])
    mkdirSync(at('made'))
    assert.equal(readdirSync(world.mnt).sort(), ['kept', 'made'])
    writeFileSync(at('made/file'), 'x')
    const full = spawnSync('rmdir', [at('made')], { encoding: 'utf8' })
    assert.match(full.stderr, /not empty/)
    rmSync(at('made/file'))
    assert.is(spawnSync('rmdir', [at('made')]).status, 0)
    assert.equal(readdirSync(world.mnt), ['kept'])
  } finally {
    await world.close()
  }
})

test('a wrong passphrase opens nothing and changes nothing', async () => {
  const world = await startNode()
  try {
    const right = join(world.dir, 'right')
    const wrong = join(world.dir, 'wrong')
    writeFileSync(right, 'correct horse\n')
    writeFileSync(wrong, 'correct house\n')
    await world.volume('secret', '--passphrase-file', right)
    await world.weft('key', 'lock', 'secret')
    await refuses(world, ['key', 'unlock', 'secret', '--passphrase-file', wrong], {
      exit: 6,
      says: /passphrase/,
      next: /weft key list secret|another passphrase/,
    })
    await refuses(world, ['key', 'unlock', 'secret', '--passphrase-file', `${wrong}er`], {
      exit: 4,
      says: /no such file/,
      next: /./,
    })
    await world.weft('key', 'unlock', 'secret', '--passphrase-file', right)
  } finally {
    await world.close()
  }
})

test('a second node on one home is refused, and the first goes on', async () => {
  const world = await startNode()
  try {
    const pid = world.daemonPid()
    assert.match(await world.weft('up'), new RegExp(`runs already on .*, daemon pid ${pid}`))
    // Under another name for the same home, and by hand.
    const other = join(world.dir, 'other-name')
    symlinkSync(world.home, other)
    const second = await run(process.execPath, [PROGRAM, '__keeper', '--home', other])
    assert.is(second.code, 5)
    assert.match(second.stderr, /already running as pid \d+ on this home/)
    assert.is(world.daemonPid(), pid)
    await world.weft('volume', 'create', 'still')
  } finally {
    await world.close()
  }
})

test('without /dev/fuse the node runs and a mount says what is missing', async () => {
  const world = await startNode({ mount: false })
  try {
    await world.weft('down')
    for (const [hide, says] of [
      ['rm -f /dev/fuse', /\/dev\/fuse is absent/],
      ['ln -sfn /dev/null /dev/fuse', /fuse/],
    ] as const) {
      // A /dev of its own, in a mount namespace that ends with the shell.
      const script = `set -e
mount --make-rprivate /
mkdir ${world.dir}/dev 2>/dev/null || true
mount -t tmpfs none ${world.dir}/dev
cp -a /dev/null /dev/zero /dev/random /dev/urandom /dev/tty ${world.dir}/dev/
mkdir ${world.dir}/dev/shm
mount --bind ${world.dir}/dev /dev
${hide}
weft() { ${process.execPath} ${PROGRAM} --home ${world.home} "$@"; }
weft up >&2
code=0; weft mount ${world.mnt} 2>${world.dir}/said || code=$?
weft volume list >&2
weft down >&2
exit $code`
      const done = await run('unshare', ['-m', 'bash', '-c', script], { timeoutMs: 60_000 })
      const said = readFileSync(join(world.dir, 'said'), 'utf8')
      check(
        `weft mount with: ${hide}`,
        { code: done.code, stderr: said },
        {
          exit: 1,
          says,
          next: /modprobe fuse|mknod/,
        },
      )
    }
  } finally {
    await world.close()
  }
})

test('a home on a read-only disk is refused before anything is written', async () => {
  const world = await startNode({ mount: false })
  try {
    await world.weft('volume', 'create', 'kept')
    await world.weft('down')
    const disk = world.mkdir('disk')
    assert.is(spawnSync('mount', ['-t', 'tmpfs', 'none', disk]).status, 0)
    try {
      spawnSync('cp', ['-a', world.home, join(disk, 'home')])
      spawnSync('mount', ['-o', 'remount,ro', disk])
      for (const home of [join(disk, 'home'), join(disk, 'fresh')]) {
        const done = await run(process.execPath, [PROGRAM, '--home', home, 'up'])
        check('weft up', done, { exit: 5, says: /read-only/, next: /./ })
      }
    } finally {
      spawnSync('umount', [disk])
    }
  } finally {
    await world.close()
  }
})

test('what a newer weft wrote is left alone, and the build that reads it is asked for', async () => {
  const world = await startNode({ mount: false })
  try {
    await world.weft('volume', 'create', 'old')
    await world.weft('volume', 'create', 'new')
    const { volumes } = await world.json<{ volumes: { id: string; name: string }[] }>(
      'volume',
      'list',
    )
    const id = volumes.find(({ name }) => name === 'new')?.id ?? ''
    await world.weft('down')
    const drive = join(world.home, 'drives/default')
    const newer: Refusal = { exit: 1, says: /newer weft/, next: /./ }

    for (const path of [
      join(world.home, 'node.json'),
      join(drive, 'drive.json'),
      join(world.home, 'drives.json'),
    ]) {
      await withFile(
        path,
        (bytes) => Buffer.from(bytes.toString().replace('"version": 1', '"version": 99')),
        () => refusesToStart(world, newer),
      )
    }

    // One volume of a newer build: the node starts, the others are served, and status says why this one is not.
    const journal = join(drive, 'volumes', id, '0000000001.journal')
    await withFile(journal, newerJournal, () =>
      showsOneProblem(world, /volume new is damaged/, NEWER),
    )
    const manifest = join(drive, 'volumes', id, 'checkpoint')
    // Magic, and version 2 (docs/format.md §5).
    writeFileSync(manifest, Buffer.concat([Buffer.from('WFCP'), Buffer.of(2, 0), Buffer.alloc(40)]))
    await showsOneProblem(world, /volume new is damaged/, NEWER)
    rmSync(manifest)

    const record = await coordinatorEntry(world, `volume/${id}`)
    const text = (JSON.parse(record.value.toString()) as { version: number }) ?? {}
    await putEntry(world, `volume/${id}`, record.version, JSON.stringify({ ...text, version: 2 }))
    await showsOneProblem(world, new RegExp(id), NEWER)
    await putEntry(world, `volume/${id}`, record.version, record.value.toString())

    await world.weft('up')
    assert.equal(await statesOf(world), { new: 'ready', old: 'ready' })
  } finally {
    await world.close()
  }
})

test('a damaged record of the coordinator is named and hides no other volume', async () => {
  const world = await startNode({ mount: false })
  try {
    await world.weft('volume', 'create', 'good')
    await world.weft('volume', 'create', 'hurt')
    const { volumes } = await world.json<{ volumes: { id: string; name: string }[] }>(
      'volume',
      'list',
    )
    const id = volumes.find(({ name }) => name === 'hurt')?.id ?? ''
    await world.weft('down')
    const key = `volume/${id}`
    const record = await coordinatorEntry(world, key)
    await putEntry(
      world,
      key,
      record.version,
      record.value.toString().replace('"repl":1', '"repl":0'),
    )
    await showsOneProblem(world, new RegExp(id), /damaged/)
    await putEntry(world, key, record.version, record.value.toString())
    await world.weft('up')
    assert.equal(await statesOf(world), { good: 'ready', hurt: 'ready' })
  } finally {
    await world.close()
  }
})

const NEWER = /newer weft|version 2, this build reads/

async function statesOf(world: NodeWorld): Promise<Record<string, string>> {
  const { volumes } = await world.json<{ volumes: { name: string; state: string }[] }>(
    'volume',
    'list',
  )
  return Object.fromEntries(volumes.map(({ name, state }) => [name, state]).sort())
}

/** Up, look, down: one volume is served, and status tells of the other. */
async function showsOneProblem(world: NodeWorld, what: RegExp, why: RegExp): Promise<void> {
  await world.weft('up')
  try {
    const { problems, volumes } = await world.json<{
      problems: { what: string; why: string; next: string }[]
      volumes: { state: string }[]
    }>('status')
    assert.is(volumes.filter(({ state }) => state === 'ready').length, 1)
    const found = problems.find((problem) => what.test(problem.what))
    assert.ok(found, `no problem named: ${JSON.stringify(problems)}`)
    assert.match(found.why, why)
    assert.ok(found.next.length > 0)
  } finally {
    await world.weft('down')
  }
}

async function withFile(
  path: string,
  change: (bytes: Buffer) => Buffer,
  work: () => Promise<void>,
): Promise<void> {
  const before = readFileSync(path)
  const after = change(before)
  assert.not.equal(after, before, `${path} is as it was`)
  writeFileSync(path, after)
  try {
    await work()
    assert.equal(readFileSync(path), after, `${path} was written`)
  } finally {
    writeFileSync(path, before)
  }
}

/** Version 2 in the head of a journal file, with its check right. Source: docs/format.md, journal file. */
function newerJournal(bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes)
  changed.writeUInt16LE(2, 4)
  changed.writeUInt32LE(crc32(changed.subarray(0, 508)), 508)
  return changed
}

/** Entries of the coordinator as docs/format.md has them: u32 CRC32 of key and rest, u64 version, value. */
function coordinatorOf(world: NodeWorld) {
  const root = open<Buffer, string>({
    path: join(world.home, 'coordinator'),
    encoding: 'binary',
    maxDbs: 4,
  })
  return { root, keys: root.openDB<Buffer, string>('keys', { encoding: 'binary' }) }
}

async function coordinatorEntry(world: NodeWorld, key: string) {
  const { root, keys } = coordinatorOf(world)
  try {
    const stored = Buffer.from(keys.get(key) ?? [])
    assert.ok(stored.length > 12, `no ${key}`)
    return { version: stored.readUInt32LE(4), value: stored.subarray(12) }
  } finally {
    await root.close()
  }
}

async function putEntry(world: NodeWorld, key: string, version: number, value: string) {
  const { root, keys } = coordinatorOf(world)
  try {
    const entry = Buffer.concat([Buffer.alloc(12), Buffer.from(value)])
    entry.writeUInt32LE(version, 4)
    entry.writeUInt32LE(crc32(entry.subarray(4), crc32(Buffer.from(key))), 0)
    await keys.put(key, entry)
    await root.flushed
  } finally {
    await root.close()
  }
}

test.run()
