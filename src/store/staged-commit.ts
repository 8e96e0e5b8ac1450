import type { Inode } from '../meta/index.ts'
import type { ExtentEditor } from './draft.ts'
import type { Interval } from './intervals.ts'
import type { Staged, StagingReader } from './staging.ts'

/** Put a file's staged ranges, in order, into a record, the data inside. */
export function putInline(
  editor: ExtentEditor,
  intervals: readonly Interval[],
  staging: StagingReader,
): void {
  for (const { from, to, staged, skip } of intervals) {
    const data = Buffer.allocUnsafe(to - from)
    staging.read(staged, skip, data, 0, data.length)
    editor.carve(from, to)
    editor.put(from, { kind: 'inline', length: data.length, data })
  }
}

/**
 * What staged writes that are committed make of their file's inode: size, bytes, and the times of the newest, unless
 * somebody set them since. Changes `inode`.
 * @param end the file is at least this long · @param bytesDelta bytes that extents gained
 */
export function coverStaged(inode: Inode, end: number, newest: Staged, bytesDelta: number): void {
  inode.size = Math.max(inode.size, end)
  inode.bytes += bytesDelta
  inode.dataThrough = newest.number
  takeTimes(inode, newest)
}

/** The times of a file's newest staged write, unless somebody set them since. Changes `inode`. */
export function takeTimes(inode: Inode, newest: Staged): void {
  if (newest.number <= inode.timesSetAt) return
  inode.mtime = { sec: newest.sec, nsec: newest.nsec }
  inode.ctime = newest.changed ?? inode.mtime
}
