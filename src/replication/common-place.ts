import { ProtocolError, type RecordSeq } from '../base/index.ts'
import type { Place } from './messages.ts'

/** Sequences asked about in one question. */
const PROBES = 16

/** A log, as far as it is kept. */
export interface Places {
  readonly head: Place
  /** The places behind these records, in their order; null where the log has none. To find old ones is to read a file. */
  placesBehind(seqs: readonly RecordSeq[]): readonly (Place | null)[]
}

/**
 * The last place that a log here and one elsewhere both have. The seal tag of a record stands for every record before it,
 * so equal tags mean equal logs up to there. Mostly one log is the beginning of the other, which is looked at first; else a
 * search by halves, many at a time, finds where they part. Either log may have been cut at its beginning: of a place that
 * one of them does not have any more nothing is known.
 * @param end where the other log ends · @param tagsAt of the other log, null where it has no record
 * @returns null when no place is left that both have
 * @throws ProtocolError when the other one's answer is none
 */
export async function commonPlace(
  log: Places,
  end: Place,
  tagsAt: (seqs: readonly RecordSeq[]) => Promise<readonly (Buffer | null)[]>,
): Promise<Place | null> {
  const ask = async (seqs: readonly RecordSeq[]) => {
    const tags = await tagsAt(seqs)
    if (tags.length !== seqs.length) throw new ProtocolError('not a tag for each sequence asked')
    return tags
  }
  const ifBoth = async (seq: RecordSeq): Promise<Place | null> => {
    const [place] = log.placesBehind([seq])
    if (!place) return null
    const [tag] = seq === end.seq ? [end.chain] : await ask([seq])
    return tag && place.chain.equals(tag) ? place : null
  }
  const shorter = Math.min(end.seq, log.head.seq) as RecordSeq
  const whole = await ifBoth(shorter)
  if (whole) return whole
  // Nothing at or below `low` is known to differ; from `high` on they differ, or one of them has nothing.
  let low = 0
  let high = shorter + 1
  while (high - low > 1) {
    const step = Math.ceil((high - low) / (PROBES + 1))
    const seqs: RecordSeq[] = []
    for (let seq = low + step; seq < high; seq += step) seqs.push(seq as RecordSeq)
    const tags = await ask(seqs)
    const places = log.placesBehind(seqs)
    const parted = seqs.findIndex((_, i) => {
      const [tag, place] = [tags[i], places[i]]
      return tag && place ? !place.chain.equals(tag) : false
    })
    if (parted === -1) low = seqs.at(-1) as number
    else {
      high = seqs[parted] as number
      if (parted > 0) low = seqs[parted - 1] as number
    }
  }
  return await ifBoth(low as RecordSeq)
}
