import type { ChildProcess } from 'node:child_process'
import { chownSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { until } from './node-world.ts'
import { idsOf, type RunThere } from './postgres.ts'

const START_MS_MAX = 120_000

export function hasMariadb(): boolean {
  return existsSync('/usr/sbin/mariadbd')
}

/** One server of MariaDB, wherever its data are mounted. */
export class Mariadb {
  readonly data: string
  readonly #socket: string
  readonly #run: RunThere

  /** @param socket an empty directory that no mount hides: the socket and the server's log */
  constructor(run: RunThere, data: string, socket: string) {
    this.#run = run
    this.data = data
    this.#socket = socket
    const [uid = 0, gid = 0] = idsOf('mysql')
    chownSync(socket, uid, gid)
  }

  async init(): Promise<void> {
    await this.#must('install', '-d', '-m', '700', '-o', 'mysql', this.data)
    const install = ['mariadb-install-db', '--no-defaults', '--user=mysql']
    const how = [
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      '--skip-name-resolve',
    ]
    await this.#must(...install, ...how, `--datadir=${this.data}`, `--tmpdir=${this.#socket}`)
  }

  /** @param spawn starts what runs on where the server is */
  async start(spawn: (words: readonly string[]) => ChildProcess): Promise<void> {
    const child = spawn([
      'mariadbd',
      '--no-defaults',
      '--user=mysql',
      `--datadir=${this.data}`,
      `--socket=${this.#path}`,
      `--log-error=${join(this.#socket, 'log')}`,
      `--pid-file=${join(this.#socket, 'pid')}`,
      `--tmpdir=${this.#socket}`,
      '--skip-networking',
      '--innodb-flush-log-at-trx-commit=1',
      '--innodb-buffer-pool-size=32M',
      '--performance-schema=OFF',
    ])
    await until(
      'MariaDB answers',
      async () => {
        assert.is(child.exitCode, null, `MariaDB ended: ${this.log()}`)
        return (await this.#run(this.client('-e', 'SELECT 1'))).code === 0
      },
      START_MS_MAX,
    )
  }

  /** Of a server whose machine is gone. */
  forget(): void {
    rmSync(this.#path, { force: true })
  }

  client(...more: readonly string[]): string[] {
    const how = ['--no-defaults', '--batch', '--skip-column-names', '--unbuffered']
    return ['mariadb', ...how, '-u', 'root', '-S', this.#path, ...more]
  }

  async query(sql: string): Promise<string> {
    return await this.#must(...this.client('-e', sql, 'mysql'))
  }

  /** @throws Error with what CHECK TABLE says of a table that is damaged */
  async check(...tables: readonly string[]): Promise<void> {
    for (const table of tables) {
      assert.match(await this.query(`CHECK TABLE ${table} EXTENDED`), /status\tOK\s*$/)
    }
  }

  log(): string {
    const path = join(this.#socket, 'log')
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  }

  get #path(): string {
    return join(this.#socket, 'socket')
  }

  async #must(...words: readonly string[]): Promise<string> {
    const done = await this.#run(words)
    if (done.code === 0) return done.stdout
    throw new Error(
      `${words[0]} ended with ${done.code}: ${done.stderr}${done.stdout}${this.log()}`,
    )
  }
}
