import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type ChunkId,
  type Epoch,
  hexId,
  type Ino,
  limits,
  type NodeId,
  newId,
  ROOT_INO,
  silentLog,
  systemClock,
  systemRandom,
  type VolumeId,
  type VolumeNumber,
} from '../../src/base/index.ts'
import {
  createBundle,
  dropEpochs,
  type KeyBundle,
  type OpenedKeys,
  rotate,
} from '../../src/crypto/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { type Drive, initDrive, ToldDrives } from '../../src/drives/index.ts'
import {
  decodeDirents,
  decodeExtent,
  type Extent,
  encodeDirents,
  keys,
  S_IFDIR,
  S_IFREG,
} from '../../src/meta/index.ts'
import { putPieces } from '../../src/store/chunk-pieces.ts'
import { direntHash } from '../../src/store/fsck-index.ts'
import {
  type Draft,
  Engine,
  ExtentEditor,
  formatVolume,
  fsckVolume,
  type LocalVolume,
  markViewClean,
  recoverVolume,
  SharedVolume,
  type VolumeCheck,
  type VolumeOpening,
} from '../../src/store/index.ts'
import type { Work } from '../../src/store/work.ts'

const BOOT = 'b'.repeat(32)
export const clock = systemClock()
export const storeWorld = { log: silentLog, clock, random: systemRandom }

export const quietWork: Work = { signal: new AbortController().signal, progress: () => null }

/** A volume on a temp dir, changed without a kernel: files are made record by record, as the engine makes them. */
export class VolumeWorld {
  readonly dir: string
  readonly id: VolumeId
  bundle: KeyBundle
  opened: OpenedKeys
  volume: LocalVolume
  engine: Engine
  epoch = 1
  boot = BOOT
  checkView = false
  #closed = false

  private constructor(dir: string, bundle: KeyBundle, opened: OpenedKeys, drives: number) {
    this.dir = dir
    this.id = opened.volumeId
    this.bundle = bundle
    this.opened = opened
    const nodeId = hexId<NodeId>('a'.repeat(32))
    for (let i = 0; i < drives; i++) {
      this.here.push(initDrive(this.drive(i), { class: 2, nodeId }, systemDisk))
    }
    this.#drives = drives
    this.told.tell(this.here)
    const root = { mode: 0o755, uid: 0, gid: 0, now: clock.now() }
    this.volume = formatVolume(this.opening(), this.epoch as Epoch, root)
    this.engine = new Engine(this.volume, storeWorld)
  }

  readonly #drives: number
  /** The main thread's, which every opening of the volume is told of. */
  readonly here: Drive[] = []
  readonly told = new ToldDrives()

  static async open(drives = 1): Promise<VolumeWorld> {
    const dir = mkdtempSync(join(tmpdir(), 'weft-store-'))
    const id = newId<VolumeId>(systemRandom)
    const slot = { kind: 'node', label: 'n', publicKey: Buffer.alloc(32, 9) } as const
    const { bundle, opened } = await createBundle(id, [slot], new Date().toISOString())
    return new VolumeWorld(dir, bundle, opened, drives)
  }

  drive(index: number): string {
    return join(this.dir, `drive${index}`)
  }

  get journalDirectory(): string {
    return join(this.drive(0), 'volumes', this.id)
  }

  journalPath(): string {
    return join(this.journalDirectory, '0000000001.journal')
  }

  get viewDirectory(): string {
    return join(this.dir, 'view')
  }

  opening(): VolumeOpening {
    const shared = new SharedVolume()
    shared.sizeBytes = limits.volumeBytesDefault
    return {
      id: this.id,
      number: 1 as VolumeNumber,
      name: 'vol',
      viewDirectory: this.viewDirectory,
      journalDirectory: this.journalDirectory,
      stagingDirectory: join(this.dir, 'staging'),
      drives: this.told.buffer,
      boot: this.boot,
      keys: this.opened.keys.export(),
      shared: shared.buffer,
    }
  }

  /** Settle and close; the files are there to be damaged. */
  async close(clean = true): Promise<void> {
    this.#closed = true
    await this.engine.stop()
    const { opening } = this.volume
    await this.volume.close()
    if (clean) markViewClean(opening)
  }

  /** Open again under the next epoch. @throws what recoverVolume throws */
  reopen(): void {
    this.epoch++
    this.volume = recoverVolume(
      this.opening(),
      this.epoch as Epoch,
      silentLog,
      this.checkView,
    ).volume
    this.engine = new Engine(this.volume, storeWorld)
    this.#closed = false
  }

  async fsck(repair = false): Promise<VolumeCheck> {
    return await fsckVolume(this.engine, { repair, acceptLoss: false }, storeWorld, quietWork)
  }

  rotateKey(): void {
    const { bundle, opened } = rotate(this.bundle, this.opened)
    this.bundle = bundle
    this.opened = opened
    this.volume.keys.replace(opened.keys.export())
  }

  dropOldKeys(): void {
    const { bundle, opened } = dropEpochs(this.bundle, this.opened, this.opened.keys.newest)
    this.bundle = bundle
    this.opened = opened
    this.volume.keys.replace(opened.keys.export())
  }

  change(make: (draft: Draft) => void): void {
    this.engine.commit((draft) => {
      make(draft)
      return {}
    })
  }

  /** A name in a directory, without any count. */
  putName(draft: Draft, parent: Ino, name: string, ino: Ino, type = S_IFREG): void {
    const key = keys.direntKey(parent, direntHash(this.volume.keys.nameKey, Buffer.from(name)))
    const value = draft.get(key)
    const bucket = value ? decodeDirents(value) : []
    draft.put(key, encodeDirents([...bucket, { ino, type: type >>> 12, name: Buffer.from(name) }]))
  }

  dropName(draft: Draft, parent: Ino, name: string): void {
    draft.delete(keys.direntKey(parent, direntHash(this.volume.keys.nameKey, Buffer.from(name))))
  }

  inodeOf(name: string, parent: Ino = ROOT_INO): Ino | null {
    const key = keys.direntKey(parent, direntHash(this.volume.keys.nameKey, Buffer.from(name)))
    const value = this.volume.view.get(key)
    const entry = value ? decodeDirents(value).find((one) => one.name.toString() === name) : null
    return entry?.ino ?? null
  }

  mkdir(parent: Ino, name: string): Ino {
    return this.#make(parent, name, S_IFDIR | 0o755)
  }

  #make(parent: Ino, name: string, mode: number): Ino {
    let made = 0 as Ino
    const directory = (mode & S_IFDIR) !== 0 && (mode & S_IFREG) === 0
    this.change((draft) => {
      made = this.volume.newIno()
      const now = clock.now()
      draft.putInode(made, {
        mode,
        nlink: directory ? 2 : 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        bytes: 0,
        atime: now,
        mtime: now,
        ctime: now,
        btime: now,
        generation: 1,
        version: 1,
        timesSetAt: 0,
        dataThrough: 0,
        xattrs: false,
        parent: directory ? parent : (0 as Ino),
        target: null,
      })
      draft.inodesDelta++
      this.putName(draft, parent, name, made, directory ? S_IFDIR : S_IFREG)
      const above = draft.inode(parent)
      if (!above) throw new Error('no parent')
      above.size++
      if (directory) above.nlink++
      draft.putInode(parent, above)
    })
    return made
  }

  /** A file whose bytes are one chunk, or inline. */
  async file(
    parent: Ino,
    name: string,
    data: Buffer,
    inline = false,
  ): Promise<{ ino: Ino; chunk: ChunkId }> {
    const ino = this.#make(parent, name, S_IFREG | 0o644)
    const id = newId<ChunkId>(systemRandom)
    const pieces = [{ ino, offset: 0, length: data.length, at: 0 }]
    const chunk = inline ? null : await putPieces(this.volume, id, data, data.length, pieces)
    this.change((draft) => {
      if (chunk) draft.addChunk(id, chunk)
      const editor = new ExtentEditor(draft, ino)
      if (chunk) editor.put(0, { kind: 'chunk', length: data.length, chunk: id, at: 0 })
      else editor.put(0, { kind: 'inline', length: data.length, data })
      const inode = draft.inode(ino)
      if (!inode) throw new Error('no inode')
      draft.putInode(ino, { ...inode, size: data.length, bytes: editor.bytesDelta })
    })
    return { ino, chunk: id }
  }

  /** Bytes of a file as a reader gets them. @throws as ChunkStore.readSync */
  read(ino: Ino, offset: number, length: number): Buffer {
    const out = Buffer.alloc(length)
    const { view, chunks, reader } = this.volume
    for (const { at, extent } of this.extents(ino)) {
      const from = Math.max(offset, at)
      const to = Math.min(offset + length, at + extent.length)
      if (from >= to) continue
      if (extent.kind === 'inline') extent.data.copy(out, from - offset, from - at, to - at)
      if (extent.kind !== 'chunk') continue
      const info = view.get(keys.chunkKey(extent.chunk))
      if (!info) throw new Error('chunk is not in the view')
      const drive = info.toString('hex', 0, 16) as never
      chunks.readSync(
        extent.chunk,
        drive,
        reader,
        extent.at + from - at,
        to - from,
        out,
        from - offset,
      )
    }
    return out
  }

  extents(ino: Ino): { at: number; extent: Extent }[] {
    const start = keys.startOfIno(keys.KIND.extent, ino)
    const end = keys.endOfIno(keys.KIND.extent, ino)
    return [...this.volume.view.range(start, end)].map(([key, value]) => ({
      at: keys.offsetOfKey(key),
      extent: decodeExtent(value),
    }))
  }

  chunkPath(id: ChunkId): string {
    for (let i = 0; i < this.#drives; i++) {
      const path = join(this.drive(i), 'chunks', id.slice(0, 2), id)
      if (systemDisk.exists(path)) return path
    }
    throw new Error(`no file of chunk ${id}`)
  }

  quarantined(): string[] {
    const found: string[] = []
    for (let i = 0; i < this.#drives; i++) {
      const directory = join(this.drive(i), 'quarantine')
      if (systemDisk.exists(directory)) found.push(...readdirSync(directory))
    }
    return found
  }

  async end(): Promise<void> {
    if (!this.#closed) await this.close(false).catch(() => null)
    rmSync(this.dir, { recursive: true, force: true })
  }
}
