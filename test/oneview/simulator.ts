import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server as HttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { certificateIn } from './certificate.ts'
import { dialectOf } from './dialect.ts'
import { DrivesIndex } from './drives-index.ts'
import { Frame, type FrameSpec } from './frame.ts'
import { Jbods } from './jbods.ts'
import { Knobs, type KnobValues } from './knobs.ts'
import type { Health } from './model.ts'
import { Pace } from './pace.ts'
import { Profiles } from './profiles.ts'
import { type LogLine, Server } from './server.ts'
import { Sessions } from './sessions.ts'
import { Tasks } from './tasks.ts'
import { type HostHooks, Zoning } from './zoning.ts'

export interface SimulatorOptions extends FrameSpec, HostHooks {
  /** Address to listen at; default 127.0.0.1. */
  readonly host?: string
  /** Default: any that is free. */
  readonly port?: number
  readonly user?: string
  readonly password?: string
  /** Where certificate.pem and key.pem are, or will be. Default: a temporary directory, gone with the simulator. */
  readonly dir?: string
  /** Newest X-API-Version; default 1600. */
  readonly currentVersion?: number
  /** Oldest X-API-Version; default 300, the first with Synergy. */
  readonly minimumVersion?: number
  /** At once from one address; default 100. */
  readonly sessionLimit?: number
  /** Default a day. */
  readonly sessionIdleMs?: number
  readonly knobs?: Partial<KnobValues>
}

const DAY_MS = 24 * 60 * 60 * 1000

/**
 * HPE Synergy frames with their OneView appliance, as far as a client needs that takes drives of a D3940 for blades and gives
 * them back: an HTTPS server, written from public facts (cited as `facts §n`), with a [?] at each guess. It shares
 * nothing with the client under test. All state is in memory.
 */
export class Simulator {
  readonly user: string
  readonly password: string
  /** PEM file, to be trusted by a client. */
  readonly certificate: string
  /** SHA-256 of the certificate's DER, lower case hex, to be pinned by a client. */
  readonly pin: string
  readonly frame: Frame
  readonly knobs: Knobs
  readonly sessions: Sessions
  readonly #host: string
  readonly #jbods: Jbods
  readonly #zoning: Zoning
  readonly #server: Server
  readonly #listener: HttpsServer
  readonly #pace = new Pace()
  readonly #ownDir: string | null

  private constructor(options: SimulatorOptions) {
    const { currentVersion: current = 1600, minimumVersion: minimum = 300 } = options
    if (dialectOf(current) === null) throw new Error(`there is no version ${current}`)
    this.#host = options.host ?? '127.0.0.1'
    this.user = options.user ?? 'administrator'
    this.password = options.password ?? 'simulated'
    this.knobs = new Knobs(options.knobs)
    this.frame = new Frame(options)
    const { user, password, knobs, frame } = this

    const rules = { limit: options.sessionLimit ?? 100, idleMs: options.sessionIdleMs ?? DAY_MS }
    const sessions = new Sessions({ user, password, ...rules }, knobs)
    const index = new DrivesIndex(frame, knobs)
    const zoning = new Zoning(frame, knobs, this.#pace, options)
    const jbods = new Jbods(frame, index, zoning, knobs, this.#pace)
    const profiles = new Profiles(frame, jbods, zoning, knobs)
    this.#zoning = zoning
    const tasks = new Tasks(this.#pace, knobs, () => sessions.endAll())
    const versions = { current, minimum }
    const powered = zoning.powered.bind(zoning)
    const parts = { frame, index, jbods, profiles, tasks, sessions, knobs, versions, powered }
    this.sessions = sessions
    this.#jbods = jbods
    this.#server = new Server(parts, this.#pace, user)

    this.#ownDir = options.dir === undefined ? mkdtempSync(join(tmpdir(), 'weft-oneview-')) : null
    const { certPath, keyPath, sha256 } = certificateIn(options.dir ?? this.#ownDir!, this.#host)
    this.certificate = certPath
    this.pin = sha256
    this.#listener = createServer(
      { cert: readFileSync(certPath), key: readFileSync(keyPath) },
      (request, response) => void this.#server.handle(request, response),
    )
  }

  static async start(options: SimulatorOptions = {}): Promise<Simulator> {
    const simulator = new Simulator(options)
    const listener = simulator.#listener
    try {
      await new Promise<void>((resolve, reject) => {
        listener.once('error', reject)
        listener.listen(options.port ?? 0, simulator.#host, resolve)
      })
    } catch (error) {
      await simulator.close()
      throw error
    }
    return simulator
  }

  get port(): number {
    return (this.#listener.address() as AddressInfo).port
  }

  get url(): string {
    return `https://${this.#host}:${this.port}`
  }

  /** Every request since the start, in the order of the answers. */
  get log(): readonly LogLine[] {
    return this.#server.log
  }

  setHealth(serialNumber: string, health: Health): void {
    this.#jbods.setHealth(this.frame.drive(serialNumber), health)
  }

  /** Tasks under way go no further, and open connections are cut. */
  async close(): Promise<void> {
    this.#pace.close()
    await new Promise<void>((resolve) => {
      this.#listener.close(() => resolve())
      this.#listener.closeAllConnections()
    })
    await this.#zoning.settled()
    if (this.#ownDir !== null) rmSync(this.#ownDir, { recursive: true, force: true })
  }
}
