import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import * as assert from 'uvu/assert'
import type { Host } from '../support/lab-host.ts'
import {
  type Append,
  checkAppends,
  checkLocks,
  checkRegisters,
  type Operation,
  type Section,
} from './checker.ts'

const CLIENT = resolve(import.meta.dirname, '../../../test/history/client.py')

type Said = { readonly id: number } & (
  | (Operation & { readonly why?: string })
  | ({ readonly kind: 'append' } & Append)
  | ({ readonly kind: 'fcntl' | 'flock' } & Section)
)

/** Real processes on real mounts, what they asked, and what they were told. */
export class Clients {
  readonly #children: { child: ReturnType<Host['spawn']>; closed: Promise<unknown> }[] = []
  /** By client and number: what is said last of one is how it ended. */
  readonly #said = new Map<string, Said>()
  readonly #died: string[] = []
  #stopping = false

  /** @param names all that take part, so that each looks for the names of the others */
  start(host: Host, name: string, dir: string, seed: number, names: readonly string[]): void {
    const words = ['python3', CLIENT, name, dir, `${seed}`, names.join(',')]
    const child = host.spawn(words, { stdio: ['pipe', 'pipe', 'pipe'] })
    const closed = new Promise((done) => child.once('close', done))
    let stderr = ''
    child.stdin?.on('error', () => {})
    child.stderr?.on('data', (text) => {
      stderr += text
    })
    if (child.stdout) {
      createInterface({ input: child.stdout }).on('line', (line) => {
        const said = JSON.parse(line) as Said
        this.#said.set(`${said.client} ${said.id}`, said)
      })
    }
    child.once('exit', () => {
      if (!this.#stopping && stderr !== '') this.#died.push(`${name}: ${stderr}`)
    })
    this.#children.push({ child, closed })
  }

  /** So many operations succeeded. */
  get done(): number {
    return [...this.#said.values()].filter((said) => 'ok' in said && said.ok).length
  }

  async stop(): Promise<void> {
    this.#stopping = true
    for (const { child } of this.#children) child.stdin?.end()
    await Promise.all(this.#children.map(({ closed }) => closed))
    assert.equal(this.#died, [])
  }

  /** What cannot be, given how the directory is in the end. @param dir read by a host on which nothing is wrong */
  async wrong(host: Host, dir: string): Promise<string[]> {
    const read = `import json, os, sys
print(json.dumps({name: open(os.path.join(sys.argv[1], name)).read() for name in os.listdir(sys.argv[1])}))`
    const text = await host.run('python3', '-c', read, dir)
    return this.check(JSON.parse(text) as Record<string, string>)
  }

  check(left: Readonly<Record<string, string>>): string[] {
    const said = [...this.#said.values()]
    const operations = said.flatMap((one) =>
      one.kind === 'write' || one.kind === 'read' ? [one] : [],
    )
    const end = Number.MAX_SAFE_INTEGER
    const last = [...new Set(operations.map(({ key }) => key))].map((key): Operation => {
      const value = left[key]?.trim() || null
      return { client: 'the end', kind: 'read', key, value, start: end - 1, end, ok: true }
    })
    const sections = (kind: string) =>
      said.flatMap((one) => (one.kind === kind ? [one as Section] : []))
    const appends = said.flatMap((one) => (one.kind === 'append' ? [one] : []))
    return [
      ...checkRegisters([...operations, ...last]),
      ...checkLocks(sections('fcntl')),
      ...checkLocks(sections('flock')),
      ...checkAppends(appends, left.log ?? ''),
    ]
  }
}
