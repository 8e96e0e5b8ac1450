import type { ChildProcess } from 'node:child_process'
import { closeSync, fsyncSync, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Host } from './lab-host.ts'
import { bytesOf, numberOf } from './writers.ts'

export const FILE_BYTES = 4 * 1024 * 1024
/** Between two files that are read and compared while nothing else is asked. */
const PAUSE_MS = 50

/**
 * Files on a host that come and go as they are told, and of which one after the other is read and compared all the while. The
 * process that does so ends at the first error or difference, and then every verb throws with what it said.
 */
export class ComparedFiles {
  readonly #child: ChildProcess
  readonly #answers: AsyncIterator<string>
  #said = ''
  #made = 0
  readonly #kept: number[] = []

  /** @param dir as the host sees it */
  constructor(host: Host, dir: string) {
    const words = [process.execPath, fileURLToPath(import.meta.url), dir]
    const child = host.spawn(words, { stdio: 'pipe' })
    this.#child = child
    child.stdin?.on('error', () => {}) // it ended: the missing answer tells
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text
    })
    if (!child.stdout) throw new Error('no pipe from it')
    this.#answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  get bytes(): number {
    return this.#kept.length * FILE_BYTES
  }

  /** One more file, synced. */
  async write(): Promise<void> {
    await this.#ask(`write ${this.#made}`)
    this.#kept.push(this.#made)
    this.#made += 1
  }

  /** The oldest goes. @returns false when there is none */
  async delete(): Promise<boolean> {
    const oldest = this.#kept.shift()
    if (oldest !== undefined) await this.#ask(`delete ${oldest}`)
    return oldest !== undefined
  }

  /** Compares all that there are, once more. */
  async compare(): Promise<void> {
    await this.#ask('compare')
  }

  async close(): Promise<void> {
    const ended = new Promise((done) => this.#child.once('close', done))
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.stdin?.end()
    await ended
  }

  async #ask(line: string): Promise<void> {
    this.#child.stdin?.write(`${line}\n`)
    const { value, done } = await this.#answers.next()
    if (done || value !== line) throw new Error(`${line} of the compared files: ${this.#said}`)
  }
}

/** As a program: `compared-files.js DIR`; lines that it is told are said again when they are done, until its input ends. */
async function main(dir: string): Promise<void> {
  const kept: number[] = []
  const pathOf = (n: number) => join(dir, `file${n}`)
  const bytes = (n: number) => bytesOf('compared', n, FILE_BYTES)
  const compare = (n: number) => {
    if (!readFileSync(pathOf(n)).equals(bytes(n)))
      throw new Error(`${pathOf(n)} is not what it was`)
  }
  const verbs: Readonly<Record<string, (n: number) => void>> = {
    write(n) {
      const file = openSync(pathOf(n), 'wx', 0o644)
      writeAll(file, bytes(n))
      fsyncSync(file)
      closeSync(file)
      kept.push(n)
    },
    delete(n) {
      unlinkSync(pathOf(n))
      kept.splice(kept.indexOf(n), 1)
    },
    compare: () => kept.forEach(compare),
  }
  let looks = 0
  const timer = setInterval(() => {
    looks += 1
    const n = kept[numberOf('look', looks, 'which', kept.length || 1)]
    if (n !== undefined) compare(n)
  }, PAUSE_MS)
  for await (const line of createInterface({ input: process.stdin })) {
    const [verb = '', n] = line.split(' ')
    verbs[verb]?.(Number(n))
    process.stdout.write(`${line}\n`)
  }
  clearInterval(timer)
}

function writeAll(file: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv[2] ?? '')
