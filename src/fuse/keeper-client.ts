import { Socket } from 'node:net'
import { type Clock, systemClock } from '../base/clock.ts'
import { type ErrnoCode, FsError } from '../base/errors.ts'
import {
  type BindAnswer,
  type KeeperCall,
  type KeeperMessage,
  type KeeperState,
  keeperFdVariable,
  LineSplitter,
  type MountAnswer,
  type SlotState,
  type UnmountAnswer,
} from './keeper-protocol.ts'

/** Above the keeper's own deadlines (30 s for a mount command, three of them at most), so its reason arrives first. */
const ANSWER_MS = 100_000

interface Waiting {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: FsError) => void
  readonly cancel: () => void
}

/**
 * The daemon's side of the keeper. One per daemon. Every call rejects with the keeper's FsError, with ETIMEDOUT,
 * or with EPIPE when the keeper is gone.
 */
export class KeeperClient {
  /** Told once, right after the start; rejects with EPIPE when the keeper dies before that. */
  readonly state: Promise<KeeperState>
  readonly #socket: Socket
  readonly #clock: Clock
  readonly #waiting = new Map<number, Waiting>()
  #lastId = 0
  #free: SlotState[] = []
  #slotCount = 0
  #fuseError: FsError | null = null
  #onPleaseStop = () => {}
  #onLost = () => {}
  #onSlot: ((slot: SlotState) => void) | null = null
  /** Told before anybody listened. */
  readonly #slots: SlotState[] = []
  #lost = false
  #pleaseStop = false
  #gotState!: (state: KeeperState) => void
  #noState!: (error: FsError) => void

  constructor(fd: number, clock: Clock = systemClock()) {
    this.#clock = clock
    this.state = new Promise((resolve, reject) => {
      this.#gotState = resolve
      this.#noState = reject
    })
    this.state.catch(() => {}) // who never asks for it must not be ended by it
    this.#socket = new Socket({ fd, readable: true, writable: true })
    const splitter = new LineSplitter((line) => this.#hear(JSON.parse(line) as KeeperMessage))
    this.#socket.setEncoding('utf8').on('data', (text: string) => splitter.feed(text))
    this.#socket.on('error', () => {}) // 'close' follows
    this.#socket.on('close', () => this.#lose())
  }

  /** @returns null when this process was not started by a keeper */
  static connect(clock?: Clock): KeeperClient | null {
    const fd = process.env[keeperFdVariable]
    if (fd === undefined) return null
    delete process.env[keeperFdVariable]
    return new KeeperClient(Number(fd), clock)
  }

  /** The keeper is about to stop: leave, in order, within 10 s. Called at once when it was asked already. */
  onPleaseStop(call: () => void): void {
    this.#onPleaseStop = call
    if (this.#pleaseStop) call()
  }

  /** The keeper is dead: nobody will restart this daemon, and a new keeper waits for its end. Leave at once. */
  onLost(call: () => void): void {
    this.#onLost = call
    if (this.#lost) call()
  }

  /** A mount that an earlier life of the daemon asked for has been made, or was refused. */
  onSlot(call: (slot: SlotState) => void): void {
    this.#onSlot = call
    for (const slot of this.#slots.splice(0)) call(slot)
  }

  /** Unused slots of this life; below two, ask for a restart soon. Known once `state` has resolved. */
  get freeSlots(): number {
    return this.#free.length
  }

  /**
   * Take an unused slot; it is spent, whatever becomes of it.
   * @throws FsError the reason why there are none at all, or EMFILE when all are used up: `restart()` brings more
   */
  takeSlot(): SlotState {
    const slot = this.#free.shift()
    if (slot !== undefined) return slot
    if (this.#fuseError !== null) throw this.#fuseError
    throw new FsError('EMFILE', 'mount', {
      message: `all ${this.#slotCount} mounts of this daemon are used up`,
      retry: 'later',
    })
  }

  /**
   * Resolves when mount(2) has returned. INIT may be read before that; until mount(2), reads of the slot's
   * descriptor give EPERM: try again after some milliseconds, until this settles.
   * A mount that was refused leaves the slot fresh: pass it to `giveBack`.
   */
  mount(
    slot: number,
    target: string,
    { source = 'weft', options = [] }: { source?: string; options?: readonly string[] } = {},
  ): Promise<MountAnswer> {
    return this.#call({ verb: 'mount', slot, target, source, options }) as Promise<MountAnswer>
  }

  /** Only for a slot whose mount was refused before it was bound (probeFuse says 'fresh'). */
  giveBack(slot: SlotState): void {
    this.#free.unshift(slot)
  }

  unmount(slot: number, lazy = false): Promise<UnmountAnswer> {
    return this.#call({ verb: 'unmount', slot, lazy }) as Promise<UnmountAnswer>
  }

  /** A second place of a slot's mount. @param options flags that hold there, notOfOnePlace() of them empty */
  bind(slot: number, target: string, options: readonly string[] = []): Promise<BindAnswer> {
    return this.#call({ verb: 'bind', slot, target, options }) as Promise<BindAnswer>
  }

  unbind(target: string, lazy = false): Promise<UnmountAnswer> {
    return this.#call({ verb: 'unbind', target, lazy }) as Promise<UnmountAnswer>
  }

  /**
   * What the next daemon must know of this mount. Await it before the INIT reply is written: INIT is never asked
   * again, and a daemon killed between the two would leave a mount that nobody knows how to speak to.
   */
  async saveState(slot: number, info: unknown): Promise<void> {
    await this.#call({ verb: 'mounted-state', slot, info })
  }

  /** A read of the slot gave ENODEV: its mount is over. What is left of it in the tree is taken away. */
  async ended(slot: number): Promise<void> {
    await this.#call({ verb: 'ended', slot })
  }

  /** Then leave: the keeper waits 5 s, kills, and starts the next daemon, from `program` if given. */
  async restart(program: string | null = null): Promise<void> {
    await this.#call({ verb: 'restart', program })
  }

  /** The keeper unmounts everything, asks to stop, and ends. Go on serving until it asks. */
  async shutdown(): Promise<void> {
    await this.#call({ verb: 'shutdown' })
  }

  async ready(): Promise<void> {
    await this.#call({ verb: 'ready' })
  }

  /** For the end of the process; the keeper sees nothing of it but the process's end. */
  close(): void {
    this.#lost = true
    this.#socket.destroy()
  }

  #call(call: KeeperCall): Promise<unknown> {
    if (this.#lost) return Promise.reject(gone(call.verb))
    this.#lastId += 1
    const id = this.#lastId
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(ANSWER_MS, () => {
        this.#waiting.delete(id)
        reject(
          new FsError('ETIMEDOUT', call.verb, {
            message: `the keeper did not answer ${call.verb} within ${ANSWER_MS / 1000} s`,
          }),
        )
      })
      this.#waiting.set(id, { resolve, reject, cancel })
      this.#socket.write(`${JSON.stringify({ ...call, id })}\n`)
    })
  }

  #hear(message: KeeperMessage): void {
    switch (message.kind) {
      case 'state':
        this.#free = message.slots.filter((slot) => !slot.used)
        this.#slotCount = message.slots.length
        if (message.fuseError !== null) this.#fuseError = errorOf(message.fuseError)
        this.#gotState(message)
        return
      case 'please-stop':
        this.#pleaseStop = true
        this.#onPleaseStop()
        return
      case 'slot':
        if (this.#onSlot) this.#onSlot(message.slot)
        else this.#slots.push(message.slot)
        return
      case 'answer': {
        const waiting = this.#waiting.get(message.id)
        if (waiting === undefined) return
        this.#waiting.delete(message.id)
        waiting.cancel()
        if ('error' in message) waiting.reject(errorOf(message.error))
        else waiting.resolve(message.result)
        return
      }
      default:
        message satisfies never
    }
  }

  #lose(): void {
    if (this.#lost) return
    this.#lost = true
    this.#noState(gone('state'))
    for (const waiting of this.#waiting.values()) {
      waiting.cancel()
      waiting.reject(gone('call'))
    }
    this.#waiting.clear()
    this.#onLost()
  }
}

function errorOf(error: { code: string; op: string; message: string }): FsError {
  return new FsError(error.code as ErrnoCode, error.op, { message: error.message })
}

function gone(op: string): FsError {
  return new FsError('EPIPE', op, { message: 'the keeper of this daemon is gone' })
}
