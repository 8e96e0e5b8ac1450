import type { Host } from '../test/support/lab-host.ts'
import type { Postgres } from '../test/support/postgres.ts'

/** Runs until it is ended, and tells each second how many transactions that had. */
export class Pgbench {
  readonly rates: { readonly atMs: number; readonly perS: number }[] = []
  readonly #host: Host
  readonly #child: ReturnType<Host['spawn']>
  readonly #ended: Promise<unknown>
  #said = ''

  constructor(host: Host, server: Postgres, clients: number) {
    this.#host = host
    const words = ['-c', `${clients}`, '-j', '2', '-T', '3600', '-P', '1', '-n', 'postgres']
    this.#child = host.spawn(server.words('pgbench', ...words), {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#ended = new Promise((done) => this.#child.once('close', done))
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text
      for (const [, perS] of text.matchAll(/^progress: .*? s, ([\d.]+) tps/gm)) {
        this.rates.push({ atMs: Date.now(), perS: Number(perS) })
      }
    })
  }

  /** Of the seconds that ended between two moments. */
  meanPerS(fromMs: number, toMs: number): number {
    const found = this.rates.filter(({ atMs }) => atMs > fromMs && atMs <= toMs)
    return found.reduce((sum, { perS }) => sum + perS, 0) / found.length
  }

  /** @throws Error when it has ended by itself */
  async end(): Promise<this> {
    if (this.#child.exitCode !== null) throw new Error(`pgbench has ended: ${this.#said}`)
    // In the host's own namespace of processes there is no other.
    await this.#host.run('pkill', '-INT', '-x', 'pgbench')
    await this.#ended
    return this
  }
}
