import { type Clock, FsError, type Log } from '../../base/index.ts'
import { isNotEntitled, refusedAnswer } from './appliance-errors.ts'
import { PatientWire } from './patient-wire.ts'
import { type Login, Session } from './session.ts'
import { pickVersion } from './version.ts'
import { orGiveUp } from './waiting.ts'
import type { Answer, Request, Wire } from './wire.ts'

/** What a request is for, told when it fails. */
export interface Purpose {
  readonly op: string
  /** 'read the server profiles' */
  readonly what: string
}

export interface Write {
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly body?: unknown
  /** The eTag that was read: the appliance refuses when somebody has changed the resource since. */
  readonly ifMatch?: string
}

/** A session that ends within it after a login that did not help is found dead so much later. */
const HELPLESS_MS = 5 * 60_000

/**
 * The appliance's REST API as weft sees it: in one version, in one session, waited for when it is away. An answer that says
 * no comes out as an FsError.
 */
export class Appliance {
  readonly #raw: Wire
  readonly #wire: Wire
  readonly #session: Session
  readonly #closing = new AbortController()
  #version: Promise<number> | null = null
  /** When a login anew last did not help against a 401. */
  #helplessMs = Number.NEGATIVE_INFINITY
  readonly #clock: Clock

  /** @param awayMs how long it is waited for when it is away; as usual when not given */
  constructor(wire: Wire, login: Login, clock: Clock, log: Log, awayMs?: number) {
    this.#raw = wire
    this.#clock = clock
    this.#wire = new PatientWire(wire, clock, log, awayMs)
    this.#session = new Session(this.#wire, login, clock, log)
  }

  /** The X-API-Version spoken. */
  version(signal: AbortSignal): Promise<number> {
    if (this.#version === null) {
      const asking = this.#askVersion()
      this.#version = asking
      asking.catch(() => {
        this.#version = null
      })
    }
    return orGiveUp(this.#version, signal)
  }

  /** For whoever wants to know that it can be reached and logged in at. */
  async logIn(signal: AbortSignal): Promise<void> {
    await this.#session.id(headersOf(await this.version(signal)), signal)
  }

  get(path: string, purpose: Purpose, signal: AbortSignal): Promise<Answer> {
    return this.#send({ method: 'GET', path, headers: {}, signal }, purpose)
  }

  /** Sent once, but for answers that say that nothing was done. @throws FsError whose `done` tells what is known (wire.ts) */
  write(
    { method, path, body, ifMatch }: Write,
    purpose: Purpose,
    signal: AbortSignal,
  ): Promise<Answer> {
    const headers = ifMatch === undefined ? {} : { 'if-match': ifMatch }
    return this.#send(
      { method, path, headers, signal, ...(body !== undefined && { body }) },
      purpose,
    )
  }

  /** Log out. */
  async close(): Promise<void> {
    this.#closing.abort()
    const version = await this.#version?.catch(() => null)
    if (typeof version === 'number') await this.#session.close(this.#raw, headersOf(version))
    await this.#raw.close()
  }

  /**
   * A 401 is of a session that has ended, and is then begun anew, once; or of a user who may not do this, and no login helps
   * (facts §2.3). Where the words do not tell which, a login that did not help tells it: for a while none is tried again, for each
   * would leave a session of the few that there are.
   */
  async #send(request: Request, { op, what }: Purpose): Promise<Answer> {
    const { signal } = request
    const always = headersOf(await this.version(signal))
    const attempt = (auth: string) =>
      this.#wire.send({ ...request, headers: { ...always, ...request.headers, auth } })
    const id = await this.#session.id(always, signal)
    let answer = await attempt(id)
    if (answer.status === 401 && !isNotEntitled(answer.body) && !this.#isHelpless()) {
      answer = await attempt(await this.#session.id(always, signal, id))
      this.#session.end(this.#raw, always, id)
      if (answer.status === 401) this.#helplessMs = this.#clock.monotonicMs()
    }
    if (answer.status < 400) return answer
    if (answer.status === 412 && !('if-match' in request.headers)) throw this.#versionGone(what)
    throw refusedAnswer(answer, op, what)
  }

  #isHelpless(): boolean {
    return this.#clock.monotonicMs() - this.#helplessMs < HELPLESS_MS
  }

  /** 412 without a condition is of the version (facts §2.1): an older backup was restored, say. It is asked for anew. */
  #versionGone(what: string): FsError {
    this.#version = null
    return new FsError('EPROTONOSUPPORT', 'oneview.version', {
      retry: 'later',
      message: `oneview: cannot ${what}: the appliance no longer speaks the API version that it spoke before`,
      next: 'ask again: the version is picked anew',
    })
  }

  async #askVersion(): Promise<number> {
    const request = { method: 'GET', path: '/rest/version', headers: {} } as const
    const answer = await this.#wire.send({ ...request, signal: this.#closing.signal })
    if (answer.status < 400) return pickVersion(answer.body)
    if (answer.status !== 404)
      throw refusedAnswer(answer, 'oneview.version', 'read its API versions')
    throw new FsError('EPROTO', 'oneview.version', {
      message:
        'oneview: what answers at the url has no /rest/version: it is not a OneView appliance',
      next: 'check the url',
    })
  }
}

/** English, because of the two errors that are told by their text alone (appliance-errors.ts). */
function headersOf(version: number): Record<string, string> {
  return { 'x-api-version': `${version}`, 'accept-language': 'en-US' }
}
