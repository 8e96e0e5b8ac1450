import { spawn } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'
import { type FakeNode, fakeNode } from '../api/fake-control.ts'
import { type CallOptions, type Ran, weft } from './fake-terminal.ts'

interface World {
  readonly node: FakeNode
  /** A directory to write into. */
  readonly dir: string
  run(line: string, options?: CallOptions): Promise<Ran>
  close(): Promise<void>
}

async function world(): Promise<World> {
  const node = await fakeNode()
  const dir = mkdtempSync(join(tmpdir(), 'weft-cli-'))
  return {
    node,
    dir,
    run: (line, options) =>
      weft(['--home', node.home, ...line.split(' ')], { cwd: dir, ...options }),
    async close() {
      await node.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

test('volumes are made, listed, inspected, resized and deleted, in words and in JSON', async () => {
  const w = await world()
  try {
    assert.match((await w.run('volume list')).out, /^no volume yet: weft volume create/)
    const created = await w.run('volume create mysql_vol --size 100G --repl 1 --cos 3')
    assert.is(created.out, 'volume mysql_vol is created, 100 GiB, key slots: 1\n')
    assert.is(
      w.node.calls.at(-1),
      'volumes.create {"name":"mysql_vol","size":"100G","repl":"1","cos":"3"}',
    )
    const raw = await w.run('volume create size=100G,repl=1,cos=3,name=notes --json')
    assert.is(w.node.calls.at(-1), 'volumes.create {"spec":"size=100G,repl=1,cos=3,name=notes"}')
    assert.is((raw.json() as { name: string }).name, 'notes')

    const list = await w.run('volume list')
    assert.is(
      list.out,
      [
        'NAME          SIZE     USED  USE  FILES  STATE  ATTACHED',
        'mysql_vol  100 GiB  1.5 MiB   0%      7  ready  -',
        'notes      100 GiB  1.5 MiB   0%      7  ready  -',
        '',
      ].join('\n'),
    )
    const json = (await w.run('volume list --json')).json() as {
      volumes: { id: string; name: string }[]
    }
    assert.equal(Object.keys(json), ['volumes'])
    assert.equal(
      json.volumes.map((volume) => volume.name),
      ['mysql_vol', 'notes'],
    )
    assert.ok(json.volumes.every((volume) => volume.id))

    const inspected = await w.run('volume inspect notes')
    assert.match(inspected.out, /^name +notes$/m)
    assert.match(inspected.out, /^chunks +2, 2 MiB, of them 512 KiB to be reclaimed$/m)
    assert.match((await w.run('volume resize notes 200G')).out, /^volume notes has 200 GiB now/)
    assert.is((await w.run('volume delete notes --force')).out, 'volume notes is deleted\n')
    assert.is(w.node.calls.at(-1), 'volumes.delete ["notes",{"force":true}]')
    const gone = await w.run('volume inspect notes')
    assert.is(gone.exit, 4)
    assert.is(gone.out, '')
    assert.is(
      gone.err,
      'weft volume inspect: no volume is called "notes"\n  next: weft volume list shows what there is\n',
    )
  } finally {
    await w.close()
  }
})

test('names with odd characters reach the node whole', async () => {
  const w = await world()
  try {
    const ran = await weft(['--home', w.node.home, 'volume', 'inspect', 'a/b ?%2F#ü'])
    assert.is(ran.exit, 4)
    assert.is(w.node.calls.at(-1), 'volumes.inspect "a/b ?%2F#ü"')
  } finally {
    await w.close()
  }
})

test('a node that answers "not there" is asked once, also while its keeper runs', async () => {
  const w = await world()
  const keeper = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60_000)', '__keeper'])
  try {
    writeFileSync(join(w.node.home, 'keeper.lock'), JSON.stringify({ pid: keeper.pid }))
    const before = w.node.calls.length
    assert.is((await w.run('volume inspect none')).exit, 4)
    assert.is(w.node.calls.length, before + 1)
  } finally {
    keeper.kill('SIGKILL')
    await w.close()
  }
})

test('mount, umount, attach and detach send absolute paths and say what they did', async () => {
  const w = await world()
  try {
    await w.run('volume create db')
    assert.is((await w.run('mount ./m')).out, `weft is mounted at ${w.dir}/m\n`)
    assert.is(w.node.calls.at(-1), `mount {"target":"${w.dir}/m","readOnly":false}`)
    assert.is((await w.run('mount n -o ro,nosuid,_netdev -o noatime --json')).exit, 0)
    assert.is(
      w.node.calls.at(-1),
      `mount {"target":"${w.dir}/n","readOnly":true,"flags":["nosuid","noatime"]}`,
    )
    await w.run('mount p --nonempty')
    assert.is(w.node.calls.at(-1), `mount {"target":"${w.dir}/p","readOnly":false,"nonempty":true}`)
    await w.run('mount o -o volume=db')
    assert.is(w.node.calls.at(-1), `attach {"volume":"db","target":"${w.dir}/o","readOnly":false}`)
    assert.is(
      (await w.run('attach db /var/lib/mysql')).out,
      'volume db is mounted at /var/lib/mysql\n',
    )
    assert.is((await w.run('detach /var/lib/mysql')).out, '/var/lib/mysql is detached\n')
    assert.is((await w.run('umount m')).out, `${w.dir}/m is unmounted\n`)
    const again = await w.run('umount m')
    assert.is(again.exit, 4)
    assert.match(again.err, /weft has nothing mounted at .*\n {2}next: /)
  } finally {
    await w.close()
  }
})

test('mount(8) calls us as a helper, with its own exit codes', async () => {
  const w = await world()
  try {
    const helper = (argv: string[]) => weft(argv, { name: '/sbin/mount.fuse.weft' })
    const done = await helper([
      'weft',
      '/mnt/weft',
      '-n',
      '-o',
      `rw,nosuid,_netdev,home=${w.node.home}`,
    ])
    assert.is(done.exit, 0, done.err)
    assert.is(
      w.node.calls.at(-1),
      'mount {"target":"/mnt/weft","readOnly":false,"flags":["nosuid"]}',
    )
    const calls = w.node.calls.length
    assert.is((await helper(['weft', '/mnt/weft', '-f', '-o', `home=${w.node.home}`])).exit, 0)
    assert.is(w.node.calls.length, calls, '-f mounts nothing')
    assert.is((await helper(['weft'])).exit, 1)
    assert.is((await helper(['weft', '/mnt/weft', '-o', 'nonsense'])).exit, 1)
    const unknown = await helper(['weft', '/mnt/weft', '-o', `home=${w.node.home},volume=none`])
    assert.is(unknown.exit, 32)
  } finally {
    await w.close()
  }
})

test('status shows everything, and --json has daemon.pid', async () => {
  const w = await world()
  try {
    const empty = await w.run('status')
    assert.match(empty.out, /^weft 0\.1\.0 on .*, daemon pid \d+, up 1 h 1 min$/m)
    assert.match(empty.out, /^nothing is mounted: weft mount/m)
    await w.run('volume create db')
    await w.run('mount /mnt/weft')
    const text = (await w.run('status')).out
    for (const part of [
      /^ {2}\/mnt\/weft {2}namespace {2}\(all\)/m,
      /^ {2}db /m,
      /^ {2}d1 {4}medium {2}ok/m,
      /^warning: drive d1 has 1\.0 GiB left\n {2}why: .*\n {2}next: weft drive add DIR$/m,
    ])
      assert.match(text, part)
    const json = (await w.run('status --json')).json() as { daemon: { pid: number } }
    assert.is(json.daemon.pid, process.pid)
  } finally {
    await w.close()
  }
})

test('drives are listed and added', async () => {
  const w = await world()
  try {
    assert.match((await w.run('drive list')).out, /^NAME {2}CLASS .*\nd1 {4}medium/)
    const json = (await w.run('drive list --json')).json() as {
      drives: { id: string; name: string }[]
    }
    assert.equal(Object.keys(json), ['drives'])
    assert.ok(json.drives[0]?.id && json.drives[0].name)
    assert.match(
      (await w.run('drive add extra --class 3')).out,
      new RegExp(
        `^drive d2 is added: ${w.dir}/extra, 1 GiB free\n  note: .* same filesystem$`,
        'm',
      ),
    )
    assert.is(w.node.calls.at(-1), `drives.add {"dir":"${w.dir}/extra","class":3}`)
    await w.run('drive add more --create')
    assert.is(w.node.calls.at(-1), `drives.add {"dir":"${w.dir}/more","create":true}`)
  } finally {
    await w.close()
  }
})

test('keys: a person makes a pair, gets a slot and opens with the file', async () => {
  const w = await world()
  try {
    const made = (await w.run('key create --out me.key --json')).json() as {
      publicKey: string
      file: string
    }
    assert.is(Buffer.from(made.publicKey, 'base64').length, 32)
    assert.is(statSync(made.file).mode & 0o777, 0o600)
    const secret = /^secret: (.+)$/m.exec(readFileSync(made.file, 'utf8'))?.[1] ?? ''
    assert.is(Buffer.from(secret, 'base64').length, 32)
    const second = await w.run('key create --out me.key')
    assert.is(second.exit, 5)
    assert.match(second.err, /cannot write .*me\.key: it exists already/)

    assert.match(
      (await w.run(`key add notes --recipient ${made.publicKey} --label anna`)).out,
      /^slot 2 is added: recipient, anna/,
    )
    const odd = await w.run('key add notes --recipient AAAA')
    assert.is(odd.exit, 2)
    assert.is((await w.run('key unlock notes --identity me.key')).out, 'volume notes is open\n')
    const opener = JSON.parse(w.node.calls.at(-1)?.slice('keys.unlock '.length) ?? '') as [
      string,
      { kind: string },
    ]
    assert.is(opener[1].kind, 'keypair')
    assert.ok(w.node.lent.some((bytes) => bytes.length === 32 && bytes.every((byte) => byte === 0)))
    const damaged = readFileSync(made.file, 'utf8').replace(
      secret,
      secret.replace(/^./, (c) => (c === 'A' ? 'B' : 'A')),
    )
    writeFileSync(join(w.dir, 'bad.key'), damaged)
    const refused = await w.run('key unlock notes --identity bad.key')
    assert.is(refused.exit, 2)
    assert.match(refused.err, /damaged or mistyped/)
  } finally {
    await w.close()
  }
})

test('keys: listing one volume and all, removing, the last slot', async () => {
  const w = await world()
  try {
    await w.run('volume create notes')
    const list = await w.run('key list notes')
    assert.match(list.out, /^volume notes is open, key epoch 1\nSLOT {2}KIND/)
    const one = (await w.run('key list notes --json')).json() as {
      keys: { id: string; name: string }[]
    }
    assert.is(one.keys[0]?.id, '1')
    assert.is(one.keys[0]?.name, 'this node')
    const all = (await w.run('key list --json')).json() as { keys: { volume: string }[] }
    assert.equal(
      all.keys.map((key) => key.volume),
      ['notes'],
    )
    const last = await w.run('key remove notes 1')
    assert.is(last.exit, 5)
    assert.match(
      last.err,
      /^weft key remove: slot 1 is the last one; .*\n {2}next: add another slot first/,
    )
  } finally {
    await w.close()
  }
})

test('keys: split writes one private file a person, and enough of them recover', async () => {
  const w = await world()
  try {
    const split = await w.run('key split notes --shares 5 --threshold 3 --out shares --json')
    assert.is(split.exit, 0, split.err)
    const { files } = split.json() as { files: string[] }
    assert.is(files.length, 5)
    for (const file of files) assert.is(statSync(file).mode & 0o777, 0o600)
    const two = await w.run(`key recover notes ${files.slice(0, 2).join(' ')}`)
    assert.is(two.exit, 6)
    assert.match(two.err, /2 of the 3 shares that are needed are given\n {2}next: ask 1 more/)
    const twice = await w.run(`key recover notes ${files[0]} ${files[0]} ${files[1]}`)
    assert.match(twice.err, /more than once/)
    const done = await w.run(`key recover notes ${files.slice(1, 4).join(' ')}`)
    assert.is(done.exit, 0, done.err)
    const sent = JSON.parse(w.node.calls.at(-1)?.slice('keys.recover '.length) ?? '') as [
      string,
      string[],
    ]
    assert.equal(
      sent[1],
      [2, 3, 4].map((byte) => Buffer.alloc(33, byte).toString('hex')),
    )
    assert.not.match(split.out, Buffer.alloc(33, 1).toString('base64'))
  } finally {
    await w.close()
  }
})

test('keys: export, drill and import move a backup, lock and unlock say the state', async () => {
  const w = await world()
  try {
    assert.is((await w.run('key export notes')).out, 'WEFT KEY BACKUP\nversion: 1\n')
    assert.match((await w.run('key export notes --out b.keys')).out, /backed up in/)
    assert.is(readFileSync(join(w.dir, 'b.keys'), 'utf8'), 'WEFT KEY BACKUP\nversion: 1\n')
    const drill = await w.run('key drill notes b.keys --passphrase', { typed: ['right horse'] })
    assert.is(drill.exit, 0)
    assert.match(drill.out, /every byte of notes could be read with it/)
    writeFileSync(join(w.dir, 'old.keys'), 'old\n')
    const old = await w.run('key drill notes old.keys')
    assert.is(old.exit, 6)
    assert.match(old.out, /key epochs 2 could not be read\n {2}next: make a new backup/)
    assert.is((await w.run('key import notes b.keys')).exit, 0)
    const missing = await w.run('key import notes none.keys')
    assert.is(missing.exit, 4)
    assert.match(missing.err, /cannot read the backup .*none\.keys: there is no such file/)
    assert.match((await w.run('key lock notes')).out, /^volume notes is locked/)
    assert.match((await w.run('key list notes')).out, /^volume notes is locked/)
    const wrong = await w.run('key unlock notes --passphrase', { typed: ['wrong'] })
    assert.is(wrong.exit, 6)
    assert.match(
      wrong.err,
      /the passphrase opens no slot; the slots of notes are 1 \(this node\)\n {2}next: try another passphrase, key file or set of shares, or give what a slot takes: weft key unlock notes \(slot 1\)\n/,
    )
    assert.is((await w.run('key unlock notes --passphrase', { typed: ['right horse'] })).exit, 0)
  } finally {
    await w.close()
  }
})

test('the next step of a refusal is a command line of the command that was given', async () => {
  const w = await world()
  const backup = (message: string, subject = {}) =>
    new FsError('EINVAL', 'key.import', { ...subject, message: `key.import: this is ${message}` })
  const spec = (key: string, message: string) =>
    new FsError('EINVAL', 'volume.spec', { key, message })
  try {
    await w.run('volume create notes')
    await w.run('volume create other')
    writeFileSync(join(w.dir, 'b.keys'), 'text')
    const { id } = (await w.run('volume inspect other --json')).json() as { id: string }
    const noSlot = new FsError('ENOKEY', 'key.open', {
      message: 'key.open: there is no slot for a passphrase',
    })
    const table: [string, FsError, string, string][] = [
      [
        'volume create x --size 1Q',
        spec('size', 'size "1Q": unknown unit Q; use K, M, G or T, as in size=100G'),
        'size "1Q": unknown unit Q',
        'use K, M, G or T, as in: weft volume create NAME --size 100G',
      ],
      [
        'volume resize notes 1Q',
        spec('size', 'size "1Q": unknown unit Q; use K, M, G or T, as in size=100G'),
        'size "1Q": unknown unit Q',
        'use K, M, G or T, as in: weft volume resize notes 200G',
      ],
      [
        'volume create x=1',
        spec('spec', 'unknown key "x"; the keys are size, name'),
        'unknown key "x"',
        'the keys are size, name, as in: weft volume create size=100G,repl=1,cos=3,name=mysql_vol',
      ],
      [
        'key import notes b.keys',
        backup('not a key backup: line 1 is not WEFT KEY BACKUP'),
        'b.keys is not a key backup: line 1 is not WEFT KEY BACKUP',
        'name a whole file made by: weft key export notes --out FILE',
      ],
      [
        'key drill notes b.keys',
        backup('a backup of another one', { backupOf: id }),
        'b.keys is a backup of volume other, not of notes',
        'name a backup of notes, made by weft key export notes; this one is for weft key drill other b.keys',
      ],
      [
        'key unlock notes',
        noSlot,
        'there is no slot for a passphrase; the slots of notes are 1 (this node)',
        'give what a slot takes: weft key unlock notes (slot 1)',
      ],
      [
        'volume inspect notes',
        new FsError('ENOKEY', 'volume', { message: 'volume notes is locked' }),
        'volume notes is locked',
        'open the volume first: weft key unlock notes',
      ],
      [
        'key rotate notes',
        new FsError('EINVAL', 'key.rotate', { message: 'no' }),
        'no',
        'correct the request; `weft key rotate --help` has an example',
      ],
      [
        'drive list',
        new FsError('EIO', 'drive.list', { message: 'no' }),
        'no',
        `see \`weft status\` and the end of ${w.node.home}/log/keeper.log`,
      ],
    ]
    for (const [line, thrown, message, next] of table) {
      w.node.failNext = thrown
      const ran = await w.run(line)
      const command = line.split(' ').slice(0, 2).join(' ')
      assert.is(ran.err, `weft ${command}: ${message}\n  next: ${next}\n`)
    }
    const slot = await w.run('key remove notes 99')
    assert.is(slot.exit, 4)
    assert.is(
      slot.err,
      'weft key remove: volume notes has no slot 99; it has 1\n  next: weft key list notes\n',
    )
  } finally {
    await w.close()
  }
})

test('what opens a volume is said for each kind of slot', async () => {
  const w = await world()
  try {
    await w.run('key create --out me.key')
    await w.run(`key add notes --recipient ${'A'.repeat(43)}= --label anna`)
    w.node.failNext = new FsError('EKEYREJECTED', 'key.open', { message: 'key.open: no' })
    const ran = await w.run('key unlock notes')
    assert.is(ran.exit, 6)
    assert.is(
      ran.err,
      'weft key unlock: no; the slots of notes are 1 (this node), 2 (recipient, anna)\n  next: try another passphrase, key file or set of shares, or give what a slot takes: weft key unlock notes (slot 1), or weft key unlock notes --identity KEYFILE (slot 2)\n',
    )
  } finally {
    await w.close()
  }
})

test('long work shows plain lines in a pipe and a bar on a terminal, and its result at the end', async () => {
  const w = await world()
  try {
    w.node.jobSteps = 6
    const piped = await w.run('fsck')
    assert.is(piped.exit, 0)
    assert.match(piped.out, /^checked 1 volume: 12 inodes, .*\neverything is whole\n$/m)
    assert.match(piped.err, /^fsck: 0% \(0 of 6 chunks\) fsck runs$/m)
    assert.not.match(piped.err, '\r')
    const bar = await w.run('key rotate notes --reseal', { tty: true })
    assert.match(bar.err, /\rreseal \[#+\.+\] 50% \(3 of 6 chunks\)/)
    assert.ok(bar.err.endsWith('\r\x1b[K'), 'the bar is wiped at the end')
    assert.is(bar.out, 'volume notes has key epoch 2; old data is rewritten\n')
    const background = await w.run('key rotate notes --reseal --background --json')
    assert.is((background.json() as { job: { state: string } }).job.state, 'running')
  } finally {
    await w.close()
  }
})

test('Ctrl-C asks the node to stop the job, and the exit code is 130', async () => {
  const w = await world()
  try {
    w.node.jobSteps = 1_000_000
    const ran = await w.run('fsck', { onReady: (interrupt) => setTimeout(interrupt, 150) })
    assert.is(ran.exit, 130)
    assert.match(ran.err, /fsck was stopped at/)
    assert.is(w.node.calls.at(-1), 'jobs.cancel "job-1"')
  } finally {
    await w.close()
  }
})

test('fsck with damage left is exit 7 and names each place; repaired damage is 0', async () => {
  const w = await world()
  try {
    const finding = {
      severity: 'damage' as const,
      volume: 'notes',
      what: 'a chunk fails its seal',
      path: '/a\x1b[31m',
      outcome: 'left' as const,
      next: 'weft fsck --repair',
    }
    w.node.report = { ...w.node.report, clean: false, findings: [finding] }
    const ran = await w.run('fsck notes')
    assert.is(ran.exit, 7)
    assert.match(
      ran.out,
      /^damage: notes\/a\\x1b\[31m: a chunk fails its seal \(left\)\n {2}next: weft fsck --repair$/m,
    )
    assert.is(
      w.node.calls.find((call) => call.startsWith('fsck')),
      'fsck {"volume":"notes","repair":false}',
    )
    assert.is((await w.run('fsck --json')).exit, 7)
    w.node.report = { ...w.node.report, findings: [{ ...finding, outcome: 'repaired' }] }
    const repaired = await w.run('fsck --repair')
    assert.is(repaired.exit, 0)
    assert.match(repaired.out, /1 damaged, 1 of them repaired/)
  } finally {
    await w.close()
  }
})

test('every failure of the node is two lines or one JSON object, with an exit code, and no stack', async () => {
  const w = await world()
  try {
    const table: [unknown, number][] = [
      [new FsError('ENOSPC', 'volume list', { message: 'volume list: drive d1 is full' }), 8],
      [new FsError('EUCLEAN', 'volume list', {}), 7],
      [new FsError('ETIMEDOUT', 'volume list', {}), 9],
      [new FsError('EROFS', 'volume list', {}), 5],
      [new TypeError("Cannot read properties of undefined (reading 'x')"), 1],
    ]
    for (const [thrown, exit] of table) {
      w.node.failNext = thrown
      const ran = await w.run('volume list')
      assert.is(ran.exit, exit)
      assert.match(ran.err, /^weft volume list: [^\n]+\n {2}next: [^\n]+\n$/)
      assert.not.match(ran.err, /at .*:\d+:\d+|properties of undefined/)
      w.node.failNext = thrown
      const json = await w.run('volume list --json')
      assert.is(json.out, '')
      assert.is((JSON.parse(json.err) as { error: { exit: number } }).error.exit, exit)
    }
  } finally {
    await w.close()
  }
})

test('no node, a dead socket, and a thing that is no weft at all are told apart from failures', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-none-'))
  try {
    const none = await weft(['--home', dir, 'status'])
    assert.is(none.exit, 3)
    assert.is(
      none.err,
      `weft status: no node runs on ${dir}\n  next: start it: weft --home ${dir} up\n`,
    )
    assert.is((await weft(['status'], { env: { WEFT_HOME: dir } })).err, none.err)
    const down = await weft(['--home', dir, 'down'])
    assert.is(down.exit, 0)
    assert.is(down.out, `no node runs on ${dir}\n`)
    mkdirSync(join(dir, 'odd'))
    const odd = createServer((socket) => socket.end('HELLO\r\n\r\n')).listen(
      join(dir, 'odd/control.sock'),
    )
    await new Promise((resolve) => odd.once('listening', resolve))
    const other = await weft(['--home', join(dir, 'odd'), 'status'])
    assert.is(other.exit, 1)
    assert.match(other.err, /\n {2}next: .+\n$/)
    odd.close()
  } finally {
    rmSync(dir, { recursive: true })
  }
})

test('a node that ends in the middle of an answer is not asked again', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-half-'))
  let asked = 0
  const half = createServer((socket) => {
    asked++
    socket.once('data', () => socket.destroy())
    socket.on('error', () => {})
  }).listen(join(dir, 'control.sock'))
  try {
    await new Promise((resolve) => half.once('listening', resolve))
    const ran = await weft(['--home', dir, 'volume', 'delete', 'x'])
    assert.is(ran.exit, 1)
    assert.match(
      ran.err,
      /ended before it answered; whether it did what was asked is not known\n {2}next: look with `weft status`/,
    )
    assert.is(asked, 1)
  } finally {
    half.close()
    rmSync(dir, { recursive: true })
  }
})

test('debug prints metrics, the document, and the answer to a request', async () => {
  const w = await world()
  try {
    assert.is((await w.run('debug metrics')).exit, 0)
    assert.is(
      (JSON.parse((await w.run('debug openapi')).out) as { openapi: string }).openapi,
      '3.1.0',
    )
    assert.is((await w.run('debug request get /v1/jobs')).out, '{"jobs":[]}\n')
    assert.is((await w.run('debug request POST /v1/fsck {"repair":false}')).exit, 0)
    assert.is((await w.run('debug request POST /v1/fsck {')).exit, 2)
    const report = JSON.parse((await w.run('debug report')).out) as {
      status: { home: string }
      findings: unknown[]
    }
    assert.is(report.status.home, w.node.home)
    assert.ok(report.findings.length > 5)
  } finally {
    await w.close()
  }
})

test('bench measures a directory, prints figures and leaves nothing', async () => {
  const w = await world()
  try {
    const ran = await weft(['bench', w.dir, '--size', '4', '--files', '20', '--json'])
    assert.is(ran.exit, 0, ran.err)
    const { figures } = ran.json() as { figures: { id: string; name: string; value: number }[] }
    assert.is(figures.length, 9)
    assert.ok(figures.every((figure) => figure.id && figure.name && figure.value > 0))
    assert.equal(readdirSync(w.dir), [])
    const odd = await weft(['bench', '/proc'])
    assert.is(odd.exit, 2)
    assert.match(odd.err, /cannot measure in \/proc: nothing can be made there\n {2}next: name a/)
    const missing = await weft(['bench', join(w.dir, 'none')])
    assert.is(missing.exit, 4)
    assert.match(
      missing.err,
      /cannot measure in .*none: there is no such file or directory\n {2}next: /,
    )
  } finally {
    await w.close()
  }
})

test.run()
