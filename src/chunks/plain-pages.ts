import { assert } from '../base/index.ts'

/**
 * A few unsealed pages, least recently used out first, so that neighbouring small reads unseal a
 * page once. Slots lie in one buffer; a page is named by the serial number of its open chunk,
 * which is never given twice, so nothing here can be stale.
 */
export class PlainPages {
  readonly slotBytes: number
  readonly #slots: number
  /** null until the first claim: most threads read no chunk at all. */
  #buffer: Buffer | null = null
  readonly #atByPage = new Map<number, number>()
  #used = 0
  #spareAt = -1

  constructor(slots: number, slotBytes: number) {
    assert(slots > 0, 'there is a slot to unseal into')
    this.#slots = slots
    this.slotBytes = slotBytes
  }

  get buffer(): Buffer {
    this.#buffer ??= Buffer.allocUnsafeSlow(this.#slots * this.slotBytes)
    return this.#buffer
  }

  /** Offset of a kept page in `buffer`, -1 when it is not here. Hot. */
  find(page: number): number {
    const at = this.#atByPage.get(page)
    if (at === undefined) return -1
    this.#atByPage.delete(page)
    this.#atByPage.set(page, at)
    return at
  }

  /** Offset of a slot to unseal into; it belongs to no page until `keep`. */
  claim(): number {
    if (this.#spareAt < 0) this.#spareAt = this.#freeSlot()
    return this.#spareAt
  }

  /** The claimed slot holds this page now. */
  keep(page: number): void {
    this.#atByPage.set(page, this.#spareAt)
    this.#spareAt = -1
  }

  /** Forget and overwrite everything: a volume was locked. */
  wipe(): void {
    this.#atByPage.clear()
    this.#used = 0
    this.#spareAt = -1
    this.#buffer?.fill(0)
  }

  #freeSlot(): number {
    if (this.#used < this.#slots) return this.#used++ * this.slotBytes
    for (const [page, at] of this.#atByPage) {
      this.#atByPage.delete(page)
      return at
    }
    return 0
  }
}
