import { chownSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { Ended } from './node-world.ts'

/** Runs a command where the server is. */
export type RunThere = (words: readonly string[]) => Promise<Ended>

/** Debian puts each version in a directory of its own. */
function programs(): string {
  const root = '/usr/lib/postgresql'
  const version = existsSync(root) ? readdirSync(root).sort().at(-1) : undefined
  assert.ok(version, 'PostgreSQL is not installed: scripts/test installs it')
  return join(root, version, 'bin')
}

/** One server of PostgreSQL, wherever its data are mounted. */
export class Postgres {
  readonly data: string
  readonly #bin = programs()
  readonly #socket: string
  readonly #run: RunThere

  /** @param socket an empty directory that no mount hides: sockets and the server's log */
  constructor(run: RunThere, data: string, socket: string) {
    this.#run = run
    this.data = data
    this.#socket = socket
    const [uid = 0, gid = 0] = idsOf('postgres')
    chownSync(socket, uid, gid)
  }

  /** As the user postgres: the server refuses root. */
  words(program: string, ...args: readonly string[]): string[] {
    const env = ['env', '-C', '/', `PGHOST=${this.#socket}`, 'PGUSER=postgres', 'LC_ALL=C.UTF-8']
    return ['runuser', '-u', 'postgres', '--', ...env, join(this.#bin, program), ...args]
  }

  async run(program: string, ...args: readonly string[]): Promise<string> {
    const done = await this.#run(this.words(program, ...args))
    if (done.code === 0) return `${done.stdout}${done.stderr}`
    throw new Error(`${program} ended with ${done.code}: ${done.stderr}${done.stdout}${this.log()}`)
  }

  async init(): Promise<void> {
    const made = await this.#run(['install', '-d', '-m', '700', '-o', 'postgres', this.data])
    assert.is(made.code, 0, made.stderr)
    await this.run('initdb', '-D', this.data, '-k', '-A', 'trust', '--no-instructions')
  }

  async start(): Promise<void> {
    const settings = {
      listen_addresses: '',
      unix_socket_directories: this.#socket,
      checkpoint_timeout: '30s',
      max_wal_size: '64MB',
    }
    const options = Object.entries(settings).map(([name, value]) => `-c ${name}='${value}'`)
    const log = join(this.#socket, 'log')
    const server = ['-D', this.data, '-l', log, '-o', options.join(' ')]
    await this.run('pg_ctl', ...server, '-w', '-t', '120', 'start')
  }

  async stop(how: 'fast' | 'immediate'): Promise<void> {
    await this.run('pg_ctl', '-D', this.data, '-w', '-m', how, 'stop')
  }

  /** Of a server whose machine is gone: another one's processes have other numbers. */
  async forget(): Promise<void> {
    for (const name of readdirSync(this.#socket)) {
      if (name.startsWith('.s.PGSQL')) rmSync(join(this.#socket, name))
    }
    const done = await this.#run(['rm', '-f', join(this.data, 'postmaster.pid')])
    assert.is(done.code, 0, done.stderr)
  }

  async query(sql: string): Promise<string> {
    return (await this.run('psql', '-XAtc', sql, 'postgres')).trim()
  }

  /** Every index fits its table. @throws Error with what does not */
  async check(): Promise<void> {
    await this.run('pg_amcheck', '--install-missing', '-d', 'postgres')
  }

  log(): string {
    const path = join(this.#socket, 'log')
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  }
}

export function idsOf(user: string): number[] {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((one) => one.startsWith(`${user}:`))
  assert.ok(line, `there is no user ${user}`)
  return line.split(':').slice(2, 4).map(Number)
}
