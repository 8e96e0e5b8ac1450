import type { Ino } from '../base/index.ts'

const PLACES = 1024
const HEAD = 0
const TAIL = 1
const INTS_BYTES = 8
export const INO_RING_BYTES = INTS_BYTES + PLACES * 8

/**
 * Inode numbers on their way from one thread to another, in shared memory: a message for each would cost more than what it is
 * about. One thread pushes, one takes.
 */
export class InoRing {
  readonly #ends: Int32Array
  readonly #inos: Float64Array

  /** @param at a multiple of 8 */
  constructor(buffer: SharedArrayBuffer, at: number) {
    this.#ends = new Int32Array(buffer, at, 2)
    this.#inos = new Float64Array(buffer, at + INTS_BYTES, PLACES)
  }

  get count(): number {
    return (Atomics.load(this.#ends, TAIL) - Atomics.load(this.#ends, HEAD)) | 0
  }

  /** @returns false when there is no room */
  push(ino: Ino): boolean {
    const tail = Atomics.load(this.#ends, TAIL)
    if (this.count >= PLACES) return false
    this.#inos[tail & (PLACES - 1)] = ino
    Atomics.store(this.#ends, TAIL, (tail + 1) | 0)
    return true
  }

  take(): Ino[] {
    const tail = Atomics.load(this.#ends, TAIL)
    const inos: Ino[] = []
    let head = Atomics.load(this.#ends, HEAD)
    for (; head !== tail; head = (head + 1) | 0) inos.push(this.#inos[head & (PLACES - 1)] as Ino)
    Atomics.store(this.#ends, HEAD, head)
    return inos
  }
}
