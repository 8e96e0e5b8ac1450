import type { Clock } from './clock.ts'

/** What a background loop sleeps by: until it is woken, or a while later. Woken while it is at work it does not sleep next. */
export class Alarm {
  readonly #clock: Clock
  #rung = false
  #wake: () => void = () => {}

  constructor(clock: Clock) {
    this.#clock = clock
  }

  ring(): void {
    this.#rung = true
    this.#wake()
  }

  async sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      if (this.#rung) return resolve()
      const cancel = this.#clock.after(ms, resolve)
      this.#wake = () => {
        cancel()
        resolve()
      }
    })
    this.#rung = false
    this.#wake = () => {}
  }
}
