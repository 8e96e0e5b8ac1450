import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeWorld, run, sleep, startNode, until } from '../support/node-world.ts'

/** SQLite on an exclusive mount (write-ahead log, synchronous=FULL) while daemon, or everything, is killed. */

/** Commits rows one by one and lists each in a file outside the mount once its commit has returned. */
const WRITER = `
import os, sqlite3, sys, time
path, manifest, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
db = sqlite3.connect(path, isolation_level=None, timeout=60)
db.execute('pragma journal_mode=wal')
db.execute('pragma synchronous=full')
db.execute('pragma wal_autocheckpoint=50')
db.execute('create table if not exists book (n integer primary key, text blob)')
first = db.execute('select coalesce(max(n), 0) from book').fetchone()[0]
out = os.open(manifest, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
end = time.monotonic() + seconds
n = first
while time.monotonic() < end:
    n += 1
    db.execute('begin')
    db.execute('insert into book values (?, ?)', (n, bytes([n % 251]) * (200 + n * 37 % 9000)))
    if n % 7 == 0: db.execute('update book set text = ? where n = ?', (b'x' * 100, n - 3))
    db.execute('commit')
    os.write(out, b'%d\\n' % n)
print('done', n - first)
`

const CHECK = `
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60)
print(json.dumps([db.execute('pragma integrity_check').fetchall(), [row[0] for row in db.execute('select n from book order by n')]]))
`

interface Book {
  integrity: unknown
  rows: number[]
}

async function read(world: NodeWorld, path: string): Promise<Book> {
  const check = join(world.dir, 'check.py')
  writeFileSync(check, CHECK)
  const done = await run('python3', [check, path])
  assert.is(done.code, 0, done.stderr)
  const [integrity, rows] = JSON.parse(done.stdout) as [unknown, number[]]
  return { integrity, rows }
}

function startWriter(world: NodeWorld, path: string, manifest: string, seconds: number) {
  const script = join(world.dir, 'writer.py')
  writeFileSync(script, WRITER)
  const child = world.own(
    spawn('python3', [script, path, manifest, String(seconds)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  )
  let said = ''
  child.stdout?.on('data', (text) => {
    said += text
  })
  child.stderr?.on('data', (text) => {
    said += text
  })
  const ended = new Promise<{ code: number | null; said: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, said }))
  })
  return { child, ended }
}

function listed(manifest: string): number[] {
  const lines = readFileSync(manifest, 'utf8').split('\n')
  return lines.slice(0, -1).map(Number)
}

test('no commit fails and none is lost while the daemon is killed under the database', async () => {
  const world = await startNode()
  try {
    const point = await world.attached('db', '--size', '1G')
    const path = join(point, 'book.db')
    const manifest = join(world.dir, 'manifest')
    const writer = startWriter(world, path, manifest, 11)
    let over = false
    void writer.ended.then(() => {
      over = true
    })
    let kills = 0
    // Five deaths in ten seconds are a crash loop to the keeper, which then waits before it starts another daemon.
    while (!over) {
      await sleep(2200)
      if (over) break
      await world.kill9()
      kills++
    }
    const { code, said } = await writer.ended
    assert.is(code, 0, said)
    assert.ok(kills >= 4, `killed ${kills} times`)
    const { integrity, rows } = await read(world, path)
    assert.equal(integrity, [['ok']])
    assert.ok(listed(manifest).length > 20, `${listed(manifest).length} commits`)
    assert.equal(rows, listed(manifest))
  } finally {
    await world.close()
  }
})

test('what was committed is there after keeper and daemon died, and after staged bytes went with the boot', async () => {
  const world = await startNode({ mount: false })
  try {
    const point = await world.attached('db', '--size', '1G')
    const path = join(point, 'book.db')
    const manifest = join(world.dir, 'manifest')
    for (const forget of [false, true]) {
      const before = forget ? listed(manifest).length : 0
      const writer = startWriter(world, path, manifest, 60)
      await until('commits are listed', () => {
        try {
          return listed(manifest).length > before + 30
        } catch {
          return false
        }
      })
      await world.killAll()
      writer.child.kill('SIGKILL')
      await writer.ended
      if (forget) world.forgetBoot()
      await world.up()
      await world.weft('attach', 'db', point)
      const { integrity, rows } = await read(world, path)
      assert.equal(integrity, [['ok']])
      const missing = listed(manifest).filter((n) => !rows.includes(n))
      assert.equal(missing, [], `lost after ${forget ? 'a cut of power' : 'the death of both'}`)
    }
  } finally {
    await world.close()
  }
})

test.run()
