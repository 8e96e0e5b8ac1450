import { request } from 'node:http'
import { join } from 'node:path'
import type { ApiError } from '../api/index.ts'
import { codeOf, messageOf, sleep } from '../base/index.ts'
import { CliError, fromApi } from './cli-error.ts'
import { EXIT } from './exit-codes.ts'
import { keeperPid } from './keeper-lock.ts'
import type { Terminal } from './terminal.ts'

/** No request takes longer than this to be answered; what is longer is a job. Attach may wait a minute for flushes. */
const ANSWER_MS_MAX = 120_000
/** A daemon that its keeper restarts is back within this; requests that could not be sent wait for it. */
const RESTART_MS_MAX = 10_000
const RETRY_MS = 100

type Method = 'GET' | 'POST' | 'DELETE'

interface Reply {
  readonly status: number
  readonly body: Buffer
}

/** Speaks to the node of one home over its control socket. */
export class NodeClient {
  readonly home: string
  readonly #terminal: Terminal

  constructor(home: string, terminal: Terminal) {
    this.home = home
    this.#terminal = terminal
  }

  get<T>(path: string): Promise<T> {
    return this.#json<T>('GET', path)
  }

  post<T>(path: string, body: unknown = {}): Promise<T> {
    return this.#json<T>('POST', path, body)
  }

  delete<T>(path: string): Promise<T> {
    return this.#json<T>('DELETE', path)
  }

  /** The answer as text, whatever its type: /metrics. */
  async text(method: Method, path: string, body?: unknown): Promise<string> {
    return (await this.#send(method, path, body)).toString('utf8')
  }

  /** Whether a node answers now. @throws CliError when one may run but we may not speak to it */
  async isUp(): Promise<boolean> {
    try {
      await this.#once('GET', '/v1/status')
      return true
    } catch (error) {
      if (isAbsent(error)) return false
      if (codeOf(error) === 'ECONNRESET' || codeOf(error) === 'EPIPE') return false
      throw this.#explain(error)
    }
  }

  async #json<T>(method: Method, path: string, body?: unknown): Promise<T> {
    const text = (await this.#send(method, path, body)).toString('utf8')
    try {
      return JSON.parse(text) as T
    } catch (cause) {
      throw new CliError({
        exit: EXIT.failed,
        code: 'EPROTO',
        message: `the node on ${this.home} answered something that is not JSON`,
        next: 'check that it runs the same version: weft status',
        cause,
      })
    }
  }

  /** Waits for a node that is being restarted; what was sent is never sent twice. */
  async #send(method: Method, path: string, body?: unknown): Promise<Buffer> {
    const { clock } = this.#terminal
    const deadline = clock.monotonicMs() + RESTART_MS_MAX
    for (;;) {
      let reply: Reply
      try {
        reply = await this.#once(method, path, body)
      } catch (error) {
        const restarting = isAbsent(error) && keeperPid(this.home) !== null
        if (!restarting || clock.monotonicMs() > deadline) throw this.#explain(error)
        await sleep(clock, RETRY_MS)
        continue
      }
      // Outside of the try: a node that answers ENOENT is not a node whose socket is not there.
      if (reply.status < 400) return reply.body
      throw fromApi(errorOf(reply))
    }
  }

  #once(method: Method, path: string, body?: unknown): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const bytes = body === undefined ? null : Buffer.from(JSON.stringify(body))
      const sent = request(
        {
          socketPath: join(this.home, 'control.sock'),
          method,
          path,
          agent: false,
          timeout: ANSWER_MS_MAX,
          headers:
            bytes === null
              ? {}
              : { 'content-type': 'application/json', 'content-length': bytes.length },
        },
        (answer) => {
          const parts: Buffer[] = []
          answer.on('data', (part: Buffer) => parts.push(part))
          answer.on('end', () => {
            bytes?.fill(0)
            resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(parts) })
          })
          answer.on('error', reject)
        },
      )
      sent.on('timeout', () =>
        sent.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })),
      )
      sent.on('error', (error) => {
        bytes?.fill(0)
        reject(error)
      })
      sent.end(bytes)
    })
  }

  #explain(error: unknown): CliError {
    if (error instanceof CliError) return error
    const { home } = this
    const subject = { home }
    const code = codeOf(error)
    if (isAbsent(error)) {
      const running = keeperPid(home)
      if (running !== null) {
        const message = `the node on ${home} (keeper pid ${running}) is starting or restarting and does not answer yet`
        return new CliError({
          exit: EXIT.notRunning,
          code,
          message,
          next: `try again in a moment; see ${home}/log/keeper.log`,
          subject,
          cause: error,
        })
      }
      return new CliError({
        exit: EXIT.notRunning,
        code,
        message: `no node runs on ${home}`,
        next: `start it: weft${home === DEFAULT_HOME ? '' : ` --home ${home}`} up`,
        subject,
        cause: error,
      })
    }
    if (code === 'EACCES' || code === 'EPERM') {
      return new CliError({
        exit: EXIT.permission,
        code,
        message: `not allowed to speak to the node on ${home}`,
        next: 'run the command as root, or as the user who started the node',
        subject,
        cause: error,
      })
    }
    if (code === 'ETIMEDOUT') {
      return new CliError({
        exit: EXIT.timeout,
        code,
        message: `the node on ${home} did not answer within ${ANSWER_MS_MAX / 1000} s`,
        next: `see ${home}/log/keeper.log; \`weft doctor\` checks the machine`,
        subject,
        cause: error,
      })
    }
    if (code === 'ECONNRESET' || code === 'EPIPE') {
      return new CliError({
        exit: EXIT.failed,
        code,
        message: `the node on ${home} ended before it answered; whether it did what was asked is not known`,
        next: 'look with `weft status`, then try again',
        subject,
        cause: error,
      })
    }
    return new CliError({
      exit: EXIT.failed,
      code,
      message: `cannot speak to the node on ${home}: ${messageOf(error)}`,
      next: 'run `weft doctor`',
      subject,
      cause: error,
    })
  }
}

export const DEFAULT_HOME = '/var/lib/weft'

/** Nobody listens: no socket, or one that a dead daemon left. */
function isAbsent(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR'
}

function errorOf(reply: Reply): ApiError {
  try {
    const { error } = JSON.parse(reply.body.toString('utf8')) as { error?: ApiError }
    if (typeof error?.code === 'string' && typeof error.message === 'string') return error
  } catch {
    // Falls through: an answer without our body is described below.
  }
  const message = `the node answered status ${reply.status} without saying why`
  return {
    code: 'EPROTO',
    message,
    next: 'check that it runs the same version: weft status',
    op: '',
    subject: {},
  }
}
