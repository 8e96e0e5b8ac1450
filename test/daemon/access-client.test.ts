import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type ErrnoCode,
  errnoOf,
  FsError,
  type NodeId,
  type PeerKey,
  silentLog,
  systemClock,
  systemRandom,
  type VolumeNumber,
} from '../../src/base/index.ts'
import { AccessClient, type AccessClientWorld } from '../../src/daemon/access-client.ts'
import { decodeAccessCall } from '../../src/daemon/access-wire.ts'
import { OPCODES, wire } from '../../src/fuse/index.ts'
import * as kernel from '../support/fuse-requests.ts'
import { until } from '../support/node-world.ts'

const NUMBER = 7 as VolumeNumber
const OWNER = 'a'.repeat(32) as NodeId
const FILE = kernel.nodeId(NUMBER, 5)

/** What the owner does with one request: its errno, or how the call fails. */
type Does = number | ErrnoCode

interface Asked {
  readonly opcode: number
  readonly session: number
}

/** A node whose kernel uses a volume of another node, which does what a test says, and else answers with success. */
class World {
  readonly asked: Asked[] = []
  readonly stated: string[] = []
  readonly does: Does[] = []
  epoch = 1
  readonly client: AccessClient
  readonly #dir = mkdtempSync(join(tmpdir(), 'access-client-'))
  readonly #fd = openSync(join(this.#dir, 'answers'), 'w')
  #unique = 0n

  constructor() {
    const volume = { shared: null, closed: null, stored: { record: { name: 'v' } } }
    const world: Partial<AccessClientWorld> = {
      volume: () => volume as never,
      refresh: async () => {},
      ownerOf: () => OWNER,
      ownerNow: async () => OWNER,
      isMoving: () => false,
      takeOver: async () => {},
      peerOf: () => 'c'.repeat(64) as PeerKey,
      kernel: () => ({ flags: 0, mount: 1, keepsNames: true }),
      sessions: { get: () => null, set: () => {}, begun: () => [] } as never,
      reason: () => {},
      heard: () => {},
      near: async () => null,
      tellNear: async () => {},
      call: async (_peer, _service, body) => this.#owner(body),
      random: systemRandom,
      clock: systemClock(),
      leaseClock: systemClock(),
      log: silentLog,
    }
    this.client = new AccessClient(world as AccessClientWorld)
  }

  #owner(body: Buffer): Buffer {
    const { op, session, frame } = decodeAccessCall(body)
    if (op === 'state') {
      this.stated.push(Buffer.from(frame).toString())
      return Buffer.from(
        JSON.stringify({ node: OWNER, boot: 'b', epoch: this.epoch, first: 1, before: [] }),
      )
    }
    const header = Buffer.from(frame)
    const opcode = header.readUInt32LE(4)
    this.asked.push({ opcode, session })
    const does = this.does.shift() ?? 0
    if (typeof does === 'string') throw new FsError(does, 'access', { message: 'so the test says' })
    const reply = Buffer.alloc(wire.OUT_HEADER_BYTES + (opcode === OPCODES.OPEN.code ? 16 : 0))
    wire.encodeReplyHeader(reply, reply.length, does, 0, 0)
    return reply
  }

  /** @returns the unique of the request */
  request(make: (head: kernel.Head) => Buffer): bigint {
    const unique = ++this.#unique
    const frame = make({ unique, pid: process.pid })
    this.client.request({
      number: NUMBER,
      frame: new Uint8Array(frame),
      fd: this.#fd,
      isLookedAt: false,
    })
    return unique
  }

  /** @returns what the kernel is answered: the errno, and what is behind the header */
  async answer(unique: bigint): Promise<{ errno: number; body: Buffer }> {
    let found: Buffer | undefined
    await until(`${unique} is answered`, async () => {
      let rest = readFileSync(join(this.#dir, 'answers'))
      while (rest.length > 0 && rest.readBigUInt64LE(8) !== unique) {
        rest = rest.subarray(rest.readUInt32LE(0))
      }
      found = rest.length > 0 ? rest.subarray(0, rest.readUInt32LE(0)) : undefined
      return found !== undefined
    })
    assert.ok(found)
    return { errno: found.readInt32LE(4), body: found.subarray(wire.OUT_HEADER_BYTES) }
  }

  async open(): Promise<number> {
    const { body } = await this.answer(this.request((head) => kernel.open(FILE, 0, 0, head)))
    return Number(body.readBigUInt64LE(0))
  }

  count(opcode: number): number {
    return this.asked.filter((one) => one.opcode === opcode).length
  }

  close(): void {
    this.client.close()
    closeSync(this.#fd)
    rmSync(this.#dir, { recursive: true })
  }
}

async function withWorld(work: (world: World) => Promise<void>): Promise<void> {
  const world = new World()
  try {
    await work(world)
  } finally {
    world.close()
  }
}

test('a close that the owner died over is said to its next life, which was told that the file is open', () =>
  withWorld(async (world) => {
    const handle = await world.open()
    world.epoch = 2
    world.does.push('ECONNRESET', 'ESTALE')
    const closing = world.request((head) => kernel.release(FILE, handle, 0, 0, 0n, head))
    assert.is((await world.answer(closing)).errno, 0)
    assert.is(world.count(OPCODES.RELEASE.code), 3)
    assert.match(world.stated[1] ?? '', '"ino":5,"readers":1')
    world.does.push('ESTALE')
    await world.open()
    assert.not.match(world.stated[2] ?? '', '"readers":2', 'it is closed here, too')
  }))

test('a signal for who waits for a lock leaves the session as it is, when the owner has answered since a call was lost', () =>
  withWorld(async (world) => {
    const fh = await world.open()
    world.does.push('ETIMEDOUT', ...new Array<number>(10_000).fill(-errnoOf('EAGAIN')))
    const lock = { fh, owner: 1n, start: 0n, end: 9n, type: 1 }
    const waiting = world.request((head) => kernel.setlkw(FILE, lock, head))
    await until('it is asked again', async () => world.count(OPCODES.SETLK.code) > 3)
    world.client.interrupt(Number(waiting), 0)
    assert.is((await world.answer(waiting)).errno, -errnoOf('EINTR'))
    world.does.length = 0
    const reading = world.request((head) => kernel.read(FILE, fh, 0, 10, 0, head))
    assert.is((await world.answer(reading)).errno, 0, 'its descriptors hold')
    assert.is(new Set(world.asked.map(({ session }) => session)).size, 1)
  }))

test.run()
