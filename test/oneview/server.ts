import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Dialect, dialectOf } from './dialect.ts'
import { errorBody, invalid, notFound, Refused, refused } from './errors.ts'
import type { Trouble } from './faults.ts'
import type { Body } from './fixtures.ts'
import type { Pace } from './pace.ts'
import { type Answer, type Appliance, notAllowed, ROUTES, type Route } from './routes.ts'

/** What was asked, without headers and bodies: no password and no session is in it. */
export interface LogLine {
  readonly method: string
  /** With the query. */
  readonly path: string
  /** 0 when the connection was cut. */
  readonly status: number
  /** What the knobs had in store for it. */
  readonly trouble: Trouble['what'] | null
}

/** Status and bytes of an answer, before it is sent. */
interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
}

const BODY_BYTES_MAX = 1024 * 1024

/** As observed. Source: facts §2.1. */
const HEADERS = {
  'Content-Type': 'application/json;charset=utf-8',
  'Content-Language': 'en-us',
  'Cache-Control': 'no-cache',
  Pragma: 'no-cache',
  Expires: 'Thu, 01 Jan 1970 00:00:00 GMT',
  Server: 'Apache',
} as const

/** All that is not under /rest is a page for people, whatever was asked. */
const PAGE = '<!DOCTYPE html><html><head><title>OneView</title></head><body></body></html>'
const STATE_PATH = '/controller-state.json'

/** What holds for every request: troubles, version, session, form of the body, and how answers are made. */
export class Server {
  readonly log: LogLine[] = []
  readonly #appliance: Appliance
  readonly #pace: Pace
  readonly #user: string

  constructor(appliance: Appliance, pace: Pace, user: string) {
    this.#appliance = appliance
    this.#pace = pace
    this.#user = user
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url: path = '/' } = request
    const { knobs, sessions } = this.#appliance
    const trouble = knobs.faults.next(method, path)
    const what = trouble?.what ?? null
    const log = (status: number) => this.log.push({ method, path, status, trouble: what })
    const cut = () => {
      log(0)
      request.socket.destroy()
    }
    let text: string | null
    try {
      text = await bodyOf(request)
    } catch {
      // The client went away while it spoke.
      return cut()
    }
    if (what === 'dropBefore') return cut()
    await this.#pace.wait(knobs.answerMs + (trouble?.what === 'slow' ? trouble.ms : 0))
    if (what === 'loseSessions') sessions.endAll()
    const reply = this.#reply(request, text, trouble)
    if (what === 'dropAfter') return cut()
    log(reply.status)
    response.writeHead(reply.status, reply.headers).end(reply.text)
  }

  #reply(request: IncomingMessage, text: string | null, trouble: Trouble | undefined): Reply {
    try {
      return this.#answer(request, text, trouble)
    } catch (error) {
      // Anything else is a bug of the simulator, and ends the process.
      if (!(error instanceof Refused)) throw error
      return json(error.status, error.body)
    }
  }

  #answer(request: IncomingMessage, text: string | null, trouble: Trouble | undefined): Reply {
    const { knobs } = this.#appliance
    const { method = 'GET', headers } = request
    const url = urlOf(request)
    // [?] Whoever stands before the appliance answers then, so that there may be no JSON.
    if (knobs.failingOver && url.pathname !== STATE_PATH) return html(503)
    if (trouble?.what === 'status')
      return json(trouble.status, errorBody(trouble.errorCode ?? 'SIMULATED_TROUBLE', 'Simulated.'))
    if (!url.pathname.startsWith('/rest/') && url.pathname !== STATE_PATH) return html(200)
    if (!/utf-8|\*|^$/i.test(String(headers['accept-charset'] ?? '')))
      throw refused(406, 'NOT_ACCEPTABLE', 'Only UTF-8 is spoken here.')

    const { route, id } = routeOf(method, url.pathname)
    const dialect = this.#checkHeaders(request, route)
    const answer = route.answer(this.#appliance, {
      dialect,
      id,
      query: url.searchParams,
      body: parsed(text, headers['content-type']),
      ip: request.socket.remoteAddress ?? '',
      session: first(headers.auth),
      ifMatch: headers['if-match'],
    })
    const errorCode = trouble?.what === 'taskError' ? trouble.errorCode : undefined
    return this.#replyOf(answer, request, dialect, errorCode)
  }

  #checkHeaders(request: IncomingMessage, route: Route): Dialect {
    const { versions, sessions } = this.#appliance
    const newest = dialectOf(versions.current)!
    if (route.needs === 'nothing') return newest
    const asked = Number(first(request.headers['x-api-version']))
    const dialect = dialectOf(asked)
    // None at all would be the oldest on an appliance, which no client can want: it is refused like a wrong one [!].
    if (dialect === null || asked > versions.current || asked < versions.minimum)
      throw refused(
        412,
        'INVALID_API_VERSION',
        'The specified API version is not valid. Check the value of the X-API-Version header, then resend the request.',
      )
    if (route.needs !== 'version') sessions.use(first(request.headers.auth))
    return dialect
  }

  #replyOf(
    answer: Answer,
    request: IncomingMessage,
    dialect: Dialect,
    errorCode: string | undefined,
  ): Reply {
    switch (answer.is) {
      case 'nothing':
        return { status: 204, headers: HEADERS, text: '' }
      case 'work': {
        const task = this.#appliance.tasks.start(answer.work, this.#user, errorCode)
        const reply = json(202, task.body(dialect))
        return { ...reply, headers: { ...reply.headers, ...this.#location(task.uri, request) } }
      }
      case 'body': {
        const { eTag } = (answer.body ?? {}) as Body
        if (typeof eTag !== 'string' || eTag === '') return json(200, answer.body)
        if (request.headers['if-none-match'] === eTag)
          return { status: 304, headers: { ...HEADERS, ETag: eTag }, text: '' }
        const reply = json(200, answer.body)
        return { ...reply, headers: { ...reply.headers, ETag: eTag } }
      }
    }
  }

  #location(uri: string, request: IncomingMessage): Record<string, string> {
    switch (this.#appliance.knobs.location) {
      case 'absolute':
        return { Location: `https://${request.headers.host}${uri}` }
      case 'relative':
        return { Location: uri }
      case 'x-task-uri':
        return { 'X-Task-URI': uri }
      case 'absent':
        return {}
    }
  }
}

function urlOf({ url = '/' }: IncomingMessage): URL {
  try {
    decodeURI(url)
    return new URL(`https://appliance${url}`)
  } catch {
    throw invalid('The path is not valid.')
  }
}

function routeOf(method: string, path: string): { route: Route; id: string } {
  let known = false
  for (const route of ROUTES) {
    const found = patternOf(route).exec(path)
    if (found === null) continue
    known = true
    if (route.method === method) return { route, id: decodeURIComponent(found[1] ?? '') }
  }
  throw known ? notAllowed(method) : notFound(path)
}

function patternOf({ path }: Route): RegExp {
  return new RegExp(`^${path.replaceAll('.', '\\.').replace('{}', '([^/]+)')}$`)
}

/** @returns null when it is too long */
async function bodyOf(request: IncomingMessage): Promise<string | null> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of request) {
    bytes += part.length
    if (bytes <= BODY_BYTES_MAX) parts.push(part)
  }
  return bytes > BODY_BYTES_MAX ? null : Buffer.concat(parts).toString('utf8')
}

function parsed(text: string | null, contentType: string | undefined): unknown {
  if (text === null) throw refused(413, 'REQUEST_TOO_LARGE', 'The request is too large.')
  if (text === '') return null
  if (!/^application\/json\b/i.test(contentType ?? ''))
    throw refused(415, 'UNSUPPORTED_MEDIA_TYPE', 'Only application/json is understood here.')
  try {
    return JSON.parse(text)
  } catch {
    throw invalid('The request is not valid JSON.')
  }
}

function json(status: number, body: unknown): Reply {
  return { status, headers: HEADERS, text: JSON.stringify(body) }
}

function html(status: number): Reply {
  return {
    status,
    headers: { ...HEADERS, 'Content-Type': 'text/html;charset=utf-8' },
    text: PAGE,
  }
}

function first(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header
}
