import { assert, limits } from '../base/index.ts'
import { ExtentEditor } from '../store/index.ts'
import { ABANDONED } from './abandoned.ts'
import type { StagedFile } from './staged-files.ts'
import type { VolumeFs } from './volume-fs.ts'

/** As many small files as travel in one record; more are better packed into a chunk by the engine. */
const FILES_MAX = 16

/**
 * Commit all that is staged as one record with the data inside, in this thread: what a database's commit, or a rename
 * behind a small write, wants. Only while the engine has none of it in hand.
 * @returns false when there is too much, or the engine has it: the engine commits then
 */
export function commitStagedInline(fs: VolumeFs): boolean {
  const { shared } = fs.volume
  const last = shared.stagedNumber
  const bytes = shared.stagedBytes - shared.committedBytes
  if (bytes > limits.inlineBytesMax || fs.staged.count > FILES_MAX) return false
  if (shared.takenNumber > shared.committedNumber) return false
  const done = fs.change(
    null,
    (draft) => {
      if (shared.takenNumber > shared.committedNumber) return ABANDONED
      for (const [ino, file] of fs.staged.entries()) {
        if (!fs.find(ino)) continue
        const edited = putFile(fs, new ExtentEditor(draft, ino), file)
        const inode = { ...fs.inode(ino) }
        const { last } = file
        inode.size = Math.max(inode.size, file.size)
        inode.bytes += edited
        if (last.number > inode.timesSetAt) {
          inode.mtime = { sec: last.sec, nsec: last.nsec }
          inode.ctime = inode.mtime
        }
        fs.putInode(draft, ino, inode)
      }
      return last
    },
    undefined,
    true,
    last,
  )
  if (done === ABANDONED) return false
  fs.staged.dropThrough(last)
  assert(fs.staged.count === 0, 'all that was staged is in the record')
  return true
}

/** @returns bytes that the file gained */
function putFile(fs: VolumeFs, editor: ExtentEditor, file: StagedFile): number {
  for (const { from, to, staged, skip } of file.intervals.list) {
    const data = Buffer.allocUnsafe(to - from)
    fs.staging.read(staged, skip, data, 0, data.length)
    editor.carve(from, to)
    editor.put(from, { kind: 'inline', length: data.length, data })
  }
  return editor.bytesDelta
}
