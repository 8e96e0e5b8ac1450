import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Etcd3 } from 'etcd3'
import { until } from '../support/node-world.ts'

const HOST = '127.0.0.1'

interface Member {
  readonly name: string
  readonly clientPort: number
  readonly peerPort: number
  process: ChildProcess | null
}

/** A real etcd cluster on loopback, in a directory of its own. Whoever makes one closes it in `finally`. */
export class EtcdCluster {
  readonly dir = mkdtempSync(join(tmpdir(), 'weft-etcd-'))
  readonly #members: Member[] = []
  #scheme = 'http'
  #flags: readonly string[] = []

  /** @param tls flags of etcd for TLS to its clients: the scheme is https then */
  async start(count: number, tls?: readonly string[]): Promise<void> {
    if (tls) {
      this.#scheme = 'https'
      this.#flags = tls
    }
    const ports = await freePorts(2 * count)
    for (let i = 0; i < count; i++) {
      const [clientPort = 0, peerPort = 0] = ports.slice(2 * i)
      this.#members.push({ name: `m${i}`, clientPort, peerPort, process: null })
    }
    for (let i = 0; i < count; i++) this.run(i)
    if (tls === undefined) await until('a leader', async () => (await this.leader()) >= 0, 30_000)
  }

  get endpoints(): string[] {
    return this.#members.map(({ clientPort }) => `${this.#scheme}://${HOST}:${clientPort}`)
  }

  port(index: number): number {
    return this.#members[index]?.clientPort ?? 0
  }

  /** Start a member that does not run: the first time, or after kill9. */
  run(index: number): void {
    const member = this.#member(index)
    const peerUrl = (peer: Member) => `http://${HOST}:${peer.peerPort}`
    const clientUrl = `${this.#scheme}://${HOST}:${member.clientPort}`
    const log = openSync(join(this.dir, `${member.name}.log`), 'a')
    const flags = {
      name: member.name,
      'data-dir': join(this.dir, member.name),
      'listen-client-urls': clientUrl,
      'advertise-client-urls': clientUrl,
      'listen-peer-urls': peerUrl(member),
      'initial-advertise-peer-urls': peerUrl(member),
      'initial-cluster': this.#members.map((each) => `${each.name}=${peerUrl(each)}`).join(','),
      'heartbeat-interval': '50',
      'election-timeout': '500',
      logger: 'zap',
      'log-level': 'warn',
    }
    const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value])
    member.process = spawn('/usr/bin/etcd', [...args, ...this.#flags], {
      stdio: ['ignore', log, log],
    })
    closeSync(log)
  }

  async kill9(index: number): Promise<void> {
    const member = this.#member(index)
    const child = member.process
    member.process = null
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
  }

  /** Silent, its connections open; SIGCONT wakes it. */
  signal(index: number, signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#member(index).process?.kill(signal)
  }

  /** Index of the member that leads, -1 when none of those that run knows one. */
  async leader(): Promise<number> {
    for (const [index, { clientPort, process }] of this.#members.entries()) {
      if (process === null) continue
      const client = new Etcd3({ hosts: `${HOST}:${clientPort}` })
      try {
        const { leader, header } = await client.maintenance.status()
        if (leader === header.member_id) return index
      } catch {
        // not up yet
      } finally {
        client.close()
      }
    }
    return -1
  }

  logs(): string {
    return this.#members
      .map(({ name }) => readFileSync(join(this.dir, `${name}.log`), 'utf8').slice(-2000))
      .join('\n')
  }

  async close(): Promise<void> {
    for (const index of this.#members.keys()) await this.kill9(index)
    rmSync(this.dir, { recursive: true, force: true })
  }

  #member(index: number): Member {
    const member = this.#members[index]
    if (member === undefined) throw new Error(`no member ${index}`)
    return member
  }
}

/** Between a client and one member: a cable that can be cut. */
export class Cable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #fars = new Set<Socket>()
  #cut = false

  private constructor(server: Server) {
    this.#server = server
  }

  static async to(port: number): Promise<Cable> {
    const server = createServer()
    const cable = new Cable(server)
    server.on('connection', (socket) => cable.#join(socket, port))
    await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
    return cable
  }

  get endpoint(): string {
    const address = this.#server.address()
    return `http://${HOST}:${typeof address === 'object' ? address?.port : 0}`
  }

  cut(): void {
    this.#cut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  heal(): void {
    this.#cut = false
  }

  /** What is asked from now on arrives; the answer does not, and a moment later the connections break. New ones are good. */
  loseAnswers(): void {
    for (const far of this.#fars) {
      far.unpipe()
      far.resume()
      setTimeout(() => far.destroy(), 200)
    }
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #join(socket: Socket, port: number): void {
    if (this.#cut) {
      socket.destroy()
      return
    }
    const far = connect(port, HOST)
    this.#fars.add(far)
    far.on('close', () => this.#fars.delete(far))
    for (const [from, to] of [
      [socket, far],
      [far, socket],
    ] as const) {
      this.#sockets.add(from)
      from.on('error', () => {})
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
      from.pipe(to)
    }
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
      return server
    }),
  )
  return Promise.all(
    servers.map(async (server) => {
      const address = server.address()
      await new Promise((resolve) => server.close(resolve))
      return typeof address === 'object' ? (address?.port ?? 0) : 0
    }),
  )
}
