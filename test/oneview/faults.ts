/** Trouble for single requests: asked for by a test, or drawn from a seed. */

export type Trouble =
  /** Refused with this status, nothing done. A 401 with INSUFFICIENT_PRIVILEGES is not a lost session. */
  | { readonly what: 'status'; readonly status: number; readonly errorCode?: string }
  /** The connection is cut, nothing done. */
  | { readonly what: 'dropBefore' }
  /** The connection is cut, and the request was carried out. */
  | { readonly what: 'dropAfter' }
  | { readonly what: 'slow'; readonly ms: number }
  /** Accepted, and its task ends in Error. Without effect on what makes no task. */
  | { readonly what: 'taskError'; readonly errorCode: string }
  /** All sessions end before the request is looked at. */
  | { readonly what: 'loseSessions' }

export interface Fault {
  /** Any when absent. */
  readonly method?: string
  /** What the path and query contain; any when absent. */
  readonly path?: string | RegExp
  /** Default 1. */
  readonly times?: number
  readonly trouble: Trouble
}

export class Faults {
  #planned: { fault: Fault; left: number }[] = []
  #chance: (method: string, path: string) => Trouble | undefined = () => undefined

  add(fault: Fault): void {
    this.#planned.push({ fault, left: fault.times ?? 1 })
  }

  clear(): void {
    this.#planned = []
  }

  random(seed: number, probability: number): void {
    const draw = mulberry32(seed)
    this.#chance = (method, path) => {
      if (draw() >= probability) return undefined
      const changes = method !== 'GET' && !path.startsWith('/rest/login-sessions')
      const troubles = changes ? WRITE_TROUBLES : READ_TROUBLES
      return troubles[Math.floor(draw() * troubles.length)]
    }
  }

  /** The trouble that this request gets into. */
  next(method: string, path: string): Trouble | undefined {
    const found = this.#planned.find(({ fault }) => matches(fault, method, path))
    if (found === undefined) return this.#chance(method, path)
    found.left--
    if (found.left <= 0) this.#planned = this.#planned.filter((one) => one !== found)
    return found.fault.trouble
  }
}

const READ_TROUBLES: readonly Trouble[] = [
  { what: 'dropBefore' },
  { what: 'dropAfter' },
  { what: 'slow', ms: 50 },
  { what: 'status', status: 500 },
  { what: 'status', status: 503 },
  { what: 'loseSessions' },
]

const WRITE_TROUBLES: readonly Trouble[] = [
  ...READ_TROUBLES,
  { what: 'status', status: 409 },
  { what: 'status', status: 412 },
  { what: 'taskError', errorCode: 'SIMULATED_TROUBLE' },
]

function matches(fault: Fault, method: string, path: string): boolean {
  if (fault.method !== undefined && fault.method !== method) return false
  if (fault.path === undefined) return true
  return typeof fault.path === 'string' ? path.includes(fault.path) : fault.path.test(path)
}

/** The same numbers, 0 to 1, for the same seed. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
