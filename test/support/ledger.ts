import type { ChildProcess } from 'node:child_process'
import * as assert from 'uvu/assert'

/** How a database is asked, by its own command-line client. */
export interface Dialect {
  readonly name: string
  /** Starts a client that reads statements, each its own transaction, and prints what they answer. */
  client(): ChildProcess
  /** What `sql` answers: a line for each row, columns apart by `|` or a tab. */
  ask(sql: string): Promise<string>
  /** Before the first row, and again by each client. */
  readonly begin: string
}

const AHEAD = 4
const TABLE = 'CREATE TABLE IF NOT EXISTS ledger(n INTEGER PRIMARY KEY, word TEXT);\n'
const wordOf = (n: number) => `${n}.`.repeat(1 + ((n * 37) % 300))

/** Rows 0, 1, 2 … committed one by one without pause; one that the database has answered must be there for ever. */
export class Ledger {
  readonly #dialect: Dialect
  #child: ChildProcess | null = null
  #ended: Promise<unknown> = Promise.resolve()
  #committed = 0
  #asked = 0
  #words = ''
  #stopping = false

  constructor(dialect: Dialect) {
    this.#dialect = dialect
  }

  get name(): string {
    return this.#dialect.name
  }

  /** Rows of which the database has said that they are committed. */
  get committed(): number {
    return this.#committed
  }

  /** Whether its client runs; one that ended by itself met an error. */
  get runs(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null
  }

  /** What clients complained of. */
  get words(): string {
    return this.#words
  }

  start(): void {
    const child = this.#dialect.client()
    this.#child = child
    this.#stopping = false
    this.#ended = new Promise((done) => child.once('close', done))
    child.stdin?.on('error', () => {}) // it ended: `runs` tells
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#words += text
    })
    let rest = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const [, n] = /^row (\d+)$/.exec(line) ?? []
        if (n !== undefined) this.#committed = Math.max(this.#committed, Number(n) + 1)
      }
      this.#feed()
    })
    child.stdin?.write(`${this.#dialect.begin}\n${TABLE}`)
    this.#feed()
  }

  #feed(): void {
    while (!this.#stopping && this.#asked < this.#committed + AHEAD) {
      const n = this.#asked++
      const row = `INSERT INTO ledger VALUES(${n}, '${wordOf(n)}');\nSELECT 'row ${n}';\n`
      this.#child?.stdin?.write(row)
    }
  }

  /** What is under way is committed first. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#child?.stdin?.end()
    await this.#ended
    assert.is(this.#child?.exitCode, 0, `${this.name}: ${this.#words}`)
  }

  /** Its machine has gone, and it with that. */
  async gone(): Promise<void> {
    this.#stopping = true
    await this.#ended
  }

  /** Every committed row is there, every row as it was written, none beyond what was asked for. The next follows the last. */
  async check(): Promise<void> {
    const text = await this.#dialect.ask('SELECT n, word FROM ledger ORDER BY n')
    const rows = text.split('\n').filter((line) => line !== '')
    for (const [index, row] of rows.entries()) {
      const [n, word] = row.split(/[|\t]/)
      assert.is(Number(n), index, `${this.name}: rows follow each other`)
      assert.is(word, wordOf(index), `${this.name}: row ${n}`)
    }
    const count = rows.length
    assert.ok(
      count >= this.#committed,
      `${this.name}: ${count} rows, ${this.#committed} were committed`,
    )
    assert.ok(count <= this.#asked, `${this.name}: ${count} rows, ${this.#asked} were asked for`)
    this.#committed = count
    this.#asked = count
  }
}
