import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { hosts, type Lab } from './hosts.ts'
import type { Host } from './lab-host.ts'
import { Ledger } from './ledger.ts'
import { hasMariadb, Mariadb } from './mariadb.ts'
import { sleep, until } from './node-world.ts'
import { Postgres, type RunThere } from './postgres.ts'

const WORK_MS = 3000
const ROWS_MIN = 5
/** A copy is found again in seconds, follows, and is taken in after ten steady ones. */
const IN_SYNC_MS_MAX = 90_000

/** PostgreSQL, SQLite and, where it is installed, MariaDB, on one volume of three copies, on whichever host it is attached. */
export class Databases {
  readonly lab: Lab
  readonly ledgers: readonly Ledger[]
  readonly postgres: Postgres
  readonly #point: string
  readonly #mariadb: Mariadb | null
  #host: Host

  private constructor(lab: Lab, dir: string) {
    this.lab = lab
    this.#point = join(dir, 'point')
    mkdirSync(this.#point)
    this.#host = lab.host(2)
    const there: RunThere = ([program = '', ...args]) => this.#host.tryRun(program, ...args)
    const place = (name: string) => {
      mkdirSync(join(dir, name))
      return [there, join(this.#point, name), join(dir, name)] as const
    }
    const postgres = new Postgres(...place('postgres'))
    const mariadb = hasMariadb() ? new Mariadb(...place('mariadb')) : null
    this.postgres = postgres
    this.#mariadb = mariadb
    const client = (words: readonly string[]) => () => this.#host.spawn(words, { stdio: 'pipe' })
    const ask = (words: readonly string[]) => async (sql: string) =>
      await this.#host.run(words[0] ?? '', ...words.slice(1), sql)
    const sqlite = ['sqlite3', '-batch', join(this.#point, 'sqlite.db')]
    const psql = postgres.words('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', 'postgres')
    this.ledgers = [
      new Ledger({
        name: 'SQLite',
        client: client(['sqlite3', '-bail', ...sqlite.slice(1)]),
        ask: ask(sqlite),
        begin: 'PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=50;',
      }),
      new Ledger({
        name: 'PostgreSQL',
        client: client(psql),
        ask: ask([...psql, '-c']),
        begin: 'SET client_min_messages = warning;',
      }),
      ...(mariadb
        ? [
            new Ledger({
              name: 'MariaDB',
              client: client(mariadb.client('mysql')),
              ask: ask(mariadb.client('mysql', '-e')),
              begin: '',
            }),
          ]
        : []),
    ]
  }

  static async with(work: (databases: Databases) => Promise<void>): Promise<void> {
    const dir = mkdtempSync(join(tmpdir(), 'weft-databases-'))
    // Servers run as users of their own.
    chmodSync(dir, 0o711)
    const lab = await hosts(3)
    try {
      const databases = new Databases(lab, dir)
      await databases.#init()
      await work(databases)
    } finally {
      await lab.close()
      rmSync(dir, { recursive: true })
    }
  }

  get host(): Host {
    return this.#host
  }

  async #init(): Promise<void> {
    await this.#host.weft('volume', 'create', 'db', '--size', '1G', '--repl', '3')
    await this.#host.weft('attach', 'db', this.#point)
    await this.postgres.init()
    await this.#mariadb?.init()
    await this.#startServers()
    await this.postgres.run('pgbench', '-i', '-q', 'postgres')
    // Its own sync is none of weft's business; what must be there is there from here on.
    await this.#host.run('sync', '-f', this.#point)
    for (const ledger of this.ledgers) ledger.start()
  }

  async #startServers(): Promise<void> {
    await this.postgres.start()
    await this.#mariadb?.start((words) => this.#host.spawn(words, { stdio: 'ignore' }))
  }

  /** All databases commit rows meanwhile; pgbench runs beside. @throws Error when one has stopped */
  async work(ms = WORK_MS): Promise<void> {
    const before = this.ledgers.map(({ committed }) => committed)
    const bench = ['pgbench', '-n', '-c', '2', '-T', `${Math.ceil(ms / 1000) + 60}`, 'postgres']
    const child = this.#host.spawn(this.postgres.words(...(bench as [string])), { stdio: 'ignore' })
    await sleep(ms)
    await until(
      'every database has committed rows',
      () => {
        assert.is(child.exitCode, null, 'pgbench goes on')
        for (const ledger of this.ledgers) {
          assert.ok(ledger.runs, `${ledger.name} ended: ${ledger.words}${this.postgres.log()}`)
        }
        return this.ledgers.every((one, index) => one.committed >= (before[index] ?? 0) + ROWS_MIN)
      },
      60_000,
    )
  }

  /** The host dies in mid-work, with what its drives had not written; all goes on where the volume is attached next. */
  async die(): Promise<void> {
    const dead = this.#host
    await dead.powerCut()
    for (const ledger of this.ledgers) await ledger.gone()
    this.#host = this.lab.host(dead.number === 2 ? 3 : 2)
    await this.#host.weft('attach', 'db', this.#point)
    await this.postgres.forget()
    this.#mariadb?.forget()
    await this.#startServers()
    await this.check()
    for (const ledger of this.ledgers) ledger.start()
    await dead.start()
    await this.allInSync()
  }

  async check(): Promise<void> {
    const sqlite = ['-batch', join(this.#point, 'sqlite.db'), 'PRAGMA integrity_check']
    assert.is((await this.#host.run('sqlite3', ...sqlite)).trim(), 'ok')
    await this.postgres.check()
    const books = `SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)
      AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)`
    assert.is(await this.postgres.query(books), 't', 'the books balance')
    await this.#mariadb?.check('ledger')
    for (const ledger of this.ledgers) await ledger.check()
  }

  async stop(): Promise<void> {
    for (const ledger of this.ledgers) await ledger.stop()
  }

  async allInSync(): Promise<void> {
    await until(
      'all copies are in sync',
      async () => {
        const { copies } = await this.#host.ask<{ copies: { inSync: boolean }[] }>('/v1/volumes/db')
        return copies.every(({ inSync }) => inSync)
      },
      IN_SYNC_MS_MAX,
    )
  }
}
