import { assert, limits } from '../base/index.ts'
import { coverStaged, ExtentEditor, putInline } from '../store/index.ts'
import { ABANDONED } from './abandoned.ts'
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
        const editor = new ExtentEditor(draft, ino)
        putInline(editor, file.intervals, fs.staging)
        const inode = { ...fs.inode(ino) }
        coverStaged(inode, file.size, file.last, editor.bytesDelta)
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
