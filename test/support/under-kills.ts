import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type NodeWorld, sh, sleep } from './node-world.ts'
import { kindOf, stepsOf, WRITER } from './writers.ts'

interface Writer {
  readonly name: string
  readonly dir: string
  readonly progress: string
  readonly child: ChildProcess
  stderr: string
  ended: Promise<number | null>
}

/** Writers in several directories of one node, each directory with the same crew. */
export class Crew {
  readonly #world: NodeWorld
  readonly #progress: string
  readonly #stop: string
  readonly #writers: Writer[] = []

  constructor(world: NodeWorld, name = 'crew') {
    this.#world = world
    this.#progress = world.mkdir(join('progress', name))
    this.#stop = join(this.#progress, 'stop')
  }

  start(dir: string, names: readonly string[]): void {
    for (const name of names) {
      const progress = join(this.#progress, `${this.#writers.length}-${name}`)
      const args = [WRITER, name, dir, progress, this.#stop]
      const child = this.#world.own(
        spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] }),
      )
      const writer: Writer = {
        name,
        dir,
        progress,
        child,
        stderr: '',
        ended: new Promise((done) => child.once('exit', done)),
      }
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        writer.stderr += text
      })
      this.#writers.push(writer)
    }
  }

  /** Steps of all writers so far, in the order they were started. */
  steps(): number[] {
    return this.#writers.map(({ progress }) => stepsOf(progress))
  }

  /** A writer that ended by itself met a failed call. */
  assertAllRun(): void {
    for (const { name, dir, child, stderr } of this.#writers) {
      assert.is(child.exitCode, null, `writer ${name} in ${dir} ended: ${stderr}`)
    }
  }

  async stop(): Promise<void> {
    writeFileSync(this.#stop, '')
    for (const writer of this.#writers) {
      const end = Date.now() + 60_000
      while (writer.child.exitCode === null && writer.child.signalCode === null) {
        assert.ok(Date.now() < end, `writer ${writer.name} in ${writer.dir} hangs`)
        await sleep(20)
      }
      const code = await writer.ended
      assert.is(code, 0, `writer ${writer.name} in ${writer.dir} ended: ${writer.stderr}`)
    }
  }

  /** Killed in mid-call, as by a cut of power. */
  async kill(): Promise<void> {
    for (const { child } of this.#writers) child.kill('SIGKILL')
    await Promise.all(this.#writers.map(({ ended }) => ended))
  }

  /** Everything every writer was told is written is there. @throws Error naming each writer that is wrong */
  check(): void {
    assert.equal(this.wrong(), [], 'what was accepted is there')
  }

  /** What is not as the writers left it, a line for each. */
  wrong(): string[] {
    const wrong: string[] = []
    for (const { name, dir, progress } of this.#writers) {
      try {
        kindOf(name).check({ dir, name, fds: new Map() }, stepsOf(progress))
      } catch (error) {
        wrong.push(`${dir}: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    return wrong
  }
}

/** One sqlite3 that commits rows without pause; a committed row is one it has answered. */
export class Database {
  readonly #name: string
  readonly #path: string
  readonly #child: ChildProcess
  readonly #ended: Promise<number | null>
  #fed = 0
  #answered = 0
  #stderr = ''
  #stopping = false

  constructor(world: NodeWorld, dir: string, name = 'rows.db') {
    this.#name = name
    this.#path = join(dir, name)
    this.#child = world.own(spawn('sqlite3', ['-bail', '-batch', this.#path], { stdio: 'pipe' }))
    this.#ended = new Promise((done) => this.#child.once('exit', done))
    this.#child.stdin?.on('error', () => {}) // it ended: its exit code and words tell
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
    })
    this.#child.stdin?.write(
      '.timeout 60000\nPRAGMA journal_mode=WAL;\nPRAGMA synchronous=FULL;\nPRAGMA wal_autocheckpoint=50;\nCREATE TABLE rows(n INTEGER PRIMARY KEY, word TEXT);\n',
    )
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.split('\n')) if (line.startsWith('row ')) this.#answered += 1
      this.#feed()
    })
  }

  get rows(): number {
    return this.#answered
  }

  #feed(): void {
    while (!this.#stopping && this.#fed < this.#answered + 4) {
      const n = this.#fed++
      const word = `${n}`.repeat(40)
      this.#child.stdin?.write(
        `INSERT INTO rows VALUES(${n}, '${word}');\nSELECT 'row ' || ${n};\n`,
      )
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true
    this.#child.stdin?.end()
    assert.is(await this.#ended, 0, `sqlite3 ended: ${this.#stderr}`)
    assert.is(this.#stderr, '', 'sqlite3 has nothing to complain about')
    assert.is(this.#answered, this.#fed, 'every row was answered')
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  /** @param dir where the database is now */
  async check(dir: string): Promise<void> {
    const ask = (sql: string) => sh('sqlite3', ['-batch', join(dir, this.#name), sql])
    assert.is((await ask('PRAGMA integrity_check')).trim(), 'ok')
    const wrong = await ask(
      `SELECT count(*) FROM rows WHERE word <> replace(hex(zeroblob(20)), '0', n)`,
    )
    assert.is(wrong.trim(), '0', 'every row has its word')
    const rows = Number((await ask('SELECT count(*) FROM rows')).trim())
    assert.ok(rows >= this.#answered, `${rows} rows, ${this.#answered} were committed`)
    assert.ok(rows <= this.#fed, `${rows} rows, ${this.#fed} were asked for`)
  }
}
