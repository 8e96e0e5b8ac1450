import type { JournalHead } from '../journal/index.ts'

/** Each about 150 bytes. */
const KEPT = 4096

/** Where the newest records of a log end: to find one of them on the drive is to read its file from the start. */
export class RecentPlaces {
  readonly #places = new Map<number, JournalHead>()

  note(place: JournalHead): void {
    this.#places.delete(place.seq)
    this.#places.set(place.seq, place)
    if (this.#places.size <= KEPT) return
    for (const oldest of this.#places.keys()) {
      this.#places.delete(oldest)
      return
    }
  }

  behind(seq: number): JournalHead | null {
    return this.#places.get(seq) ?? null
  }

  /** What stood behind record `seq` is gone. */
  cutBehind(seq: number): void {
    for (const later of [...this.#places.keys()]) if (later > seq) this.#places.delete(later)
  }

  /** What stood before the file that begins behind record `seq` is gone; that place too was known as the end of another. */
  dropThrough(seq: number): void {
    for (const older of [...this.#places.keys()]) if (older <= seq) this.#places.delete(older)
  }

  clear(): void {
    this.#places.clear()
  }
}
