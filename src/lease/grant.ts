import type { NodeId } from '../base/index.ts'

/**
 * What one copy has granted: that it promises no epoch to anybody else until a moment (design §6.1, lease). In memory only:
 * after a start of its node a copy cannot know what it granted before, so it is silent for a term.
 */
export class Grant {
  readonly #termMs: number
  #holder: NodeId | null
  #untilMs: number

  /**
   * @param holder whom the copy last promised an epoch, or null · @param silentFromMs when this life of the copy began;
   * -Infinity for a copy that was made in it, which cannot have granted anything before
   */
  constructor(termMs: number, holder: NodeId | null, silentFromMs: number) {
    this.#termMs = termMs
    this.#holder = holder
    this.#untilMs = silentFromMs + termMs
  }

  /** Grant a term to `owner`, counted from now. @returns false while another one's lasts */
  give(owner: NodeId, nowMs: number): boolean {
    if (this.waitMs(owner, nowMs) > 0) return false
    this.#holder = owner
    this.#untilMs = nowMs + this.#termMs
    return true
  }

  /** `owner` serves no more: who comes next need not wait for the term to end. */
  end(owner: NodeId): void {
    if (owner === this.#holder) this.#untilMs = Number.NEGATIVE_INFINITY
  }

  /** Until an epoch may be promised to `candidate`; 0 when it may be now. */
  waitMs(candidate: NodeId, nowMs: number): number {
    return candidate === this.#holder ? 0 : Math.max(0, this.#untilMs - nowMs)
  }
}
