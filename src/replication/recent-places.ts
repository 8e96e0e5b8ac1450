import type { RecordSeq, VolumeId } from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import { type JournalHead, placesBehind } from '../journal/index.ts'

export interface LogFiles {
  readonly disk: Disk
  readonly volume: VolumeId
  readonly directory: string
}

/** Each about 150 bytes. */
const KEPT = 4096

/** Where the records of a log end, the newest from memory: to find one on the drive is to read its file from the start. */
export class RecentPlaces {
  readonly #log: LogFiles
  readonly #places = new Map<number, JournalHead>()

  constructor(log: LogFiles) {
    this.#log = log
  }

  note(place: JournalHead): void {
    this.#places.delete(place.seq)
    this.#places.set(place.seq, place)
    if (this.#places.size <= KEPT) return
    for (const oldest of this.#places.keys()) {
      this.#places.delete(oldest)
      return
    }
  }

  /**
   * @param seqs in rising order · @param head the log ends here · @param from nothing before this record is kept
   * @returns the place behind each, null where the log has none
   */
  behind(seqs: readonly RecordSeq[], head: JournalHead, from = 0): (JournalHead | null)[] {
    const { disk, directory, volume } = this.#log
    const isKnown = (seq: RecordSeq) => seq < from || seq >= head.seq || this.#places.has(seq)
    const unknown = seqs.filter((seq) => !isKnown(seq))
    const read = placesBehind(disk, directory, volume, unknown)
    return seqs.map((seq) => {
      if (!isKnown(seq)) return read.shift() ?? null
      if (seq === head.seq) return head
      return seq < from ? null : (this.#places.get(seq) ?? null)
    })
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
