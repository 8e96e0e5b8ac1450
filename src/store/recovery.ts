import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  AssertionError,
  assert,
  CorruptError,
  codeOf,
  type Epoch,
  type Log,
  limits,
  messageOf,
  ROOT_INO,
  type Timespec,
} from '../base/index.ts'
import { type Disk, systemDisk } from '../disk/index.ts'
import {
  createJournal,
  firstHead,
  holdsHead,
  type JournalHead,
  type ScanOptions,
  scan,
} from '../journal/index.ts'
import {
  type AppliedHead,
  type Change,
  decodeChanges,
  decodeTotals,
  keys,
  S_IFDIR,
  type Totals,
} from '../meta/index.ts'
import { loadCheckpoint } from './checkpoint.ts'
import { Draft } from './draft.ts'
import { viewDamage } from './lmdb-file.ts'
import { LocalVolume, type VolumeOpening } from './local-volume.ts'
import { VOLUME_STATE } from './shared.ts'
import { dropStaging, StagingReader } from './staging.ts'

/** What opening a volume found and did, for the log and for status. */
export interface Recovered {
  volume: LocalVolume
  /** The view was made anew from checkpoint and journal. */
  rebuilt: boolean
  records: number
  stagedWrites: number
}

export interface RootAttributes {
  mode: number
  uid: number
  gid: number
  now: Timespec
}

const BOOT_FILE = 'boot'
const CLEAN_FILE = 'clean'

/**
 * Make a new, empty volume: journal (unless an empty copy has one), view, root directory. Durable when this returns.
 * @throws FsError EEXIST when the journal has records, ENOSPC
 */
export function formatVolume(
  opening: VolumeOpening,
  epoch: Epoch,
  root: RootAttributes,
  disk: Disk = systemDisk,
): LocalVolume {
  rmSync(opening.viewDirectory, { recursive: true, force: true })
  const head =
    emptyJournal(opening, disk) ?? createJournal(disk, opening.journalDirectory, opening.id)
  const volume = new LocalVolume(opening, disk)
  const { shared } = volume
  dropStaging(opening.stagingDirectory)
  markBoot(opening)
  volume.view.apply([], head)
  shared.setHead({ ...head, epoch })
  shared.inoNext = ROOT_INO + 1
  shared.inoReserved = ROOT_INO + 1 + limits.inoBlock
  shared.freeBytes = Number.MAX_SAFE_INTEGER
  const draft = new Draft(volume.view)
  const { mode, uid, gid, now } = root
  draft.putInode(ROOT_INO, {
    mode: S_IFDIR | (mode & 0o7777),
    nlink: 2,
    uid,
    gid,
    rdev: 0,
    size: 0,
    bytes: 0,
    atime: now,
    mtime: now,
    ctime: now,
    btime: now,
    generation: epoch,
    version: 1,
    timesSetAt: 0,
    dataThrough: 0,
    xattrs: false,
    parent: ROOT_INO,
    target: null,
  })
  draft.inodesDelta = 1
  appendAndApply(volume, draft)
  volume.journal.sync(shared.head)
  shared.synced = shared.seq
  shared.state = VOLUME_STATE.open
  return volume
}

/** Start of the journal of a copy that was made and not written to; null where there is none. */
function emptyJournal({ journalDirectory, id }: VolumeOpening, disk: Disk): JournalHead | null {
  if (!disk.exists(journalDirectory)) return null
  const head = firstHead(disk, journalDirectory, id)
  if (head?.seq !== 0) return null
  const [record] = scan(disk, journalDirectory, id, head, null)
  return record ? null : head
}

/**
 * Open a volume of this node under a new epoch: view from the boot before or rebuilt, journal replayed, torn tail cut,
 * first record of the epoch appended. A view that is rebuilt is put aside until that has worked: when the journal is
 * damaged it may be all there is.
 * @param checkView look at the pages of the view first: LMDB ends the process on damaged ones, and may just have done so
 * @throws CorruptError when the journal or the checkpoint is damaged: fsck says where
 */
export function recoverVolume(
  opening: VolumeOpening,
  epoch: Epoch,
  log: Log,
  checkView = false,
  disk: Disk = systemDisk,
): Recovered {
  const spare = { ...opening, keys: { ...opening.keys, bytes: opening.keys.bytes.slice(0) } }
  try {
    putBack(opening, disk)
    if (!viewIsWhole(opening, disk)) return rebuild(opening, epoch, disk)
    const damage = checkView ? viewDamage(opening.viewDirectory) : null
    if (damage) {
      log.error({ op: 'recover', volume: opening.id, damage }, 'the view is damaged; rebuilt')
      return rebuild(opening, epoch, disk)
    }
    let why: unknown = 'the view is ahead of the log'
    try {
      markBoot(opening)
      dropCleanMark(opening, disk)
      const volume = new LocalVolume(opening, disk)
      const head = volume.view.head()
      if (head && holdsHead(disk, opening.journalDirectory, opening.id, head)) {
        return takeUp(volume, head, epoch, false)
      }
      letGo(volume)
    } catch (error) {
      // A code is the drive's or the keys' word; without one, stored bytes were wrong, and may be the view's.
      if (error instanceof AssertionError || codeOf(error) !== '') throw error
      why = error
    }
    log.warn({ op: 'recover', volume: opening.id, why: messageOf(why) }, 'the view is rebuilt')
    try {
      return rebuild(spare, epoch, disk)
    } catch (error) {
      throw why instanceof Error ? why : error
    }
  } finally {
    new Uint8Array(spare.keys.bytes).fill(0)
  }
}

/** From checkpoint and journal. @throws as recoverVolume, and the view is then what it was */
function rebuild(opening: VolumeOpening, epoch: Epoch, disk: Disk): Recovered {
  const { viewDirectory } = opening
  if (existsSync(viewDirectory)) renameSync(viewDirectory, asideOf(opening))
  let volume: LocalVolume | null = null
  try {
    volume = new LocalVolume(opening, disk)
    const found = takeUp(volume, fillView(volume), epoch, true)
    rmSync(asideOf(opening), { recursive: true, force: true })
    return found
  } catch (error) {
    if (volume) letGo(volume)
    rmSync(viewDirectory, { recursive: true, force: true })
    putBack(opening, disk)
    throw error
  }
}

/**
 * An empty view gets what checkpoint or start of the journal say.
 * @param alone also of a checkpoint where the journal does not go on
 * @returns where the journal goes on
 */
export function fillView(volume: LocalVolume, alone = false): AppliedHead {
  const { journalDirectory, id } = volume.opening
  if (!loadCheckpoint(volume, alone)) {
    const first = firstHead(volume.disk, journalDirectory, id)
    if (!first) throw new CorruptError('volume has no journal', { volume: id })
    if (first.seq !== 0) {
      throw new CorruptError('journal begins behind the start and there is no checkpoint', {
        volume: id,
      })
    }
    volume.view.apply([], first)
  }
  const head = volume.view.head()
  assert(head !== null, 'a view that was rebuilt has a head')
  return head
}

/** Replays, and begins the new epoch. */
function takeUp(volume: LocalVolume, head: AppliedHead, epoch: Epoch, rebuilt: boolean): Recovered {
  const { opening, shared } = volume
  try {
    const records = replay(volume, head)
    const end = volume.view.head()
    assert(end !== null, 'replay leaves a head')
    volume.journal.truncateTo(end)
    markBoot(opening)
    shared.setHead({ ...end, epoch })
    shared.applied = end.seq
    const totals = loadTotals(volume)
    const stagedWrites = takeOverStaging(volume, totals, opening.boot)
    const draft = new Draft(volume.view)
    // A kernel of another boot knows no inode any more: what has no name goes.
    if (totals.boot.toString('hex') !== opening.boot) purgeOrphans(volume)
    appendAndApply(volume, draft)
    volume.journal.sync(shared.head)
    shared.synced = shared.seq
    shared.state = VOLUME_STATE.open
    return { volume, rebuilt, records, stagedWrites }
  } catch (error) {
    if (!rebuilt) letGo(volume)
    throw error
  }
}

/** Close what could not be opened. Nobody waits: a view is closed by file, and its directory may be moved meanwhile. */
function letGo(volume: LocalVolume): void {
  volume.close().catch(() => null)
}

/** Where a view stands while another is made in its place. */
function asideOf(opening: VolumeOpening): string {
  return `${opening.viewDirectory}.aside`
}

/** A rebuild did not reach its end, in this life or the one before: the view is what it was. */
function putBack(opening: VolumeOpening, disk: Disk): void {
  const aside = asideOf(opening)
  if (!existsSync(aside)) return
  if (viewIsWhole(opening, disk)) {
    rmSync(aside, { recursive: true, force: true })
    return
  }
  rmSync(opening.viewDirectory, { recursive: true, force: true })
  renameSync(aside, opening.viewDirectory)
}

/** What this boot has in memory of the view's file is what LMDB left. Not synced: another boot never trusts it. */
function markBoot(opening: VolumeOpening): void {
  writeFileSync(join(opening.viewDirectory, BOOT_FILE), opening.boot)
}

/** The view is on stable storage: the next boot may use it. After the engine has stopped. */
export function markViewClean(opening: VolumeOpening, disk: Disk = systemDisk): void {
  const data = join(opening.viewDirectory, 'data.mdb')
  const handle = disk.open(data, 'write')
  disk.fdatasync(handle)
  disk.close(handle)
  disk.replaceFile(join(opening.viewDirectory, CLEAN_FILE), Buffer.from(opening.boot))
}

/** Durably, before the view is written: a cut in power may leave any of its pages old and the mark standing. */
export function dropCleanMark(opening: VolumeOpening, disk: Disk): void {
  const mark = join(opening.viewDirectory, CLEAN_FILE)
  if (!disk.exists(mark)) return
  disk.unlink(mark)
  disk.fsyncDirectory(opening.viewDirectory)
}

/** Written in this boot, or synced at an orderly end: then the file is what LMDB left. */
export function viewIsWhole(opening: VolumeOpening, disk: Disk): boolean {
  const at = (name: string) => join(opening.viewDirectory, name)
  if (!LocalVolume.hasView(opening.viewDirectory)) return false
  if (disk.exists(at(CLEAN_FILE))) return true
  return disk.exists(at(BOOT_FILE)) && disk.readFile(at(BOOT_FILE)).toString() === opening.boot
}

/** Applies the records behind `from`, all or those that `options` say. @returns how many */
export function replay(volume: LocalVolume, from: AppliedHead, options: ScanOptions = {}): number {
  let records = 0
  let head: AppliedHead = from
  let pending = new Map<string, Change>()
  const { journalDirectory, id } = volume.opening
  for (const record of scan(volume.disk, journalDirectory, id, from, volume.sealer, options)) {
    assert(record.body !== null, 'the owner holds the keys')
    for (const change of decodeChanges(record.body))
      pending.set(change.key.toString('latin1'), change)
    head = record.head
    records++
    if (pending.size >= 4096) {
      volume.view.apply(pending.values(), head)
      pending = new Map()
    }
  }
  volume.view.apply(pending.values(), head)
  return records
}

function loadTotals(volume: LocalVolume): Totals {
  const value = volume.view.get(keys.totalsKey())
  if (!value) throw new CorruptError('volume has no totals', { volume: volume.id })
  const totals = decodeTotals(value)
  const { shared } = volume
  shared.usedBytes = totals.bytes
  shared.inodes = totals.inodes
  shared.inlineBytes = totals.inlineBytes
  shared.inoNext = totals.inoReserved
  shared.inoReserved = totals.inoReserved
  shared.freeBytes = Number.MAX_SAFE_INTEGER
  return totals
}

function takeOverStaging(volume: LocalVolume, totals: Totals, boot: string): number {
  const { shared } = volume
  const { stagingDirectory } = volume.opening
  const otherBoot = totals.boot.toString('hex') !== boot
  // Numbers of the boot before may stand in inodes: the next one is above them all.
  const covered = otherBoot ? totals.stagedGiven : totals.stagedNumber
  shared.stagedNumber = covered
  shared.coveredNumber = covered
  shared.committedNumber = covered
  if (otherBoot) {
    dropStaging(stagingDirectory)
    return 0
  }
  const reader = new StagingReader(stagingDirectory)
  let count = 0
  for (const staged of reader.scan(totals.stagedNumber, Number.POSITIVE_INFINITY)) {
    shared.stagedNumber = staged.number
    shared.stagedBytes += staged.length
    count++
  }
  reader.close()
  // What was given and is not there was committed by a record of one file alone: inodes may name it.
  if (totals.stagedGiven > shared.stagedNumber) shared.stagedNumber = totals.stagedGiven
  if (count === 0) {
    shared.coveredNumber = shared.stagedNumber
    shared.committedNumber = shared.stagedNumber
  }
  return count
}

function purgeOrphans(volume: LocalVolume): void {
  const end = Buffer.of(keys.KIND.orphan + 1)
  const orphans = [...volume.view.range(Buffer.of(keys.KIND.orphan), end)]
  for (const [key] of orphans) {
    for (let done = false; !done; ) {
      const draft = new Draft(volume.view)
      done = draft.purge(keys.inoOfKey(key), 8192)
      appendAndApply(volume, draft)
    }
  }
}

/** While nobody else is at the volume. Chunks that end are found by the sweep. */
function appendAndApply(volume: LocalVolume, draft: Draft): void {
  const { changes, seq } = volume.append(draft, { urgent: true })
  volume.view.apply(changes, volume.shared.head)
  volume.shared.applied = seq
}
