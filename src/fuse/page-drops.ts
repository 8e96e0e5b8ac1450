import type { Ino } from '../base/index.ts'

/** Files remembered; forgetting one costs its pages at the next open, nothing else. */
const KNOWN_MAX = 65_536

/**
 * Of which files of one volume a kernel that is told to keep the pages (FOPEN_KEEP_CACHE) keeps no old ones. An open without
 * that drops them, but not when it is answered: the thread that opens does it once it runs on. Until a request comes through
 * its descriptor, who opens the file beside it must drop them too.
 * Source: linux fs/fuse/file.c, fuse_finish_open.
 */
export class PageDrops {
  readonly #known = new Set<Ino>()
  /** Handles that were given out with an order to drop. */
  readonly #dropping = new Map<Ino, Set<number>>()
  readonly #inoOf = new Map<number, Ino>()

  /** Whether pages of the file were dropped, and nobody is still to drop some. */
  isSure(ino: Ino): boolean {
    return this.#known.has(ino) && !this.#dropping.has(ino)
  }

  /** An open is about to be answered with an order to drop. */
  dropping(ino: Ino, handle: number): void {
    this.#know(ino)
    const handles = this.#dropping.get(ino) ?? new Set()
    this.#dropping.set(ino, handles.add(handle))
    this.#inoOf.set(handle, ino)
  }

  /** The kernel has dropped the pages now. */
  dropped(ino: Ino): void {
    this.#know(ino)
  }

  /** Hot. A request came through a descriptor. */
  used(handle: number): void {
    const ino = this.#inoOf.get(handle)
    if (ino === undefined) return
    this.#inoOf.delete(handle)
    const handles = this.#dropping.get(ino)
    handles?.delete(handle)
    if (handles?.size === 0) this.#dropping.delete(ino)
  }

  /** Of an open nobody knows whether it was executed, or its order to drop was obeyed. */
  unsure(ino: Ino): void {
    this.#known.delete(ino)
  }

  #know(ino: Ino): void {
    if (this.#known.size >= KNOWN_MAX) this.#known.clear()
    this.#known.add(ino)
  }
}
