import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type Clock, FsError, type Log, silentLog, systemRandom } from '../../src/base/index.ts'
import type { Authority, MemberWords } from '../../src/cluster/authority.ts'
import {
  answerJoin,
  type Call,
  createCluster,
  createInvite,
  JOIN_SERVICE,
  joinCluster,
  Membership,
  type NewCluster,
  nowhere,
  parseInvite,
} from '../../src/cluster/index.ts'
import { type Coordinator, openEmbeddedCoordinator } from '../../src/coordinator/index.ts'
import { inviteKeyPair, newIdentity, nodeIdOf, wipeIdentity } from '../../src/crypto/index.ts'
import { type Disk, systemDisk } from '../../src/disk/index.ts'

/** Stands still until it is moved; timers that are due then go off. */
export class HandClock implements Clock {
  ms = Date.UTC(2026, 10, 28)
  readonly #timers = new Set<{ at: number; call: () => void }>()

  now() {
    return { sec: Math.floor(this.ms / 1000), nsec: (this.ms % 1000) * 1e6 }
  }

  monotonicMs(): number {
    return this.ms
  }

  after(ms: number, call: () => void): () => void {
    const timer = { at: this.ms + ms, call }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  advance(ms: number): void {
    this.ms += ms
    for (const timer of [...this.#timers]) {
      if (timer.at > this.ms || !this.#timers.delete(timer)) continue
      timer.call()
    }
  }
}

/** One machine: a home, keys, a clock of its own if need be, and a view of the coordinator that can be cut off. */
export interface Node {
  readonly name: string
  readonly home: string
  readonly authority: Authority
  readonly key: string
  readonly words: MemberWords
  readonly lines: string[]
  /** Requests to the coordinator fail while true. */
  away: boolean
  membership: Membership | null
  /** Opens its membership from its home and waits until it is current. */
  start(): Promise<Membership>
}

export interface Wire {
  /** What happens to the next calls, in order; 'pass' when the list is empty. */
  readonly faults: ('lose request' | 'lose answer' | 'pass')[]
  /** Calls whose request arrived. */
  arrived: number
}

export interface ClusterWorld {
  readonly dir: string
  readonly clock: HandClock
  readonly coordinator: Coordinator
  readonly wire: Wire
  /** The first member, running. */
  readonly a: Node
  /** A machine that is in no cluster. */
  machine(name: string, words?: Partial<MemberWords>): Node
  invite(options?: { uses?: number; lifetimeMs?: number }): Promise<string>
  /** `disk`: what the joiner keeps its home on. */
  join(node: Node, line: string, options?: { disk?: Disk; clock?: Clock }): Promise<void>
  /** Invites, joins and starts a machine. */
  member(name: string): Promise<Node>
  close(): Promise<void>
}

export async function openClusterWorld(): Promise<ClusterWorld> {
  const dir = mkdtempSync(join(tmpdir(), 'weft-cluster-'))
  const clock = new HandClock()
  const coordinator = await openEmbeddedCoordinator(join(dir, 'coordinator'))
  const nodes = new Map<string, Node>()
  const wire: Wire = { faults: [], arrived: 0 }

  const machine = (name: string, words: Partial<MemberWords> = {}): Node => {
    const keys = newIdentity()
    const home = join(dir, name)
    mkdirSync(home)
    const lines: string[] = []
    const authority: Authority = {
      coordinator: cuttable(coordinator, () => node.away),
      self: { id: nodeIdOf(keys.sign.publicKey), keys },
      clock,
      random: systemRandom,
      log: logInto(lines),
      generationSeen: () => node.membership?.record.generation ?? 0,
    }
    const node: Node = {
      name,
      home,
      authority,
      key: keys.sign.publicKey.toString('hex'),
      words: { name, domain: nowhere, addresses: [{ host: '10.0.0.1', port: 4433 }], ...words },
      lines,
      away: false,
      membership: null,
      async start() {
        await node.membership?.close()
        const opened = Membership.open({ home, disk: systemDisk, ...authority })
        assert.ok(opened, `${name} is in a cluster`)
        node.membership = opened
        if (!node.away) await opened.refresh()
        return opened
      },
    }
    nodes.set(node.key, node)
    return node
  }

  /** As net will: the peer's own membership lets the key in or not, and a guest reaches one service alone. */
  const callAs =
    (callerKey: string): Call =>
    async (peerKey, service, body) => {
      const fault = wire.faults.shift() ?? 'pass'
      if (fault === 'lose request') throw new FsError('ETIMEDOUT', 'net.call')
      const peer = nodes.get(peerKey)
      const admitted = peer?.membership?.admit(callerKey) ?? null
      if (peer === undefined || admitted === null || service !== JOIN_SERVICE) {
        throw new FsError('ECONNREFUSED', 'net.call', { message: 'refused in the handshake' })
      }
      wire.arrived++
      const answer = await answerJoin(peer.authority, body, callerKey)
      if (fault === 'lose answer') throw new FsError('ETIMEDOUT', 'net.call')
      return answer
    }

  const a = machine('node-a')
  await createCluster(a.authority, { home: a.home, disk: systemDisk }, newLab(a))
  await a.start()

  const world: ClusterWorld = {
    dir,
    clock,
    coordinator,
    wire,
    a,
    machine,
    async invite(options = {}) {
      const contacts = a.membership?.contacts() ?? []
      const { line } = await createInvite(a.authority, { ...options, contacts })
      await a.membership?.refresh()
      return line
    },
    async join(node, line, options = {}) {
      const invite = parseInvite(line)
      await joinCluster({
        home: node.home,
        disk: options.disk ?? systemDisk,
        self: node.authority.self,
        clock: options.clock ?? clock,
        log: node.authority.log,
        invite,
        node: node.words,
        asGuest: callAs(inviteKeyPair(invite.seed).publicKey.toString('hex')),
        asNode: callAs(node.key),
      })
    },
    async member(name) {
      const node = machine(name)
      await world.join(node, await world.invite())
      await node.start()
      for (const other of nodes.values()) if (!other.away) await other.membership?.refresh()
      return node
    },
    async close() {
      for (const node of nodes.values()) {
        await node.membership?.close()
        wipeIdentity(node.authority.self.keys)
      }
      await coordinator.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
  return world
}

export function newLab({ authority, words }: Node): NewCluster {
  const coordinator = { kind: 'embedded', node: authority.self.id } as const
  return { name: 'lab', coordinator, node: words }
}

export async function inWorld(work: (world: ClusterWorld) => Promise<void>): Promise<void> {
  const world = await openClusterWorld()
  try {
    await work(world)
  } finally {
    await world.close()
  }
}

/** The FsError that the work ends in, whose code must be this. */
export async function refusal(code: string, work: Promise<unknown>): Promise<FsError> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  assert.instance(error, FsError, `expected ${code}, got ${error}`)
  assert.is((error as FsError).code, code, (error as FsError).message)
  return error as FsError
}

function cuttable(coordinator: Coordinator, isAway: () => boolean): Coordinator {
  const reached = <T>(work: () => Promise<T>): Promise<T> =>
    isAway()
      ? Promise.reject(new FsError('EHOSTUNREACH', 'coordinator', { message: 'coordinator away' }))
      : work()
  return {
    get: (key) => reached(() => coordinator.get(key)),
    list: (prefix) => reached(() => coordinator.list(prefix)),
    compareAndSet: (key, expected, value) =>
      reached(() => coordinator.compareAndSet(key, expected, value)),
    transaction: (steps) => reached(() => coordinator.transaction(steps)),
    watch: (prefix, onChange) =>
      reached(() =>
        coordinator.watch(prefix, (change) => {
          if (!isAway()) onChange(change)
        }),
      ),
    close: () => coordinator.close(),
  }
}

function logInto(lines: string[]): Log {
  const line = (fields: object, message: string) => {
    lines.push(JSON.stringify({ ...fields, message }))
  }
  return { ...silentLog, info: line, warn: line, error: line }
}
