import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { codeOf, limits } from '../../src/base/index.ts'
import { seeded } from '../support/seeded.ts'
import { inWorld, type NetWorld, type Node, rejects, sleep, until } from './net-world.ts'

/** A wire that a test can look at, hold, and change bytes on. */
class Wire {
  /** All that went from the dialler to the other. */
  readonly seen: Buffer[] = []
  change: (bytes: Buffer) => Buffer = (bytes) => bytes
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor(to: Node) {
    this.#server = createServer((from) => {
      const on = connect({ host: '127.0.0.1', port: to.net.port })
      for (const socket of [from, on]) {
        this.#sockets.add(socket)
        socket.on('error', () => socket.destroy())
      }
      from.on('data', (bytes: Buffer) => {
        this.seen.push(bytes)
        on.write(this.change(bytes))
      })
      on.on('data', (bytes: Buffer) => from.write(bytes))
      from.on('close', () => on.destroy())
      on.on('close', () => from.destroy())
    })
  }

  async open(): Promise<string> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done))
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  hold(): void {
    for (const socket of this.#sockets) socket.pause()
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): void {
    this.#server.close()
    this.cut()
  }
}

/** What the other side was given: body and, behind it, what came beside it or as its end. */
function collect({ net }: Node): Buffer[] {
  const got: Buffer[] = []
  net.serve(
    'put',
    async ({ body, sealed }) => {
      await sleep(1)
      // Copied only now: what is lent must be whole until the handler is through.
      got.push(Buffer.concat([body, sealed ?? Buffer.alloc(0)]))
      return Buffer.alloc(0)
    },
    { lane: 'bulk' },
  )
  return got
}

async function withWire(
  work: (wire: Wire, a: Node, b: Node, got: Buffer[]) => Promise<void>,
): Promise<void> {
  await inWorld(async (world: NetWorld) => {
    const [a, b] = [await world.open(), await world.open()]
    const got = collect(b)
    const wire = new Wire(b)
    a.net.addresses(b.key, [await wire.open()])
    try {
      await work(wire, a, b, got)
    } finally {
      wire.close()
    }
  })
}

const options = { lane: 'bulk', deadlineMs: 20_000 } as const

test('bytes that are sealed already arrive whole, whatever their size, beside calls without any', () =>
  withWire(async (_wire, a, b, got) => {
    const random = seeded(7)
    const bytes = (count: number) => Buffer.alloc(count, random.bytes(251))
    const sizes = [1, 15, 16, 17, 4096, 65_536, 65_537, 1 << 20, 4_456_448, 3]
    const calls = Array.from({ length: 60 }, (_, number) => ({
      body: bytes(number % 7 === 0 ? 100_000 : number),
      sealed: number % 3 === 2 ? null : bytes(sizes[number % sizes.length] as number),
    }))
    await Promise.all(
      calls.map(({ body, sealed }) => {
        // A frame with sealed bytes stands in front of a small body.
        const before = sealed ? body.subarray(0, 1000) : body
        return a.net.call(b.key, 'put', before, sealed ? { ...options, sealed } : options)
      }),
    )
    const name = (all: Buffer) => all.toString('latin1')
    const sent = calls.map(({ body, sealed }) =>
      sealed ? Buffer.concat([body.subarray(0, 1000), sealed]) : body,
    )
    assert.equal(new Set(got.map(name)), new Set(sent.map(name)))
    assert.is(got.length, sent.length)
    const [status] = a.net.peers()
    const all = sent.reduce((sum, one) => sum + one.length, 0)
    assert.ok((status?.bytesOut ?? 0) > all, 'what went past Noise is counted too')
  }))

test('on the wire nothing of such a call can be read but what is sealed already', () =>
  withWire(async (wire, a, b) => {
    const sealed = Buffer.from('already-sealed-'.repeat(10_000))
    await a.net.call(b.key, 'put', Buffer.from('canary-body'), { ...options, sealed })
    const seen = Buffer.concat(wire.seen)
    assert.ok(seen.includes('already-sealed-already-sealed-'), 'it was looked at the right place')
    for (const word of ['canary-body', 'put']) assert.not.ok(seen.includes(word), word)
  }))

test('a bit changed on the way, anywhere, ends the connection, and nothing of the call is taken', () =>
  withWire(async (wire, a, b, got) => {
    const sealed = Buffer.alloc(200_000, 0x5e)
    for (const where of ['lengths', 'first', 'middle', 'last', 'frame', 'tag'] as const) {
      await a.net.call(b.key, 'put', Buffer.from('whole'), { ...options, sealed })
      assert.is(got.splice(0).length, 1)
      // The frame: kind, id, length and name of the service, body.
      const frameBytes = 1 + 8 + 1 + 3 + 5
      const at = {
        lengths: 3 + 2,
        first: 11,
        middle: 11 + 100_000,
        last: 11 + sealed.length - 1,
        frame: 11 + sealed.length + 2,
        tag: 11 + sealed.length + frameBytes + 3,
      }[where]
      let passed = 0
      wire.change = (bytes) => {
        const from = at - passed
        passed += bytes.length
        if (from < 0 || from >= bytes.length) return bytes
        const changed = Buffer.from(bytes)
        changed.writeUInt8(changed.readUInt8(from) ^ 1, from)
        return changed
      }
      // Signs of life are on the wire too, each second: the call is tried until it comes first.
      const call = a.net.call(b.key, 'put', Buffer.from('whole'), { ...options, sealed })
      const code = await call.then(
        () => '',
        (error: unknown) => codeOf(error),
      )
      assert.is(code, 'ECONNRESET', where)
      assert.is(got.length, 0, where)
      wire.change = (bytes) => bytes
    }
    const told = b.lines.filter(({ message }) => message === 'broke the protocol')
    assert.ok(told.length >= 6, 'each is told in the log')
  }))

test('sealed bytes beyond what a call may have are refused before anything is sent', () =>
  withWire(async (_wire, a, b) => {
    const sealed = Buffer.alloc(limits.netBodyBytesMax)
    await rejects(a.net.call(b.key, 'put', Buffer.from('x'), { ...options, sealed }), 'EMSGSIZE')
  }))

test('a caller that gave up gets its bytes back only when they are sent or the connection is gone', () =>
  withWire(async (wire, a, b) => {
    await a.net.call(b.key, 'put', Buffer.from('x'), { ...options, sealed: Buffer.from('y') })
    wire.hold()
    const sealed = Buffer.alloc(limits.netBodyBytesMax - 1000)
    let settled = ''
    const calls = [1, 2].map(() =>
      a.net.call(b.key, 'put', Buffer.from('x'), { lane: 'bulk', deadlineMs: 200, sealed }).then(
        () => assert.unreachable('nobody reads it'),
        (error: unknown) => {
          settled = codeOf(error)
        },
      ),
    )
    await sleep(800)
    assert.is(settled, '', 'the socket still reads them')
    wire.cut()
    await until('both have ended', () => settled !== '')
    await Promise.all(calls)
  }))

test.run()
