import { type Ino, limits } from '../base/index.ts'
import { copyInode } from '../meta/index.ts'
import { coverStaged, ExtentEditor, putInline } from '../store/index.ts'
import { ABANDONED } from './abandoned.ts'
import type { VolumeFs } from './volume-fs.ts'

/**
 * Commit what is staged of one file as one record with the data inside, in this thread and whatever else is staged: what a
 * database's commit, or a rename behind a small write, wants. The engine leaves out what `dataThrough` of the inode says.
 * @returns false when it is too much for a record: the engine commits it then
 */
export function commitStaged(fs: VolumeFs, ino: Ino): boolean {
  const { shared } = fs.volume
  const staged = fs.staged.get(ino)
  if (!staged) return true
  if (staged.intervals.bytes() > limits.inlineBytesMax) return false
  const done = fs.change(
    null,
    (draft) => {
      // Looked up again under the lock: the engine may have committed it.
      const file = fs.staged.get(ino)
      const before = fs.find(ino)
      if (!file || !before) return ABANDONED
      const editor = new ExtentEditor(draft, ino)
      putInline(editor, file.intervals.list, fs.staging)
      const inode = copyInode(before)
      coverStaged(inode, file.intervals.end, file.last, editor.bytesDelta)
      fs.putInode(draft, ino, inode)
      const engineIdle = shared.takenNumber <= shared.coveredNumber && !shared.engineBehind
      if (engineIdle && fs.staged.count === 1) draft.covers = shared.stagedNumber
      return null
    },
    undefined,
    true,
  )
  if (done !== ABANDONED) fs.staged.forget(ino)
  return true
}
