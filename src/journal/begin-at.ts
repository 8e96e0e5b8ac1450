import { join } from 'node:path'
import type { VolumeId } from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import {
  type Checkpoint,
  checkpointFileBytesMax,
  decodeCheckpoint,
  encodeCheckpoint,
  writeCheckpoint,
} from './checkpoint-file.ts'
import { filePath, journalNames } from './files.ts'
import { createJournal } from './journal.ts'
import type { JournalHead } from './record.ts'

/** Beside the journal while one is being replaced: the checkpoint that the new one begins at. */
const NAME = 'beginning'

/**
 * Discard a journal whole and begin one at a checkpoint whose chunks are there. Cut short it is done to its end by
 * `finishBeginning`; until then the directory says so, and never looks like a shorter log.
 */
export function beginAtCheckpoint(
  disk: Disk,
  directory: string,
  volume: VolumeId,
  checkpoint: Checkpoint,
): JournalHead {
  disk.replaceFile(join(directory, NAME), encodeCheckpoint(volume, checkpoint))
  return replace(disk, directory, volume, checkpoint)
}

/** After a start, before anything reads the journal. @throws CorruptError when it cannot be said what was begun */
export function finishBeginning(disk: Disk, directory: string, volume: VolumeId): void {
  const path = join(directory, NAME)
  if (!disk.exists(path)) return
  const bytes = disk.readFile(path, checkpointFileBytesMax)
  replace(disk, directory, volume, decodeCheckpoint(volume, bytes))
}

function replace(
  disk: Disk,
  directory: string,
  volume: VolumeId,
  checkpoint: Checkpoint,
): JournalHead {
  for (const file of journalNames(disk, directory)) disk.unlink(filePath(directory, file))
  disk.fsyncDirectory(directory)
  writeCheckpoint(disk, directory, volume, checkpoint)
  const { newest, chunks } = checkpoint
  const head = createJournal(disk, directory, volume, { ...newest, checkpoint: chunks[0] ?? null })
  disk.unlink(join(directory, NAME))
  disk.fsyncDirectory(directory)
  return head
}
