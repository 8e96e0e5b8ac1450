import { createHash } from 'node:crypto'
import { background, type Clock, FsError, type Log, messageOf } from '../../base/index.ts'
import { refusedAnswer } from './appliance-errors.ts'
import { decode, loginBody } from './resources.ts'
import { closedError, orGiveUp } from './waiting.ts'
import type { Wire } from './wire.ts'

export interface Login {
  readonly user: string
  /** Directory to log in at; the appliance's default when absent. */
  readonly domain?: string
  /** Asked at each login and not kept. */
  readonly password: () => string | Buffer
}

/** Shorter than a daemon that ends at once waits for it (daemon/node.ts, LEAVE_MS_MAX). */
const LOGOUT_MS = 2000
/** Directories lock a user out after a few wrong passwords, for some ten minutes. */
const REFUSED_MS = 15 * 60_000

/**
 * The one session of this process: the appliance lets an address have few of them, and those that nobody logs out last for a
 * day (facts §2.3, OP#101).
 */
export class Session {
  readonly #wire: Wire
  readonly #login: Login
  readonly #clock: Clock
  readonly #log: Log
  readonly #closing = new AbortController()
  #isClosed = false
  #current: Promise<string> | null = null
  /** Several requests may find the same one dead. */
  readonly #ended = new Set<string>()
  /** The last login when it was refused for its user or password. */
  #refused: { readonly digest: string; readonly error: FsError; readonly atMs: number } | null =
    null

  /** @param wire waits for an appliance that is away */
  constructor(wire: Wire, login: Login, clock: Clock, log: Log) {
    this.#wire = wire
    this.#login = login
    this.#clock = clock
    this.#log = log
  }

  /**
   * The session's id, logging in when there is none. All who ask meanwhile get the same.
   * @param dead the id that the appliance no longer knows, if one was used: only then, and once for all, is it replaced
   * @throws FsError EACCES, user or password are wrong; EAGAIN, too many sessions
   */
  async id(
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    dead?: string,
  ): Promise<string> {
    if (this.#isClosed) throw closedError()
    const current = this.#current
    if (current !== null) {
      const id = await orGiveUp(current, signal)
      if (id !== dead) return id
      if (this.#current === current) this.#current = null
    }
    if (this.#current === null) {
      const login = this.#logIn(headers)
      this.#current = login
      // A login that failed is not remembered; whoever waits for it below is told.
      login.catch(() => {
        if (this.#current === login) this.#current = null
      })
    }
    return orGiveUp(this.#current, signal)
  }

  /**
   * Log out. A login that is on its way is waited for, or what it begins would stay for a day; an appliance that is away is not,
   * longer than for both together a daemon that ends has.
   */
  async close(wire: Wire, headers: Readonly<Record<string, string>>): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    const cancel = this.#clock.after(LOGOUT_MS, () => this.#closing.abort())
    try {
      const id = await this.#current?.catch(() => null)
      this.#current = null
      if (typeof id === 'string') await this.#logOut(wire, headers, id, this.#closing.signal)
    } finally {
      cancel()
      this.#closing.abort()
    }
  }

  /**
   * Log out of one that was replaced. Mostly the appliance knows it no more; where it does, it counts among the few that an address
   * may have. Nobody waits for it.
   */
  end(wire: Wire, headers: Readonly<Record<string, string>>, id: string): void {
    if (this.#ended.has(id)) return
    this.#ended.add(id)
    const late = new AbortController()
    const cancel = this.#clock.after(LOGOUT_MS, () => late.abort())
    this.#logOut(wire, headers, id, late.signal)
      .finally(cancel)
      .catch(background(this.#log, 'oneview.logout'))
  }

  async #logOut(
    wire: Wire,
    headers: Readonly<Record<string, string>>,
    id: string,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      const request = { method: 'DELETE', path: '/rest/login-sessions' } as const
      const answer = await wire.send({ ...request, headers: { ...headers, auth: id }, signal })
      if (answer.status >= 400) throw refusedAnswer(answer, 'oneview.logout', 'log out')
    } catch (error) {
      this.#log.info({ op: 'oneview.logout', error: messageOf(error) }, 'not logged out')
    }
  }

  async #logIn(headers: Readonly<Record<string, string>>): Promise<string> {
    const { user, domain } = this.#login
    const password = this.#login.password().toString()
    const digest = createHash('sha256').update(password).digest('hex')
    this.#mustNotBeRefused(digest)
    const answer = await this.#wire.send({
      method: 'POST',
      path: '/rest/login-sessions',
      headers,
      body: {
        userName: user,
        password,
        ...(domain !== undefined && { authLoginDomain: domain }),
        // A login banner must be said yes to (PS#67); where there is none, this does nothing.
        loginMsgAck: true,
      },
      signal: this.#closing.signal,
    })
    if (answer.status >= 400) {
      const error = loginError(refusedAnswer(answer, 'oneview.login', `log in as ${user}`))
      const atMs = this.#clock.monotonicMs()
      this.#refused = error.code === 'EACCES' ? { digest, error, atMs } : null
      throw error
    }
    return decode(loginBody, answer.body, 'the answer to the login').sessionID
  }

  /** The same password is not tried again at once, however many ask: the user would be locked out. */
  #mustNotBeRefused(digest: string): void {
    if (this.#refused?.digest !== digest) return
    if (this.#clock.monotonicMs() - this.#refused.atMs < REFUSED_MS) throw this.#refused.error
  }
}

/** The status of a refused login is 400 with all its reasons (facts §8): without a known code it is still the login's. */
function loginError(error: FsError): FsError {
  if (error.code !== 'EINVAL') return error
  const { message, subject } = error
  return new FsError('EACCES', 'oneview.login', { ...subject, message })
}
