import { readFileSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import { Agent, request } from 'node:https'
import * as assert from 'uvu/assert'
import type { Body } from './fixtures.ts'
import { Simulator, type SimulatorOptions } from './simulator.ts'

/** Requests as any client would make them, for the tests of the simulator. */

export interface Heard {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** Parsed, when it is JSON. */
  readonly body: Body
}

export interface Said {
  readonly body?: unknown
  /** One that is undefined is not sent, even if it would have been. */
  readonly headers?: Readonly<Record<string, string | undefined>>
  /** In place of JSON. */
  readonly text?: string
  /** An address of this machine to come from. */
  readonly from?: string
}

export type Exchange = (method: string, path: string, said: Said) => Promise<Heard>

/** A client's side of it. */
export interface Asking {
  /** Within a session and with X-API-Version, if `headers` does not say otherwise. */
  readonly ask: (method: string, path: string, said?: Said) => Promise<Heard>
  /** The members of a collection. */
  readonly list: (path: string) => Promise<Body[]>
  /** Asks, and waits for the end of the task. */
  readonly work: (method: string, path: string, said?: Said) => Promise<Body>
  /** Polls the task that an answer is about. */
  readonly ended: (answer: Heard) => Promise<Body>
  /** Once more, when the session was lost. */
  readonly login: () => Promise<void>
}

export interface World extends Asking {
  readonly simulator: Simulator
}

const DEADLINE_MS = 5000

export async function inFrame(
  options: SimulatorOptions & { readonly version?: number },
  test: (world: World) => Promise<void>,
): Promise<void> {
  const simulator = await Simulator.start(options)
  const agent = new Agent({ keepAlive: true, ca: readFileSync(simulator.certificate) })
  try {
    const version = options.version ?? options.currentVersion ?? 1600
    const asking = askingBy(exchangeOver(agent, simulator.url), credentials(simulator), version)
    await asking.login()
    await test({ simulator, ...asking })
  } finally {
    agent.destroy()
    await simulator.close()
  }
}

/** Logged in to nothing yet. */
export function askingBy(exchange: Exchange, login: Body, version: number): Asking {
  let session: string | undefined
  const ask: Asking['ask'] = (method, path, said = {}) =>
    exchange(method, path, {
      ...said,
      headers: { 'X-API-Version': String(version), auth: session, ...said.headers },
    })
  const ended: Asking['ended'] = async (answer) => {
    assert.is(answer.status, 202, answer.text)
    const uri = String(answer.body.uri)
    const untilMs = Date.now() + DEADLINE_MS
    for (;;) {
      const { body } = await ask('GET', uri)
      if (body.taskState === 'Completed' || body.taskState === 'Error') return body
      if (Date.now() > untilMs) throw new Error(`${uri} does not end: ${JSON.stringify(body)}`)
      await pause(2)
    }
  }
  return {
    ask,
    list: async (path) => (await ask('GET', path)).body.members as Body[],
    work: async (...asked) => ended(await ask(...asked)),
    ended,
    login: async () => {
      const { body } = await ask('POST', '/rest/login-sessions', { body: login })
      session = String(body.sessionID)
    },
  }
}

export function credentials({ user, password }: Pick<Simulator, 'user' | 'password'>): Body {
  return { userName: user, password, loginMsgAck: true }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** @throws when it does not become true in time */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = Date.now() + DEADLINE_MS
  while (!(await holds())) {
    if (Date.now() > endMs) throw new Error(`not in time: ${what}`)
    await pause(5)
  }
}

/** An error as both a refusal and a task carry it. */
export function codeOf(answer: Heard | Body): string {
  const { body, taskErrors } = answer as { body?: Body; taskErrors?: Body[] }
  return String((taskErrors?.[0] ?? body)?.errorCode)
}

export function exchangeOver(agent: Agent, url: string): Exchange {
  return (method, path, said) => exchange(agent, new URL(path, url), method, said)
}

function exchange(
  agent: Agent,
  url: URL,
  method: string,
  { body, text, headers = {}, from }: Said,
): Promise<Heard> {
  const bytes = text ?? (body === undefined ? undefined : JSON.stringify(body))
  const sent = Object.entries({
    ...(bytes === undefined ? {} : { 'Content-Type': 'application/json' }),
    ...headers,
  }).filter((header): header is [string, string] => header[1] !== undefined)
  return new Promise((resolve, reject) => {
    const options = { method, agent, headers: Object.fromEntries(sent), localAddress: from }
    const asked = request(url, options, (answer) => {
      const parts: Buffer[] = []
      answer.on('data', (part: Buffer) => parts.push(part))
      answer.on('error', reject)
      answer.on('end', () => {
        const heard = Buffer.concat(parts).toString('utf8')
        const isJson = answer.headers['content-type']?.startsWith('application/json') === true
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          text: heard,
          body: isJson && heard !== '' ? JSON.parse(heard) : {},
        })
      })
    })
    asked.on('error', reject)
    asked.end(bytes)
  })
}
