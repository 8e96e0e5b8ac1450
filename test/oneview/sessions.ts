import { randomBytes } from 'node:crypto'
import { refused, tooManySessions } from './errors.ts'
import { objectOf, onlyFields } from './fields.ts'
import type { Knobs } from './knobs.ts'

export interface SessionRules {
  readonly user: string
  readonly password: string
  readonly idleMs: number
  /** At once from one address. */
  readonly limit: number
}

const LOGIN_FIELDS = new Set(['userName', 'password', 'authLoginDomain', 'loginMsgAck'])

/** Logins. A session ends when nobody used it for `idleMs`; there is no way to ask whether one lives but to use it. */
export class Sessions {
  readonly #rules: SessionRules
  readonly #knobs: Knobs
  readonly #open = new Map<string, { ip: string; usedMs: number }>()

  constructor(rules: SessionRules, knobs: Knobs) {
    this.#rules = rules
    this.#knobs = knobs
  }

  /** POST /rest/login-sessions. @returns the session's id */
  login(request: unknown, ip: string): string {
    const body = objectOf(request, 'The login')
    onlyFields(body, LOGIN_FIELDS)
    if (body.userName !== this.#rules.user || body.password !== this.#rules.password)
      throw refused(400, 'AUTHN_AUTH_FAIL', 'Invalid username or password or directory.')
    if (this.#knobs.loginBanner && body.loginMsgAck !== true)
      throw refused(
        400, // [?] the status is not quoted in public
        'AUTHN_LOGIN_MESSAGE_ACKNOWLEDGMENT_REQUIRED',
        'Acknowledgment of the login message is required.',
      )
    this.#endIdle()
    const mine = [...this.#open.values()].filter((session) => session.ip === ip)
    if (mine.length >= this.#rules.limit) throw tooManySessions(ip)
    const id = randomBytes(24).toString('base64url')
    this.#open.set(id, { ip, usedMs: Date.now() })
    return id
  }

  /** Every call but the few that are open. */
  use(id: string | undefined): void {
    this.#endIdle()
    const session = id === undefined ? undefined : this.#open.get(id)
    // [?] The code is a guess; 401 is known.
    if (session === undefined) throw refused(401, 'AUTHORIZATION', 'Missing or invalid session.')
    session.usedMs = Date.now()
  }

  /** DELETE /rest/login-sessions */
  logout(id: string | undefined): void {
    this.#endIdle()
    if (id === undefined || !this.#open.delete(id))
      throw refused(400, 'AUTHN_LOGOUT_FAILED', 'Unable to log out.')
  }

  endAll(): void {
    this.#open.clear()
  }

  get count(): number {
    this.#endIdle()
    return this.#open.size
  }

  #endIdle(): void {
    const since = Date.now() - this.#rules.idleMs
    for (const [id, { usedMs }] of this.#open) if (usedMs < since) this.#open.delete(id)
  }
}
