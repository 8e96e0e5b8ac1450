/**
 * journal: the record files of one volume on one drive. Called by store (the owner's appends), by replication (shipping)
 * and by rebuilds of the view. Knows records as bytes: a clear header, and a body that is sealed by whoever is passed in.
 *
 * The caller holds the position: a `JournalHead` stands in the view, and the view's write transaction is the lock under
 * which threads append in turn, each with a Journal of its own on the same directory. So nothing here remembers where the
 * log ends, and what lies behind the head given to `append` is cut away, being of a transaction that was never committed.
 *
 * Invariants: sequence numbers grow by one, epochs never fall; every record names the seal tag of the one before (chain);
 * a record lies in one file, whole; a file is durable before the next one begins; after a failed sync nothing more is
 * appended or synced (design §6.7). Bytes: docs/format.md, journal.
 */
export { beginAtCheckpoint, finishBeginning } from './begin-at.ts'
export {
  type Checkpoint,
  checkpointFileBytesMax,
  checkpointFront,
  checkpointPath,
  decodeCheckpoint,
  encodeCheckpoint,
  type LogPlace,
  readCheckpoint,
  writeCheckpoint,
} from './checkpoint-file.ts'
export type { FileHeader } from './file-header.ts'
export { createJournal, Journal, type JournalFile, type JournalOptions } from './journal.ts'
export {
  chainBytes,
  type JournalHead,
  type RecordFields,
  type RecordHeader,
  type RecordSealer,
  type RequestId,
  splitRecords,
  tagOfRecord,
} from './record.ts'
export { beginAnew, type Resumed, resumeAfter } from './resume.ts'
export {
  firstHead,
  holdsHead,
  placeBehind,
  placesBehind,
  type ScannedRecord,
  type ScanOptions,
  scan,
  startOfFile,
} from './scan.ts'
