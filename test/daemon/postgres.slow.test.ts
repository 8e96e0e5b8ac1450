// deadline: 300 s
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { run, sleep, startNode } from '../support/node-world.ts'
import { Postgres, type RunThere } from '../support/postgres.ts'

/**
 * PostgreSQL on an exclusive mount while the daemon is killed every few seconds: no statement fails, and afterwards every
 * page has its checksum, every index fits its table, and the bank's books balance.
 */

const RUN_SECONDS = 30
const KILL_EVERY_MS = 4000

/** For the end of a test that failed. */
function endServer({ data }: Postgres): void {
  const path = join(data, 'postmaster.pid')
  if (!existsSync(path)) return
  const pid = Number(readFileSync(path, 'utf8').split('\n')[0])
  spawnSync('kill', ['-QUIT', String(pid)])
  const gone = `for i in $(seq 100); do kill -0 ${pid} || exit 0; sleep 0.1; done`
  spawnSync('bash', ['-c', gone])
}

test('pgbench runs through kills of the daemon without an error, and the database is whole', async () => {
  const world = await startNode()
  let postgres: Postgres | null = null
  try {
    const point = await world.attached('db', '--size', '4G')
    const here: RunThere = ([program = '', ...args]) => run(program, args, { timeoutMs: 120_000 })
    postgres = new Postgres(here, join(point, 'data'), world.mkdir('socket'))
    await postgres.init()
    await postgres.start()
    await postgres.run('pgbench', '-i', '-q', '-s', '5', 'postgres')

    let kills = 0
    let running = true
    const killer = (async () => {
      while (running) {
        await sleep(KILL_EVERY_MS)
        if (!running) break
        await world.kill9()
        kills++
      }
    })()
    let bench: string
    try {
      bench = await postgres.run(
        'pgbench',
        '-c',
        '4',
        '-j',
        '2',
        '-T',
        String(RUN_SECONDS),
        'postgres',
      )
    } finally {
      running = false
      await killer
    }
    assert.ok(kills >= 4, `the daemon was killed ${kills} times only`)
    assert.match(bench, /number of failed transactions: 0 /)
    const done = Number(/number of transactions actually processed: (\d+)/.exec(bench)?.[1])
    assert.ok(done > 100, `only ${done} transactions:\n${bench}`)
    assert.not.match(postgres.log(), /PANIC|FATAL|could not (read|write|fsync|open)/)

    // Kill server and daemon together, then let the server recover from its own log.
    await Promise.all([postgres.stop('immediate'), world.kill9()])
    await postgres.start()
    assert.is(Number(await postgres.query('select count(*) from pgbench_history')), done)
    const books = `select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)
      and (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history)`
    assert.is(await postgres.query(books), 't')
    await postgres.check()
    assert.match(await postgres.run('pg_dump', '-d', 'postgres', '-t', 'pgbench_branches'), /COPY/)
    await postgres.stop('fast')
    assert.match(await postgres.run('pg_checksums', '-c', '-D', postgres.data), /Bad checksums: +0/)

    // And once more from the drive alone: another life of node and mount.
    await world.weft('detach', point)
    await world.restart()
    await world.weft('attach', 'db', point)
    assert.match(await postgres.run('pg_checksums', '-c', '-D', postgres.data), /Bad checksums: +0/)
    await postgres.start()
    assert.is(Number(await postgres.query('select count(*) from pgbench_history')), done)
    await postgres.stop('fast')
  } finally {
    if (postgres) endServer(postgres)
    await world.close()
  }
})

test.run()
