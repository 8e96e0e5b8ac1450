import type { IncomingHttpHeaders } from 'node:http'
import { Pool } from 'undici'
import { type Clock, codeOf, FsError, messageOf } from '../../base/index.ts'
import { type Trust, trustingConnector } from './tls.ts'
import { closedError, mustGoOn } from './waiting.ts'
import type { Answer, Done, Request, Wire } from './wire.ts'

export interface TransportOptions {
  /** `https://host` or `https://host:port`. */
  readonly url: string
  readonly trust: Trust
  readonly clock: Clock
  /** Of one request, from connecting to the last byte of its answer. */
  readonly limitMs?: number
  readonly answerBytesMax?: number
}

/** The longest lists take an appliance with many frames a minute [?]. */
const LIMIT_MS = 120_000
/** A frame's largest list, all drive enclosures of 21 frames, is about 8 MiB. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024
/** Enough that a poll need not wait for a long list. */
const CONNECTIONS = 4
const JSON_TYPE = /^application\/([\w.-]+\+)?json\b/i

/**
 * HTTPS to one appliance. Bodies are JSON both ways; an answer has a limit in time and in bytes, whatever the other side does.
 * @throws FsError EINVAL for a url or a trust that cannot be. An appliance that is not there is met by `send`
 */
export class Transport implements Wire {
  readonly #base: URL
  readonly #pool: Pool
  readonly #clock: Clock
  readonly #limitMs: number
  readonly #answerBytesMax: number
  #isClosed = false

  constructor(options: TransportOptions) {
    this.#base = baseOf(options.url)
    this.#clock = options.clock
    this.#limitMs = options.limitMs ?? LIMIT_MS
    this.#answerBytesMax = options.answerBytesMax ?? ANSWER_BYTES_MAX
    this.#pool = new Pool(this.#base.origin, {
      connect: trustingConnector(options.trust),
      connections: CONNECTIONS,
      // undici's own limits begin anew with each byte; ours is over the whole request, by the Clock given.
      headersTimeout: 0,
      bodyTimeout: 0,
    })
  }

  /**
   * @throws FsError, `done` in its subject telling whether the request may have been carried out: EHOSTUNREACH or
   * ECONNRESET, no answer came; ETIMEDOUT, not in time; EFBIG, a longer answer than we take; EPROTO, an answer that is not
   * the REST API's; EACCES, the certificate is not the right one; ECANCELED
   */
  async send(request: Request): Promise<Answer> {
    mustGoOn(request.signal)
    const path = this.#pathOf(request)
    const ending = new AbortController()
    let late = false
    const cancel = this.#clock.after(this.#limitMs, () => {
      late = true
      ending.abort()
    })
    const abandon = () => ending.abort()
    request.signal.addEventListener('abort', abandon)
    try {
      return await this.#exchange(request, path, ending.signal)
    } catch (error) {
      if (error instanceof FsError) throw error
      if (this.#isClosed) throw closedError()
      mustGoOn(request.signal)
      throw late ? this.#lateError(request) : lostError(request, error)
    } finally {
      cancel()
      request.signal.removeEventListener('abort', abandon)
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#pool.destroy()
  }

  async #exchange(request: Request, path: string, signal: AbortSignal): Promise<Answer> {
    const { method, body } = request
    const {
      statusCode,
      headers,
      body: incoming,
    } = await this.#pool.request({
      method,
      path,
      signal,
      headers: {
        accept: 'application/json',
        ...request.headers,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const parts: Buffer[] = []
    let bytes = 0
    // Leaving the loop by an error destroys the stream, and with it the connection.
    for await (const part of incoming) {
      bytes += (part as Buffer).length
      if (bytes > this.#answerBytesMax) throw this.#hugeError(request)
      parts.push(part as Buffer)
    }
    return {
      status: mustNotRedirect(request, statusCode),
      header: (name) => headerOf(headers, name),
      body: bytes === 0 ? null : parsed(request, statusCode, headers, Buffer.concat(parts)),
    }
  }

  /**
   * Links come from the appliance, some with a name of its own in front (facts §2.1), which need not be the one it was given
   * here by. The path is taken and asked of the appliance; the session is shown to no other host.
   */
  #pathOf({ path, method }: Request): string {
    const target = URL.canParse(path, this.#base.origin) ? new URL(path, this.#base.origin) : null
    if (target?.pathname.startsWith('/rest/')) return target.pathname + target.search
    throw new FsError('EPROTO', 'oneview.send', {
      done: 'no' satisfies Done,
      message: `oneview: ${method} ${path}: that is no resource of the REST API`,
      next: 'this release of the appliance may be newer than this weft',
    })
  }

  #lateError({ method, path }: Request): FsError {
    return new FsError('ETIMEDOUT', 'oneview.send', {
      done: 'maybe' satisfies Done,
      retry: 'later',
      message: `oneview: ${method} ${path}: no whole answer within ${this.#limitMs / 1000} s`,
      next: 'look at the load of the appliance and at the network to it',
    })
  }

  #hugeError({ method, path }: Request): FsError {
    return new FsError('EFBIG', 'oneview.send', {
      done: 'maybe' satisfies Done,
      message: `oneview: ${method} ${path}: the answer is longer than ${this.#answerBytesMax} bytes, the rest was not read`,
      next: 'check that the url is that of a OneView appliance',
    })
  }
}

function baseOf(url: string): URL {
  const base = URL.canParse(url) ? new URL(url) : null
  const isPlain = base?.pathname === '/' && base.search === '' && base.username === ''
  if (base?.protocol === 'https:' && isPlain) return base
  throw new FsError('EINVAL', 'oneview.connect', {
    message: `oneview: the url is https://host or https://host:port, not '${url}'`,
    next: 'the password goes over it: http:// is not taken, and user and password are given apart',
  })
}

function headerOf(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name.toLowerCase()]
  return (Array.isArray(value) ? value[0] : value) ?? ''
}

/** The REST API sends nobody elsewhere (facts §8); a proxy or the GUI may, and there the session would be shown. */
function mustNotRedirect({ method, path }: Request, status: number): number {
  if (status < 300 || status >= 400) return status
  throw new FsError('EPROTO', 'oneview.send', {
    done: 'maybe' satisfies Done,
    status,
    message: `oneview: ${method} ${path}: the answer ${status} sends us elsewhere, which is not followed`,
    next: 'give the url of the appliance itself',
  })
}

/** Paths outside /rest answer 200 with the HTML of the GUI (facts §2.1); so may a proxy. */
function parsed(
  request: Request,
  status: number,
  headers: IncomingHttpHeaders,
  bytes: Buffer,
): unknown {
  const { method, path } = request
  const type = headerOf(headers, 'content-type')
  const isError = status >= 400
  if (!JSON_TYPE.test(type)) {
    if (isError) return null
    throw new FsError('EPROTO', 'oneview.send', {
      done: 'maybe' satisfies Done,
      status,
      message: `oneview: ${method} ${path}: the answer is ${type === '' ? 'of no type' : type}, not JSON: that is not the REST API of a OneView appliance`,
      next: 'check the url; a proxy in between may have answered',
    })
  }
  try {
    return JSON.parse(bytes.toString())
  } catch (cause) {
    if (isError) return null
    throw new FsError('EPROTO', 'oneview.send', {
      done: 'maybe' satisfies Done,
      cause,
      message: `oneview: ${method} ${path}: the answer is not JSON: ${messageOf(cause)}`,
      next: 'a proxy in between may have changed it; look at the appliance in a browser',
    })
  }
}

/** The connection broke after the request was begun, or in the middle of the answer. */
function lostError({ method, path }: Request, cause: unknown): FsError {
  return new FsError('ECONNRESET', 'oneview.send', {
    done: 'maybe' satisfies Done,
    cause,
    retry: 'later',
    message: `oneview: ${method} ${path}: the connection broke before the whole answer had come (${messageOf(cause) || codeOf(cause)})`,
    next: 'the appliance may be failing over to its other half: ask again in a few minutes',
  })
}
