import { FsError, silentLog } from '../../src/base/index.ts'
import { Appliance } from '../../src/provision/oneview/appliance.ts'
import type { Login } from '../../src/provision/oneview/session.ts'
import type { Answer, Request, Wire } from '../../src/provision/oneview/wire.ts'
import { VirtualClock } from './virtual-clock.ts'

export interface Asked {
  readonly method: string
  /** Without its query. */
  readonly path: string
  readonly query: URLSearchParams
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  // biome-ignore lint/suspicious/noExplicitAny: a test knows what it expects
  readonly body: any
}

export interface Reply {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

type Handler = (asked: Asked) => Reply

const NOT_FOUND: Reply = {
  status: 404,
  body: { errorCode: 'NOT_FOUND', message: 'No such resource.' },
}

/** Canned answers of an appliance, and what was asked of it. What nothing was said about is not found. */
export class Script {
  readonly asked: Asked[] = []
  /** What becomes of each body on its way. */
  garble: (body: unknown) => unknown = (body) => body
  readonly #rules: { method: string; path: string | RegExp; handler: Handler }[] = []
  #logins = 0

  constructor() {
    this.on('GET', '/rest/version', () => ({ body: { currentVersion: 1200, minimumVersion: 120 } }))
    this.on('POST', '/rest/login-sessions', () => ({
      body: { sessionID: `session-${++this.#logins}` },
    }))
    this.on('DELETE', '/rest/login-sessions', () => ({ status: 204 }))
  }

  /** The rule said last wins. A handler may throw: the connection breaks with that. */
  on(method: string, path: string | RegExp, handler: Handler | Reply): this {
    this.#rules.unshift({
      method,
      path,
      handler: typeof handler === 'function' ? handler : () => handler,
    })
    return this
  }

  /** One reply after the other; the last again and again. */
  series(method: string, path: string | RegExp, ...replies: readonly (Reply | Handler)[]): this {
    let next = 0
    return this.on(method, path, (asked) => {
      const reply = replies[Math.min(next++, replies.length - 1)] as Reply | Handler
      return typeof reply === 'function' ? reply(asked) : reply
    })
  }

  answer(asked: Asked): Reply {
    this.asked.push(asked)
    const rule = this.#rules.find(
      ({ method, path }) =>
        method === asked.method &&
        (typeof path === 'string' ? path === asked.path : path.test(asked.path)),
    )
    const reply = rule?.handler(asked) ?? NOT_FOUND
    return { ...reply, body: this.garble(reply.body) }
  }

  /** Of a method, and of a path when one is given. */
  of(method: string, path?: string): Asked[] {
    return this.asked.filter((one) => one.method === method && (path ?? one.path) === one.path)
  }
}

/** A page of a collection, as appliances give them (facts §2.4). */
export function pageOf(members: readonly unknown[], nextPageUri: string | null = null): Reply {
  return {
    body: {
      type: 'Page',
      members,
      start: 0,
      count: members.length,
      total: members.length,
      nextPageUri,
    },
  }
}

/** The script without sockets. */
export class ScriptedWire implements Wire {
  readonly #script: Script
  isClosed = false

  constructor(script: Script) {
    this.#script = script
  }

  async send({ method, path, headers, body, signal }: Request): Promise<Answer> {
    if (signal.aborted) throw new FsError('ECANCELED', 'oneview')
    const { pathname, searchParams } = new URL(path, 'https://appliance')
    const sent = body === undefined ? null : JSON.parse(JSON.stringify(body))
    const reply = this.#script.answer({
      method,
      path: pathname,
      query: searchParams,
      headers,
      body: sent,
    })
    return {
      status: reply.status ?? 200,
      header: (name) => reply.headers?.[name.toLowerCase()] ?? '',
      body: reply.body ?? null,
    }
  }

  async close(): Promise<void> {
    this.isClosed = true
  }
}

export const login = { user: 'weft', password: () => 'secret' }
export const running = new AbortController().signal
export const silentStep = { signal: running, progress: () => {} }

export function scripted(script = new Script(), more: Partial<Login> = {}) {
  const clock = new VirtualClock()
  const wire = new ScriptedWire(script)
  const appliance = new Appliance(wire, { ...login, ...more }, clock, silentLog)
  return { script, clock, wire, appliance }
}

/** The connection broke: whether the request was carried out is not known. */
export function lost(): never {
  throw new FsError('ECONNRESET', 'oneview.send', { done: 'maybe', retry: 'later' })
}

/** Nobody listens. */
export function refused(): never {
  throw new FsError('EHOSTUNREACH', 'oneview.connect', { done: 'no', retry: 'later' })
}
