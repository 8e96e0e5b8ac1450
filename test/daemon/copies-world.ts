import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import * as assert from 'uvu/assert'
import type { CopyId, Epoch, NodeId, PeerKey, VolumeId } from '../../src/base/index.ts'
import { identityFromSeed, secretFrom } from '../../src/crypto/index.ts'
import type { CopyPlace, RecordedSet, SetStore, Times } from '../../src/replication/index.ts'
import type { Acknowledged, Commands, NodeConfig, Peer } from './copies-node.ts'

export const volume = '5e'.repeat(16) as VolumeId

/** Shorter than design §6 says, in the same relations. */
const times: Times = {
  termMs: 1500,
  dropMs: 600,
  dropToOneMs: 1500,
  steadyMs: 100,
  giveUpMs: 2500,
  promiseMs: 1000,
  askMs: 500,
  graceMs: 100,
  answerMs: 600,
  chunkMs: 2000,
}
/** What a node asks of the volume's record. */
type RecordChange = {
  [K in keyof SetStore]: { readonly op: K; readonly args: Parameters<SetStore[K]> }
}[keyof SetStore]

const COMMAND_MS = 30_000

const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms))

/** @param what said when the condition does not come true in time */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  withinMs = 20_000,
): Promise<void> {
  const endMs = performance.now() + withinMs
  while (!(await condition())) {
    assert.ok(performance.now() < endMs, `not within ${withinMs} ms: ${what}`)
    await sleep(20)
  }
}

/** One node: its drive stays while its process comes and goes. */
export class CopiesNode {
  readonly index: number
  readonly node: NodeId
  readonly key: PeerKey
  readonly directory: string
  /** What its streams had acknowledged, over all its lives. */
  readonly acknowledged: Acknowledged[] = []
  copy: CopyId
  #port = 0
  #process: ChildProcess | null = null
  readonly #world: CopiesWorld
  readonly #seed: string
  readonly #waiting = new Map<
    number,
    { resolve(result: never): void; reject(error: Error): void }
  >()
  #ids = 0

  constructor(world: CopiesWorld, index: number) {
    this.#world = world
    this.index = index
    this.#seed = Buffer.alloc(32, 0x40 + index).toString('hex')
    const { publicKey } = identityFromSeed(secretFrom(Buffer.from(this.#seed, 'hex'))).sign
    this.key = publicKey.toString('hex') as PeerKey
    this.node = Buffer.alloc(16, 0xa0 + index).toString('hex') as NodeId
    this.copy = Buffer.alloc(16, 0xc0 + index).toString('hex') as CopyId
    this.directory = join(world.root, `das${index}`)
  }

  get place(): CopyPlace {
    return { id: this.copy, node: this.node }
  }

  get peer(): Peer {
    return { node: this.node, key: this.key, address: `127.0.0.1:${this.#port}` }
  }

  async start(): Promise<void> {
    const { node, directory } = this
    const config: NodeConfig = {
      node,
      seed: this.#seed,
      directory,
      port: this.#port,
      volume,
      times,
    }
    const program = join(import.meta.dirname, 'copies-node.js')
    const child = spawn(
      process.execPath,
      ['--enable-source-maps', program, JSON.stringify(config)],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    )
    this.#process = child
    // What is written to a process that was just killed is lost, and that is what the tests are about.
    child.stdin.on('error', () => {})
    const begun = new Promise<number>((resolve, reject) => {
      child.once('exit', (code, signal) => {
        const error = new Error(`node ${this.index} has ended: ${signal ?? code}`)
        reject(error)
        for (const { reject: fail } of this.#waiting.values()) fail(error)
        this.#waiting.clear()
      })
      createInterface({ input: child.stdout }).on('line', (line) => {
        const said = JSON.parse(line)
        if (said.port !== undefined) resolve(said.port)
        else if (said.acknowledged) this.acknowledged.push(said.acknowledged)
        else if (said.record !== undefined) this.#answerRecord(child, said)
        else this.#settle(said)
      })
    })
    this.#port = await begun
  }

  async call<K extends keyof Commands>(
    name: K,
    args: Parameters<Commands[K]>[0],
  ): Promise<Awaited<ReturnType<Commands[K]>>> {
    const id = ++this.#ids
    const answer = new Promise<Awaited<ReturnType<Commands[K]>>>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#tell(this.#process, { id, name, args })
    })
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      const error = new Error(`node ${this.index} does not answer ${name}`)
      timer = setTimeout(() => reject(error), COMMAND_MS)
    })
    try {
      return await Promise.race([answer, late])
    } finally {
      clearTimeout(timer)
    }
  }

  /** Begin to write; ends with the life of its process or of its ownership. */
  stream(chunkBytes: number): void {
    this.call('stream', { chunkBytes }).catch(() => {})
  }

  async kill(): Promise<void> {
    const child = this.#process
    this.#process = null
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  /** The drive is another one, empty. */
  wipe(): void {
    rmSync(this.directory, { recursive: true })
  }

  #tell(child: ChildProcess | null, line: object): void {
    child?.stdin?.write(`${JSON.stringify(line)}\n`)
  }

  #answerRecord(child: ChildProcess, said: RecordChange & { record: number }): void {
    const { record } = said
    const set = this.#world.change(said)
    this.#tell(child, set ? { record, set } : { record, stale: true })
  }

  #settle(said: { id: number; result: never; error?: { code: string; message: string } }): void {
    const waiting = this.#waiting.get(said.id)
    this.#waiting.delete(said.id)
    if (!said.error) waiting?.resolve(said.result)
    else waiting?.reject(new Error(`node ${this.index}: ${said.error.code} ${said.error.message}`))
  }
}

/** A volume on nodes in processes of their own, on loopback. Its record is kept here, so that it outlives each of them. */
export class CopiesWorld {
  readonly root = mkdtempSync(join(tmpdir(), 'weft-copies-'))
  readonly nodes: readonly CopiesNode[]
  recorded: RecordedSet

  constructor(count: number, minimum: number) {
    this.nodes = Array.from({ length: count }, (_, index) => new CopiesNode(this, index))
    this.recorded = {
      epoch: 0 as Epoch,
      owner: null,
      copies: this.nodes.map(({ place }) => place),
      inSync: this.nodes.map(({ copy }) => copy),
      minimum,
    }
  }

  async open(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.start()))
    await this.introduce()
    for (const node of this.nodes) await node.call('create', { copy: node.copy })
  }

  /** Tell every node that runs where the others are. */
  async introduce(nodes = this.nodes): Promise<void> {
    const peers = this.nodes.map(({ peer }) => peer)
    await Promise.all(nodes.map((node) => node.call('peers', { peers })))
  }

  /** The volume's record, as SetStore changes it. @returns null when the asker is the owner no more */
  change(change: RecordChange): RecordedSet | null {
    const { recorded } = this
    if (change.op === 'takeEpoch') {
      const [owner, above] = change.args
      const epoch = (Math.max(recorded.epoch, above) + 1) as Epoch
      this.recorded = { ...recorded, epoch, owner }
    } else if (change.op === 'setInSync') {
      const [by, inSync] = change.args
      if (by.node !== recorded.owner || by.epoch !== recorded.epoch) return null
      this.recorded = { ...recorded, inSync }
    } else if (change.op === 'addCopy') {
      const { id, node } = change.args[1]
      this.recorded = { ...recorded, copies: [...recorded.copies, { id, node }] }
    } else if (change.op === 'release') {
      const copies = recorded.copies.filter(({ id }) => !change.args[1].includes(id))
      this.recorded = { ...recorded, copies }
    }
    return this.recorded
  }

  isMember({ copy }: CopiesNode): boolean {
    return this.recorded.inSync.includes(copy)
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()))
    rmSync(this.root, { recursive: true, force: true })
  }
}
