import { join } from 'node:path'
import { getSystemErrorName } from 'node:util'
import { crc32 } from 'node:zlib'
import { type Database, open, type RootDatabase } from 'lmdb'
import { assert, CorruptError, codeOf, type ErrnoCode, FsError, messageOf } from '../base/index.ts'
import { systemDisk } from '../disk/index.ts'
import type {
  CasResult,
  Change,
  Coordinator,
  Entry,
  Step,
  TransactionResult,
} from './coordinator.ts'
import { checkLmdbFile } from './lmdb-check.ts'
import { checkKey, checkPrefix, checkSteps } from './steps.ts'

/** Version of what stands in the LMDB file: table `about` (format, revision), table `keys` with entries as below. */
const FORMAT = 1
/** An entry: u32 LE CRC32 over key and all that follows; u64 LE version; the value. */
const ENTRY = { crc: 0, version: 4, value: 12 }
/** A coordinator holds a few KiB per volume; a file above this is not one. */
const fileBytesMax = 1024 * 1024 * 1024

interface Watch {
  readonly prefix: string
  readonly onChange: (change: Change) => void
  active: boolean
}

/**
 * Open the embedded coordinator, creating directory and file when absent.
 * @param dir its own directory, for instance <home>/coordinator; made with mode 0700
 * @throws FsError of the system's code (EROFS, EACCES, ENOSPC …), ENOTSUP for a newer format; CorruptError for a damaged file
 */
export async function openEmbeddedCoordinator(dir: string): Promise<Coordinator> {
  return wrapped('open', { dir }, () => {
    systemDisk.mkdir(dir)
    const file = join(dir, 'data.mdb')
    if (systemDisk.exists(file)) checkLmdbFile(systemDisk.readFile(file, fileBytesMax))
    const root = open<Buffer, string>({
      path: dir,
      overlappingSync: false,
      noSubdir: false,
      maxDbs: 4,
      cache: false,
      encoding: 'binary',
    })
    try {
      // LMDB syncs what is in its file, never the name of it: without this a power cut could take the whole file.
      systemDisk.fsyncDirectory(dir)
      return new EmbeddedCoordinator(root, dir)
    } catch (error) {
      void root.close()
      throw error
    }
  })
}

/**
 * Coordinator of one node, or of a few for a trial, on LMDB. One revision counter numbers all changes; a key's
 * version is the revision that last changed it, which is what etcd calls mod_revision.
 *
 * Each change is one synchronous transaction, opened without overlappingSync: LMDB has written and synced its pages
 * and then its meta page when commit returns (0.4 ms on this project's machine), so nothing is answered before.
 */
class EmbeddedCoordinator implements Coordinator {
  readonly #root: RootDatabase<Buffer, string>
  readonly #keys: Database<Buffer, string>
  readonly #about: Database<number, string>
  readonly #dir: string
  readonly #watches = new Set<Watch>()
  #closed = false

  constructor(root: RootDatabase<Buffer, string>, dir: string) {
    this.#root = root
    this.#dir = dir
    this.#keys = root.openDB<Buffer, string>('keys', { encoding: 'binary', cache: false })
    this.#about = root.openDB<number, string>('about', { encoding: 'json', cache: false })
    const format = this.#about.get('format')
    if (format === undefined) {
      this.#about.transactionSync(() => {
        if (this.#about.get('format') !== undefined) return
        this.#about.putSync('format', FORMAT)
        this.#about.putSync('revision', 0)
      })
    } else if (format !== FORMAT) {
      throw new FsError('ENOTSUP', 'coordinator.open', {
        dir,
        message: `${dir}: written by a newer weft (coordinator format ${format}, this build reads ${FORMAT}): run that build`,
      })
    }
  }

  async get(key: string): Promise<Entry | null> {
    this.#mustBeOpen()
    checkKey(key)
    return wrapped('get', { key, dir: this.#dir }, () => {
      // lmdb-js keeps its read snapshot for one turn of the event loop; another process may have written since.
      this.#keys.resetReadTxn()
      const stored = this.#keys.getBinary(key)
      return stored === undefined ? null : decodeEntry(key, stored)
    })
  }

  async list(prefix: string): Promise<Entry[]> {
    this.#mustBeOpen()
    checkPrefix(prefix)
    return wrapped('list', { prefix, dir: this.#dir }, () => {
      this.#keys.resetReadTxn()
      const entries: Entry[] = []
      for (const { key, value } of this.#keys.getRange(prefix === '' ? {} : { start: prefix })) {
        if (!key.startsWith(prefix)) break
        entries.push(decodeEntry(key, Buffer.from(value)))
      }
      return entries
    })
  }

  async compareAndSet(key: string, expected: number, value: Buffer | null): Promise<CasResult> {
    const { ok, versions } = await this.transaction([{ key, expected, value }])
    return { ok, version: versions[0] ?? 0 }
  }

  async transaction(steps: readonly Step[]): Promise<TransactionResult> {
    this.#mustBeOpen()
    checkSteps(steps)
    const first = steps[0]?.key ?? ''
    const revision = wrapped('transaction', { key: first, dir: this.#dir }, () =>
      this.#commit(steps),
    )
    if (typeof revision !== 'number') return { ok: false, versions: revision }
    this.#tell(steps, revision)
    return {
      ok: true,
      versions: steps.map((step) => (step.value === 'unchanged' ? step.expected : revision)),
    }
  }

  async watch(prefix: string, onChange: (change: Change) => void): Promise<() => void> {
    this.#mustBeOpen()
    checkPrefix(prefix)
    const watch: Watch = { prefix, onChange, active: true }
    this.#watches.add(watch)
    return () => {
      watch.active = false
      this.#watches.delete(watch)
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const watch of this.#watches) watch.active = false
    this.#watches.clear()
    await this.#root.close()
  }

  /** @returns the revision of the change, or the versions that stand when a condition does not hold */
  #commit(steps: readonly Step[]): number | number[] {
    return this.#root.transactionSync(() => {
      const versions = steps.map((step) => this.#versionOf(step.key))
      if (steps.some((step, index) => step.expected !== versions[index])) return versions
      const revision = this.#about.get('revision')
      if (revision === undefined || !Number.isSafeInteger(revision + 1)) {
        throw new CorruptError('coordinator revision', { dir: this.#dir, revision })
      }
      const next = revision + 1
      for (const { key, value } of steps) {
        if (value === 'unchanged') continue
        if (value === null) this.#keys.removeSync(key)
        else this.#keys.putSync(key, encodeEntry(key, next, value))
      }
      this.#about.putSync('revision', next)
      return next
    })
  }

  #versionOf(key: string): number {
    const stored = this.#keys.getBinary(key)
    return stored === undefined ? 0 : decodeEntry(key, stored).version
  }

  /** After the commit, outside of it: a watcher's own mistake must not look like a failed change. */
  #tell(steps: readonly Step[], version: number): void {
    for (const { key, value, expected } of steps) {
      if (value === 'unchanged' || (value === null && expected === 0)) continue
      for (const watch of this.#watches) {
        if (!key.startsWith(watch.prefix)) continue
        const copy = value === null ? null : Buffer.from(value)
        queueMicrotask(() => {
          if (watch.active) watch.onChange({ key, value: copy, version })
        })
      }
    }
  }

  #mustBeOpen(): void {
    if (this.#closed)
      throw new FsError('ECANCELED', 'coordinator', {
        message: 'coordinator: closed; the node is stopping',
      })
  }
}

function encodeEntry(key: string, version: number, value: Buffer): Buffer {
  const stored = Buffer.allocUnsafe(ENTRY.value + value.length)
  stored.writeBigUInt64LE(BigInt(version), ENTRY.version)
  value.copy(stored, ENTRY.value)
  stored.writeUInt32LE(crcOf(key, stored), ENTRY.crc)
  return stored
}

/** @param stored the caller's own copy, ours from here on. @throws CorruptError */
function decodeEntry(key: string, stored: Buffer): Entry {
  if (stored.length < ENTRY.value || stored.readUInt32LE(ENTRY.crc) !== crcOf(key, stored)) {
    throw new CorruptError('coordinator: damaged entry', { key, bytes: stored.length })
  }
  return {
    key,
    value: stored.subarray(ENTRY.value),
    version: Number(stored.readBigUInt64LE(ENTRY.version)),
  }
}

function crcOf(key: string, stored: Buffer): number {
  return crc32(stored.subarray(ENTRY.version), crc32(key))
}

/** Codes that mean something to the caller as they are; every other failure of LMDB is EIO. */
const KEPT: ReadonlySet<string> = new Set([
  'ENOSPC',
  'EDQUOT',
  'EROFS',
  'EACCES',
  'EPERM',
  'ENOENT',
  'ENOTDIR',
  'ENOMEM',
])
/** lmdb.h: MDB_PAGE_NOTFOUND, MDB_CORRUPTED, MDB_VERSION_MISMATCH, MDB_INVALID. */
const DAMAGED: ReadonlySet<number> = new Set([-30797, -30796, -30794, -30793])

function wrapped<T>(
  op: string,
  subject: { key?: string; prefix?: string; dir: string },
  work: () => T,
): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof FsError || error instanceof CorruptError) throw error
    const number = numberOf(error)
    if (DAMAGED.has(number))
      throw new CorruptError(`coordinator: ${messageOf(error)}`, subject, error)
    const code = codeOf(error) || (number > 0 ? getSystemErrorName(-number) : '')
    assert(!(error instanceof TypeError), `coordinator.${op}: ${messageOf(error)}`)
    throw new FsError(KEPT.has(code) ? (code as ErrnoCode) : 'EIO', `coordinator.${op}`, {
      ...subject,
      cause: error,
      message: `coordinator in ${subject.dir}: ${op} failed: ${messageOf(error)}`,
    })
  }
}

function numberOf(error: unknown): number {
  return typeof error === 'object' &&
    error !== null &&
    'code' in error &&
    typeof error.code === 'number'
    ? error.code
    : 0
}
