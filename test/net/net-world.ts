import * as assert from 'uvu/assert'
import {
  codeOf,
  type Log,
  type PeerKey,
  silentLog,
  systemClock,
  systemRandom,
} from '../../src/base/index.ts'
import { type Identity, newIdentity } from '../../src/crypto/index.ts'
import { Net, type NetOptions, type Role } from '../../src/net/index.ts'

export interface Line {
  readonly level: string
  readonly fields: Record<string, unknown>
  readonly message: string
}

export interface Node {
  readonly net: Net
  readonly identity: Identity
  readonly key: PeerKey
  readonly address: string
  readonly lines: readonly Line[]
  /** Who may come in here; a node of the world is a member unless set otherwise. */
  readonly roles: Map<PeerKey, Role | null>
}

export const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms))

/** Nodes on loopback in this process, each known to the others as a member. */
export class NetWorld {
  readonly #nodes: Net[] = []
  readonly #members = new Set<PeerKey>()

  async open(options: Partial<NetOptions> & { identity?: Identity } = {}): Promise<Node> {
    const { identity = newIdentity(), ...rest } = options
    const key = keyOf(identity)
    const lines: Line[] = []
    const roles = new Map<PeerKey, Role | null>()
    const net = new Net({
      keyPair: identity.sign,
      listen: { host: '127.0.0.1', port: 0 },
      advertise: [],
      topic: null,
      bootstrap: [],
      admit: (peer) =>
        roles.has(peer) ? (roles.get(peer) ?? null) : this.#members.has(peer) ? 'member' : null,
      clock: systemClock(),
      random: systemRandom,
      log: logTo(lines),
      ...rest,
    })
    await net.open()
    this.#members.add(key)
    this.#nodes.push(net)
    const address = `${rest.listen?.host ?? '127.0.0.1'}:${net.port}`
    return { net, identity, key, address, lines, roles }
  }

  /** Two nodes of which the first knows where the second is. */
  async pair(): Promise<[Node, Node]> {
    const [a, b] = [await this.open(), await this.open()]
    a.net.addresses(b.key, [b.address])
    return [a, b]
  }

  member(key: PeerKey): void {
    this.#members.add(key)
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map((net) => net.close()))
  }
}

export async function inWorld(run: (world: NetWorld) => Promise<void>): Promise<void> {
  const world = new NetWorld()
  try {
    await run(world)
  } finally {
    await world.close()
  }
}

export function keyOf(identity: Identity): PeerKey {
  return identity.sign.publicKey.toString('hex') as PeerKey
}

export function echo({ net }: Node, lane: 'control' | 'bulk' = 'control'): void {
  net.serve('echo', async ({ body }) => Buffer.from(body), { lane })
}

/** @returns the error a promise rejects with; red when it does not, or with another code */
export async function rejects(promise: Promise<unknown>, code: string): Promise<Error> {
  try {
    await promise
  } catch (error) {
    assert.ok(error instanceof Error)
    assert.is(codeOf(error), code, error.stack ?? '')
    return error
  }
  assert.unreachable(`no error, ${code} expected`)
  throw new Error('unreachable')
}

/** @param what said when the condition does not come true in time */
export async function until(
  what: string,
  condition: () => boolean | undefined,
  withinMs = 10_000,
): Promise<void> {
  const endMs = performance.now() + withinMs
  while (!condition()) {
    assert.ok(performance.now() < endMs, `not within ${withinMs} ms: ${what}`)
    await sleep(10)
  }
}

export function connected(node: Node, peer: Node): boolean {
  return node.net.peers().some(({ key, connected }) => key === peer.key && connected)
}

function logTo(lines: Line[]): Log {
  const add = (level: string) => (fields: object, message: string) => {
    lines.push({ level, fields: { ...fields }, message })
  }
  return {
    ...silentLog,
    debug: add('debug'),
    info: add('info'),
    warn: add('warn'),
    error: add('error'),
    child: () => logTo(lines),
  }
}
