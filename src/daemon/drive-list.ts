import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { CorruptError, codeOf, type DriveId, FsError, type VolumeId } from '../base/index.ts'
import { systemDisk } from '../disk/index.ts'

/** A whole disk that weft has formatted. It is found by its drive's id, which is its filesystem's UUID, whatever its name. */
export interface ListedDisk {
  readonly drive: DriveId
  readonly wwn: string
  readonly serial: string
  readonly model: string
  /** Under which it was taken from a provisioner; null when a person added it. */
  readonly tag: string | null
  /** What it did when it was added. */
  readonly measured: { readonly syncMs: number; readonly bytesPerSecond: number } | null
}

/** One drive of a home: its directory, which of a disk is where it is mounted. */
export interface ListedDrive {
  readonly dir: string
  /** Null for a directory that a person mounts. */
  readonly disk: ListedDisk | null
  /** Null unless it failed once, and nobody has said since that it is sound. */
  readonly failed: Failed | null
  /** Volumes whose journal it has given up and could not mark: Drive.givenUp. */
  readonly givenUp: readonly VolumeId[]
}

/** The first failure of a drive: nothing new goes to it in later lives of the daemon either. */
export interface Failed {
  readonly why: string
  /** ISO 8601. */
  readonly at: string
}

export interface DriveList {
  readonly drives: readonly ListedDrive[]
  /** Empty ones that were taken out: what weft made on them goes now, or at the next start. */
  readonly leaving: readonly ListedDrive[]
}

/** Version 2 has disks, and drives that leave; 3 drives that failed. A list is written as the least that has all of it: older builds read that. */
const FORMAT = 3

const dir = z.string().startsWith('/')
const disk = z.strictObject({
  drive: z.string().regex(/^[0-9a-f]{32}$/),
  wwn: z.string(),
  serial: z.string(),
  model: z.string(),
  tag: z.string().nullable(),
  measured: z.strictObject({ syncMs: z.number(), bytesPerSecond: z.number() }).nullable(),
})
const failed = z.strictObject({ why: z.string(), at: z.string() })
const entry = z.strictObject({
  dir,
  disk: disk.nullable().default(null),
  failed: failed.nullable().default(null),
  givenUp: z.array(z.string().regex(/^[0-9a-f]{32}$/)).default([]),
})
const shape = z.strictObject({
  version: z.union([z.literal(1), z.literal(2), z.literal(FORMAT)]),
  drives: z.array(entry),
  leaving: z.array(entry).default([]),
})

/** `<home>/drives.json`. Null before the first start. @throws CorruptError; FsError ENOTSUP of a newer build's */
export function readDriveList(home: string): DriveList | null {
  const path = pathIn(home)
  if (!systemDisk.exists(path)) return null
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    if (codeOf(error)) throw error
    throw damaged(path, error)
  }
  const { version } = (value ?? {}) as { version?: unknown }
  if (typeof version === 'number' && version > FORMAT) {
    throw new FsError('ENOTSUP', 'drives', {
      message: `${path}: written by a newer weft (version ${version}, this build reads ${FORMAT}): run that build`,
    })
  }
  const parsed = shape.safeParse(value)
  if (!parsed.success) throw damaged(path, parsed.error)
  return parsed.data as unknown as DriveList
}

/** Durable when it returns. */
export function writeDriveList(home: string, { drives, leaving }: DriveList): void {
  const text = JSON.stringify(asWritten({ drives, leaving }), null, 2)
  systemDisk.replaceFile(pathIn(home), Buffer.from(`${text}\n`))
}

function asWritten({ drives, leaving }: DriveList): object {
  const all = [...drives, ...leaving]
  if (all.some((one) => one.failed !== null || one.givenUp.length > 0))
    return { version: FORMAT, drives, leaving }
  const bare = ({ dir, disk }: ListedDrive) => ({ dir, disk })
  if (leaving.length > 0 || drives.some((one) => one.disk !== null)) {
    return { version: 2, drives: drives.map(bare), leaving: leaving.map(bare) }
  }
  return { version: 1, drives: drives.map((one) => ({ dir: one.dir })) }
}

/** One that never failed. */
export function newlyListed(dir: string, disk: ListedDisk | null): ListedDrive {
  return { dir, disk, failed: null, givenUp: [] }
}

/** Durable when it returns. A failure that is known is kept: it came first. */
export function noteFailure(home: string, directory: string, failed: Failed): void {
  changeDrive(home, directory, (one) => (one.failed === null ? { ...one, failed } : one))
}

/** It is sound, or was never to blame. @returns whether a failure was known */
export function forgetFailure(home: string, directory: string): boolean {
  return changeDrive(home, directory, (one) => {
    return one.failed === null ? one : { ...one, failed: null }
  })
}

/** Durable when it returns. */
export function noteGivenUp(
  home: string,
  directory: string,
  volume: VolumeId,
  isGivenUp: boolean,
): void {
  changeDrive(home, directory, (one) => {
    const others = one.givenUp.filter((id) => id !== volume)
    return { ...one, givenUp: isGivenUp ? [...others, volume] : others }
  })
}

/** It is a drive from the next start of the daemon on, if the caller does not take it into use. @throws FsError EEXIST */
export function listDrive(home: string, added: ListedDrive): void {
  changeList(home, ({ drives, leaving }) => {
    mustBeNew({ drives }, added.dir)
    return { drives: [...drives, added], leaving }
  })
}

/** It is no drive of this node from the next start of the daemon on. Whether it is empty, nobody looks here. */
export function unlistDrive(home: string, directory: string): void {
  changeList(home, ({ drives, leaving }) => ({
    drives: without(drives, directory),
    leaving: [...without(leaving, directory), ...drives.filter((one) => one.dir === directory)],
  }))
}

/** One that was taken out is a drive again. */
export function listAgain(home: string, listed: ListedDrive): void {
  changeList(home, ({ drives, leaving }) => ({
    drives: [...drives, listed],
    leaving: without(leaving, listed.dir),
  }))
}

/** One that was taken out is cleared, or not here to be. */
export function forgetLeaving(home: string, directory: string): void {
  changeList(home, ({ drives, leaving }) => ({ drives, leaving: without(leaving, directory) }))
}

/** A drive that is lost: there is nothing to be cleared. */
export function forgetDrive(home: string, directory: string): void {
  changeList(home, ({ drives, leaving }) => ({ drives: without(drives, directory), leaving }))
}

function without(list: readonly ListedDrive[], directory: string): ListedDrive[] {
  return list.filter((one) => one.dir !== directory)
}

/** @returns whether `change` gave another entry than the one it was given */
function changeDrive(
  home: string,
  directory: string,
  change: (before: ListedDrive) => ListedDrive,
): boolean {
  let isChanged = false
  changeList(home, (list) => {
    const drives = list.drives.map((one) => (one.dir === directory ? change(one) : one))
    isChanged = drives.some((one, index) => one !== list.drives[index])
    return isChanged ? { ...list, drives } : list
  })
  return isChanged
}

/** Durable when it returns; written only when `change` gives another list than the one it was given. */
function changeList(home: string, change: (before: DriveList) => DriveList): void {
  const before = readDriveList(home) ?? { drives: [], leaving: [] }
  const after = change(before)
  if (after !== before) writeDriveList(home, after)
}

/** @throws FsError EEXIST when it is a drive already */
export function mustBeNew({ drives }: Pick<DriveList, 'drives'>, directory: string): void {
  if (!drives.some((one) => one.dir === directory)) return
  throw new FsError('EEXIST', 'drive.add', {
    message: `${directory} is a drive of this node already`,
    next: 'weft drive list shows them; name another directory',
  })
}

function pathIn(home: string): string {
  return join(home, 'drives.json')
}

function damaged(path: string, cause: unknown): CorruptError {
  const message = `${path}: damaged; put it back from a backup, or name each drive's directory in it again`
  return new CorruptError(message, {}, cause)
}
