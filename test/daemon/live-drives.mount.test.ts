// deadline: 240 s
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DriveInfo, NodeStatus } from '../../src/api/index.ts'
import { type NodeWorld, sleep, startNode, until } from '../support/node-world.ts'

/** Drives that come and go while the daemon lives on. */

const FILE_BYTES = 300_000
/** A restart of the daemon is waited for by every caller for longer than this. */
const WAIT_MS_MAX = 900

/** Writes file after file, each with an fsync, until the file STOP is there; says how many, and how long the slowest took. */
const WRITER = `
const { closeSync, existsSync, fsyncSync, openSync, writeFileSync, writeSync } = require('node:fs')
const [dir, progress, stop] = process.argv.slice(2)
let longestMs = 0
for (let n = 0; !existsSync(stop); n++) {
  const began = performance.now()
  const fd = openSync(dir + '/' + n, 'w')
  writeSync(fd, Buffer.alloc(${FILE_BYTES}, 'file ' + n + ' '))
  fsyncSync(fd)
  closeSync(fd)
  longestMs = Math.max(longestMs, performance.now() - began)
  writeFileSync(progress, JSON.stringify({ files: n + 1, longestMs }))
}
`

interface Progress {
  readonly files: number
  readonly longestMs: number
}

const contentOf = (n: number) => Buffer.alloc(FILE_BYTES, `file ${n} `)

/** Past the kernel's cache. */
async function mustBeThere(volume: string, n: number): Promise<void> {
  const args = [`if=${join(volume, `${n}`)}`, 'bs=1M', 'iflag=direct', 'status=none']
  const options = { encoding: 'buffer', maxBuffer: 2 * FILE_BYTES } as const
  const { stdout } = await promisify(execFile)('dd', args, options)
  assert.ok(stdout.equals(contentOf(n)), `file ${n}`)
}

class Use {
  readonly #world: NodeWorld
  readonly #volume: string
  readonly #progress: string
  readonly #stop: string
  readonly #writer: ChildProcess
  readonly #reader: Promise<number>
  #isOver = false

  private constructor(world: NodeWorld, volume: string, name: string) {
    this.#world = world
    this.#volume = volume
    this.#progress = join(world.dir, `${name}.progress`)
    this.#stop = join(world.dir, `${name}.stop`)
    const script = join(world.dir, 'writer.cjs')
    writeFileSync(script, WRITER)
    const args = [script, volume, this.#progress, this.#stop]
    this.#writer = world.own(spawn(process.execPath, args, { stdio: 'inherit' }))
    this.#reader = this.#read()
    // Told when it is awaited.
    this.#reader.catch(() => {})
  }

  static async begin(world: NodeWorld, volume: string, name = 'use'): Promise<Use> {
    const use = new Use(world, volume, name)
    await until('it writes', () => use.progress.files > 10)
    return use
  }

  get progress(): Progress {
    try {
      return JSON.parse(readFileSync(this.#progress, 'utf8')) as Progress
    } catch {
      return { files: 0, longestMs: 0 }
    }
  }

  /** @returns the longest read */
  async #read(): Promise<number> {
    let longestMs = 0
    for (let n = 0; !this.#isOver; n++) {
      const { files } = this.progress
      const began = performance.now()
      if (files > 0) await mustBeThere(this.#volume, files - 1 - (n % Math.min(files, 20)))
      longestMs = Math.max(longestMs, performance.now() - began)
    }
    return longestMs
  }

  async end(): Promise<Progress & { readonly readMs: number }> {
    this.#isOver = true
    const readMs = await this.#reader
    writeFileSync(this.#stop, '')
    await until('the writer has ended', () => this.#writer.exitCode !== null)
    assert.is(this.#writer.exitCode, 0)
    return { ...this.progress, readMs }
  }

  /** Every file that was acknowledged is whole. */
  async check(): Promise<void> {
    const { files } = this.progress
    for (let n = 0; n < files; n++) await mustBeThere(this.#volume, n)
    await this.#world.fsck()
  }
}

async function lifeOf(world: NodeWorld): Promise<unknown> {
  const { pid, startedAt } = (await world.json<NodeStatus>('status')).daemon
  return { pid, startedAt }
}

function chunksOn(dir: string): string[] {
  return readdirSync(join(dir, 'chunks'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /^[0-9a-f]{32}$/.test(entry.name))
    .map(({ name }) => name)
}

async function named(world: NodeWorld, name: string): Promise<DriveInfo | undefined> {
  const { drives } = await world.json<{ drives: DriveInfo[] }>('drive', 'list')
  return drives.find((drive) => drive.name === name)
}

test('a drive that is added under writers and readers takes data at once, in the same life of the daemon, and a kill -9 behind it loses nothing', async () => {
  const world = await startNode()
  try {
    const volume = await world.volume('v', '--size', '2G')
    const use = await Use.begin(world, volume)
    const before = await lifeOf(world)
    const das1 = world.mkdir('das1')
    await world.weft('drive', 'add', das1)
    await until('chunks are on it', () => chunksOn(das1).length > 5)
    assert.equal(await lifeOf(world), before)
    const { longestMs, readMs } = await use.end()
    assert.ok(longestMs < WAIT_MS_MAX, `the longest write took ${longestMs} ms`)
    assert.ok(readMs < WAIT_MS_MAX, `the longest read took ${readMs} ms`)
    const again = await Use.begin(world, await world.volume('w', '--size', '1G'), 'again')
    await world.weft('drive', 'add', world.mkdir('das2'))
    await world.kill9()
    await until('it goes on', () => chunksOn(join(world.dir, 'das2')).length > 2)
    await again.end()
    await use.check()
    await again.check()
  } finally {
    await world.close()
  }
})

test('every mount of a volume reads what is put on a drive that it has not heard of', async () => {
  const world = await startNode()
  try {
    const point = await world.attached('v', '--size', '1G')
    writeFileSync(join(point, 'first'), 'both mounts have the volume open', { flush: true })
    assert.match(readFileSync(join(world.mnt, 'v/first'), 'utf8'), /both/)
    const das1 = world.mkdir('das1')
    await world.weft('drive', 'add', das1)
    for (let n = 0; n < 12; n++) {
      writeFileSync(join(point, `${n}`), contentOf(n), { flush: true })
      await mustBeThere(join(world.mnt, 'v'), n)
      await mustBeThere(point, n)
    }
    assert.ok(chunksOn(das1).length > 2)
  } finally {
    await world.close()
  }
})

test('nothing new comes to a drive once it is being emptied, under writers, and it is taken out in the same life of the daemon', async () => {
  const world = await startNode()
  try {
    const volume = await world.volume('v', '--size', '2G')
    const das1 = world.mkdir('das1')
    await world.weft('drive', 'add', das1)
    const use = await Use.begin(world, volume)
    await until('chunks are on it', () => chunksOn(das1).length > 10)
    const before = await lifeOf(world)
    assert.not.match(await world.weft('drive', 'drain', 'das1', '--plan'), /restart/)
    assert.is(await world.post('/v1/drives/das1/drain', { plan: false, stop: false }), 200)
    let left = new Set(chunksOn(das1))
    await until('it is empty', async () => {
      const now = chunksOn(das1)
      for (const chunk of now) assert.ok(left.has(chunk), `${chunk} is new`)
      left = new Set(now)
      return left.size === 0 && (await named(world, 'das1'))?.drain?.isEmpty
    })
    const { files } = use.progress
    await until('writers go on', () => use.progress.files > files + 10)
    assert.equal(chunksOn(das1), [])
    await world.weft('drive', 'drain', 'das1', '--stop')
    await until('it takes data again', () => chunksOn(das1).length > 3)
    await world.weft('drive', 'drain', 'das1')
    await world.weft('drive', 'remove', 'das1')
    assert.equal(await lifeOf(world), before)
    assert.equal(readdirSync(das1), [])
    assert.is(await named(world, 'das1'), undefined)
    const { longestMs, readMs } = await use.end()
    assert.ok(longestMs < WAIT_MS_MAX, `the longest write took ${longestMs} ms`)
    assert.ok(readMs < WAIT_MS_MAX, `the longest read took ${readMs} ms`)
    await world.kill9()
    await use.check()
  } finally {
    await world.close()
  }
})

test('a volume that is made while a drive begins to be emptied has its journal off it in the end', async () => {
  const world = await startNode({ drives: 2 })
  try {
    const making = Array.from({ length: 8 }, (_, n) => world.volume(`v${n}`, '--size', '100M'))
    await sleep(300)
    await world.weft('drive', 'drain', 'drive1', '--no-wait')
    const volumes = await Promise.all(making)
    for (const volume of volumes) writeFileSync(join(volume, 'f'), volume, { flush: true })
    await until('it is empty', async () => (await named(world, 'drive1'))?.drain?.isEmpty, 60_000)
    await world.weft('drive', 'remove', 'drive1')
    for (const volume of volumes) assert.is(readFileSync(join(volume, 'f'), 'utf8'), volume)
    await world.fsck()
  } finally {
    await world.close()
  }
})

test.run()
