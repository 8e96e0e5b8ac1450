// deadline: 300 s
import { spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeWorld, run, sleep, startNode } from '../support/node-world.ts'

/**
 * PostgreSQL on an exclusive mount while the daemon is killed every few seconds: no statement fails, and afterwards every
 * page has its checksum, every index fits its table, and the bank's books balance.
 */

const RUN_SECONDS = 30
const KILL_EVERY_MS = 4000

/** Debian puts each version in a directory of its own. */
function programs(): string {
  const root = '/usr/lib/postgresql'
  const version = existsSync(root) ? readdirSync(root).sort().at(-1) : undefined
  assert.ok(version, 'PostgreSQL is not installed: scripts/test installs it')
  return join(root, version, 'bin')
}

class Postgres {
  readonly #bin = programs()
  readonly #data: string
  readonly #socket: string

  constructor(world: NodeWorld, data: string) {
    this.#data = data
    this.#socket = world.mkdir('socket')
    const [uid = 0, gid = 0] = ids('postgres')
    chownSync(this.#socket, uid, gid)
    mkdirSync(data, { mode: 0o700 })
    chownSync(data, uid, gid)
  }

  /** As the user postgres: the server refuses root. */
  async run(program: string, ...args: string[]): Promise<string> {
    const line = ['-u', 'postgres', '--', join(this.#bin, program), ...args]
    const env = { ...process.env, PGHOST: this.#socket, PGUSER: 'postgres', LC_ALL: 'C.UTF-8' }
    const done = await run('runuser', line, { env, cwd: '/', timeoutMs: 120_000 })
    if (done.code === 0) return `${done.stdout}${done.stderr}`
    throw new Error(`${program} ended with ${done.code}: ${done.stderr}${done.stdout}${this.log()}`)
  }

  async init(): Promise<void> {
    await this.run('initdb', '-D', this.#data, '-k', '-A', 'trust', '--no-instructions')
    const settings = `listen_addresses = ''\nunix_socket_directories = '${this.#socket}'\ncheckpoint_timeout = 30s\nmax_wal_size = 64MB\n`
    writeFileSync(join(this.#data, 'postgresql.auto.conf'), settings)
  }

  async start(): Promise<void> {
    await this.run(
      'pg_ctl',
      '-D',
      this.#data,
      '-w',
      '-t',
      '60',
      '-l',
      join(this.#socket, 'log'),
      'start',
    )
  }

  async stop(how: 'fast' | 'immediate'): Promise<void> {
    await this.run('pg_ctl', '-D', this.#data, '-w', '-m', how, 'stop')
  }

  /** For the end of a test that failed. */
  end(): void {
    const pid = Number(this.#tryRead(join(this.#data, 'postmaster.pid')).split('\n')[0])
    if (pid > 0) spawnSync('kill', ['-QUIT', String(pid)])
    if (pid > 0)
      spawnSync('bash', ['-c', `for i in $(seq 100); do kill -0 ${pid} || exit 0; sleep 0.1; done`])
  }

  async query(sql: string): Promise<string> {
    return (await this.run('psql', '-XAtc', sql, 'postgres')).trim()
  }

  log(): string {
    return this.#tryRead(join(this.#socket, 'log'))
  }

  get data(): string {
    return this.#data
  }

  #tryRead(path: string): string {
    try {
      return readFileSync(path, 'utf8')
    } catch {
      return ''
    }
  }
}

function ids(user: string): number[] {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((one) => one.startsWith(`${user}:`))
  assert.ok(line, `there is no user ${user}`)
  return line.split(':').slice(2, 4).map(Number)
}

test('pgbench runs through kills of the daemon without an error, and the database is whole', async () => {
  const world = await startNode()
  let postgres: Postgres | null = null
  try {
    const point = await world.attached('db', '--size', '4G')
    postgres = new Postgres(world, join(point, 'data'))
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
    await postgres.run('pg_amcheck', '--install-missing', '-d', 'postgres')
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
    postgres?.end()
    await world.close()
  }
})

test.run()
