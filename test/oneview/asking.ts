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

export interface World {
  readonly simulator: Simulator
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

const DEADLINE_MS = 5000

export async function inFrame(
  options: SimulatorOptions & { readonly version?: number },
  test: (world: World) => Promise<void>,
): Promise<void> {
  const simulator = await Simulator.start(options)
  const agent = new Agent({ keepAlive: true, ca: readFileSync(simulator.certificate) })
  try {
    const version = String(options.version ?? options.currentVersion ?? 1600)
    let session: string | undefined
    const ask: World['ask'] = (method, path, said = {}) =>
      exchange(agent, simulator.url, method, path, {
        ...said,
        headers: { 'X-API-Version': version, auth: session, ...said.headers },
      })
    const login = async () => {
      const { body } = await ask('POST', '/rest/login-sessions', { body: credentials(simulator) })
      session = String(body.sessionID)
    }
    await login()
    const ended: World['ended'] = async (answer) => {
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
    await test({
      simulator,
      ask,
      list: async (path) => (await ask('GET', path)).body.members as Body[],
      work: async (...asked) => ended(await ask(...asked)),
      ended,
      login,
    })
  } finally {
    agent.destroy()
    await simulator.close()
  }
}

export function credentials({ user, password }: Simulator): Body {
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

function exchange(
  agent: Agent,
  url: string,
  method: string,
  path: string,
  { body, text, headers = {}, from }: Said,
): Promise<Heard> {
  const bytes = text ?? (body === undefined ? undefined : JSON.stringify(body))
  const sent = Object.entries({
    ...(bytes === undefined ? {} : { 'Content-Type': 'application/json' }),
    ...headers,
  }).filter((header): header is [string, string] => header[1] !== undefined)
  return new Promise((resolve, reject) => {
    const options = { method, agent, headers: Object.fromEntries(sent), localAddress: from }
    const asked = request(new URL(path, url), options, (answer) => {
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
