import { crc32 } from 'node:zlib'
import {
  type ChunkId,
  type Clock,
  CorruptError,
  codeOf,
  FsError,
  ProtocolError,
  systemClock,
  type VolumeId,
} from '../base/index.ts'
import { alignedBuffer, type ChunkFiles, isAligned, systemChunkFiles } from '../disk/index.ts'
import { type Drive, type ServiceClass, takesData } from '../drives/index.ts'
import {
  ARRIVING_NAME,
  arrivingDirectory,
  chunkDirectory,
  chunkPath,
  chunksDirectory,
  PREFIXES,
  QUARANTINE_NAME,
  quarantineDirectory,
} from './chunk-path.ts'
import {
  BLOCK_BYTES,
  type ChunkHeader,
  chunkFileBytesMax,
  decodeHeader,
  layoutOf,
  roundUp,
} from './header.ts'
import { driveFailed } from './open-chunks.ts'
import { type Placing, passOver, prepareDrive, reserveDrive } from './place-chunk.ts'

const CHUNK_ID = /^[0-9a-f]{32}$/
/** Images that nobody uses, kept for what comes next. */
const IDLE_IMAGES_MOST = 4
/** A file that is not whole and was written to less long ago may be another thread's put under way: a disk may hang for minutes. */
const YOUNG_MS = 10 * 60_000

/**
 * Chunk files as another node sealed them, byte for byte: what a copy without the key stores and gives out. One object
 * per node, for all its drives. A chunk that it has put is whole or not there, after a power cut too, so that `has` may
 * be told to an owner. Drives are used once they are settled; of one that fails nothing is there, but what can still be read of
 * it whole is given out.
 */
export class RawChunks {
  readonly #drives: () => Iterable<Drive>
  readonly #files: ChunkFiles
  readonly #classOf: (volume: VolumeId) => ServiceClass | null
  readonly #clock: Clock
  readonly #settled = new Set<Drive>()
  readonly #putting = new Map<ChunkId, Promise<void>>()
  readonly #idleImages: Buffer[] = []

  /**
   * @param drives those of this node, asked at every call
   * @param classOf class of drive that a volume's chunks go to; null for any
   */
  constructor(
    drives: () => Iterable<Drive>,
    files: ChunkFiles = systemChunkFiles,
    classOf: (volume: VolumeId) => ServiceClass | null = () => null,
    clock: Clock = systemClock(),
  ) {
    this.#drives = drives
    this.#files = files
    this.#classOf = classOf
    this.#clock = clock
  }

  /**
   * Clear what an earlier life was still writing to a drive, and make durable what it had moved to its place and not
   * synced. To be awaited at the start, and for a drive that comes later. One that fails is marked and left out.
   */
  async settle(): Promise<void> {
    for (const drive of this.#drives()) {
      if (this.#settled.has(drive) || drive.state !== 'ok') continue
      const chunks = chunksDirectory(drive)
      const arriving = arrivingDirectory(drive)
      try {
        prepareDrive(this.#files, drive)
        this.#files.makeDirectories(chunks, [ARRIVING_NAME])
        for (const name of this.#files.names(arriving)) {
          await this.#files.remove(`${arriving}/${name}`)
        }
        for (const prefix of PREFIXES) await this.#files.syncDirectory(`${chunks}/${prefix}`)
        this.#settled.add(drive)
      } catch (error) {
        this.#silent(drive, error)
      }
    }
  }

  /**
   * Store a chunk file; durable when the promise resolves. No error when the same one is there.
   * @param bytes borrowed until the promise is settled; the caller bounds how many are in flight
   * @throws ProtocolError when it is no whole file of this chunk and volume; FsError ENOSPC (no drive has room), EIO
   */
  async put(id: ChunkId, volume: VolumeId, bytes: Buffer): Promise<void> {
    const header = checkHead(id, volume, bytes)
    for (;;) {
      const earlier = this.#putting.get(id)
      if (!earlier) break
      // Whatever became of it, the look below says what is there now.
      await earlier.catch(() => {})
    }
    const putting = this.#put(id, header, bytes)
    this.#putting.set(id, putting)
    try {
      await putting
    } finally {
      this.#putting.delete(id)
    }
  }

  /** Is it on a drive that works? What is on one that fails alone is to be put anew: that drive may not give it again. */
  has(id: ChunkId): boolean {
    return this.#sound(id) !== null
  }

  /** The whole file, the caller's to keep; null when it is not there, is of another volume, or fails its checksums. */
  async read(id: ChunkId, volume: VolumeId): Promise<Buffer | null> {
    for (const drive of this.#holders(id)) {
      try {
        return await this.#withFile(drive, id, chunkFileBytesMax, (bytes) => {
          checkBody(id, checkHead(id, volume, bytes), bytes)
          return Buffer.from(bytes)
        })
      } catch (error) {
        if (error instanceof ProtocolError || codeOf(error) === 'ENOENT') continue
        this.#silent(drive, error)
      }
    }
    return null
  }

  /**
   * Read all of it and look at its checksums, without a key. What is there and not whole is moved aside, so that `put` can
   * store it anew. @returns null when it is not there, or its drive fails: `put` stores it anew then, on another
   */
  async check(
    id: ChunkId,
    volume: VolumeId,
  ): Promise<{ readonly isWhole: boolean; readonly bytes: number } | null> {
    for (let drive = this.#sound(id); drive !== null; drive = this.#sound(id)) {
      let bytes = 0
      try {
        await this.#withFile(drive, id, chunkFileBytesMax, (image, fileBytes) => {
          bytes = fileBytes
          checkBody(id, checkHead(id, volume, image), image)
        })
        return { isWhole: true, bytes }
      } catch (error) {
        if (error instanceof ProtocolError) {
          this.#setAside(drive, id)
          return { isWhole: false, bytes }
        }
        // Moved in between; or it is failing from now on: another drive may have it.
        if (codeOf(error) === 'ENOENT') continue
        this.#silent(drive, error)
        if (drive.state === 'ok') return null
      }
    }
    return null
  }

  /** Ids of the chunk files on a drive, damaged ones too. Memory for 1/256 of them. */
  *on(drive: Drive): Generator<ChunkId> {
    for (const prefix of PREFIXES) {
      for (const name of this.#files.names(`${chunksDirectory(drive)}/${prefix}`)) {
        if (CHUNK_ID.test(name)) yield name as ChunkId
      }
    }
  }

  /** The volume that a chunk file says it is of; null for one that does not say, or is gone. */
  async volumeOf(id: ChunkId, drive: Drive): Promise<VolumeId | null> {
    try {
      return await this.#withFile(
        drive,
        id,
        BLOCK_BYTES,
        (block) => decodeHeader(block, block.length, id).volume,
      )
    } catch (error) {
      if (error instanceof CorruptError || codeOf(error) === 'ENOENT') return null
      throw error
    }
  }

  /**
   * Move a chunk file to another drive, as it is, from one that is being emptied: nothing new is put there. Whoever looks for
   * the chunk meanwhile finds it, and who has it open reads on. A whole one that another drive has already is enough, if that
   * drive is to keep it: of two that are being emptied each would take the other's for the one that stays.
   * @param except drives that it must not go to
   * @returns bytes moved; 0 when it is gone, or was elsewhere already
   * @throws FsError ENOSPC when no other drive has room; EIO when it cannot be read, or written; EAGAIN while it is being
   *   written: it stays where it was
   */
  async moveOff(id: ChunkId, from: Drive, except: readonly Drive[] = []): Promise<number> {
    for (;;) {
      const earlier = this.#putting.get(id)
      if (!earlier) break
      await earlier.catch(() => {})
    }
    const moving = this.#moveOff(id, from, except)
    // Whoever waits for this looks anew, whatever came of it.
    const settled = () => {}
    this.#putting.set(id, moving.then(settled, settled))
    try {
      return await moving
    } finally {
      this.#putting.delete(id)
    }
  }

  async #moveOff(id: ChunkId, from: Drive, except: readonly Drive[]): Promise<number> {
    const path = chunkPath(from, id)
    if (await this.#isWholeBeside(id, from)) {
      this.#removeFrom(from, path)
      return 0
    }
    try {
      return await this.#withFile(from, id, chunkFileBytesMax, async (bytes, fileBytes) => {
        if (fileBytes > chunkFileBytesMax) {
          throw new FsError('EFBIG', 'chunk.move', { chunk: id, drive: from.id })
        }
        if (bytes.length < fileBytes || this.#isUnderWay(id, from, bytes)) {
          throw new FsError('EAGAIN', 'chunk.move', {
            chunk: id,
            drive: from.id,
            message: `chunk ${id} is not whole on drive ${from.dir}, and may be still being written there: it is moved later`,
          })
        }
        const cos = this.#classIn(bytes, id)
        const target = await this.#write(id, bytes, fileBytes, cos, [from, ...except])
        // Not emptied first, as `remove` does: other threads may have it open. Gone: it was deleted meanwhile, by its owner's order.
        if (!this.#removeFrom(from, path)) this.#files.removeSync(chunkPath(target, id))
        from.forgetSpace()
        return fileBytes
      })
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return 0
      throw error
    }
  }

  /** Never deleted: whoever looks for the chunk finds none from now on. */
  #setAside(drive: Drive, id: ChunkId): void {
    this.#files.makeDirectories(drive.dir, [QUARANTINE_NAME])
    this.#files.moveAside(chunkDirectory(drive, id), id, quarantineDirectory(drive))
  }

  /** @returns false when it was not there. One that fails keeps what is on it: nobody looks there first any more. */
  #removeFrom(drive: Drive, path: string): boolean {
    try {
      return this.#files.removeSync(path)
    } catch (error) {
      if (drive.state === 'ok') throw error
      return true
    }
  }

  /** Moved now it would be a part of itself for good: whoever writes it goes on in a file without a name. */
  #isUnderWay(id: ChunkId, from: Drive, bytes: Buffer): boolean {
    if (this.isWhole(id, null, bytes)) return false
    const writtenMs = this.#files.writtenMs(chunkPath(from, id))
    return writtenMs !== null && Math.abs(this.#clock.now().sec * 1000 - writtenMs) < YOUNG_MS
  }

  /** On one that is to keep it. A file of this name there is moved aside unless it is whole; a drive that fails has none. */
  async #isWholeBeside(id: ChunkId, from: Drive): Promise<boolean> {
    for (const drive of this.#usable()) {
      if (drive === from || !takesData(drive)) continue
      try {
        if (!this.#files.exists(chunkPath(drive, id))) continue
        const isWhole = await this.#withFile(drive, id, chunkFileBytesMax, (bytes) =>
          this.isWhole(id, null, bytes),
        )
        if (isWhole) return true
        this.#setAside(drive, id)
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') this.#silent(drive, error)
      }
    }
    return false
  }

  /** Of the volume that a chunk file says it is of; null for a file that does not say. */
  #classIn(bytes: Buffer, id: ChunkId): ServiceClass | null {
    try {
      return this.#classOf(decodeHeader(bytes, bytes.length, id).volume)
    } catch (error) {
      if (error instanceof CorruptError) return null
      throw error
    }
  }

  /** Whether these bytes are a whole file of this chunk, and of this volume unless that is null. */
  isWhole(id: ChunkId, volume: VolumeId | null, bytes: Buffer): boolean {
    try {
      checkBody(id, checkHead(id, volume, bytes), bytes)
      return true
    } catch (error) {
      if (error instanceof ProtocolError) return false
      throw error
    }
  }

  /**
   * Delete it wherever it lies. One that says it is of another volume stays, a damaged one too: a sweep decides.
   * @throws FsError EIO when the drive fails
   */
  async delete(id: ChunkId, volume: VolumeId): Promise<void> {
    const [drive] = this.#holders(id)
    if (drive === undefined) return
    try {
      const { volume: its } = await this.#withFile(drive, id, BLOCK_BYTES, (block) =>
        decodeHeader(block, block.length, id),
      )
      if (its !== volume) return
      await this.#files.remove(chunkPath(drive, id))
      drive.forgetSpace()
    } catch (error) {
      if (error instanceof CorruptError || codeOf(error) === 'ENOENT') return
      throw driveFailed(drive, id, 'chunk.delete', error)
    }
  }

  /**
   * Chunks of a volume whose ids begin with the byte `part`, by their headers and the time of their files. What cannot be
   * read is left out: a scrub finds it. @throws FsError EIO when a drive fails
   */
  async list(
    part: number,
    volume: VolumeId,
    wanted: (header: ChunkHeader, writtenMs: number) => boolean,
    countMax: number,
  ): Promise<ChunkId[]> {
    const found: ChunkId[] = []
    const prefix = PREFIXES[part]
    for (const drive of this.#usable()) {
      if (prefix === undefined || drive.state !== 'ok') continue
      try {
        for (const name of this.#files.names(`${chunksDirectory(drive)}/${prefix}`)) {
          if (found.length >= countMax) return found
          if (CHUNK_ID.test(name) && (await this.#isWanted(drive, name as ChunkId, volume, wanted)))
            found.push(name as ChunkId)
        }
      } catch (error) {
        if (codeOf(error) === 'ENOENT') continue
        throw driveFailed(drive, '' as ChunkId, 'chunk.list', error)
      }
    }
    return found
  }

  async #isWanted(
    drive: Drive,
    id: ChunkId,
    volume: VolumeId,
    wanted: (header: ChunkHeader, writtenMs: number) => boolean,
  ): Promise<boolean> {
    try {
      const header = await this.#withFile(drive, id, BLOCK_BYTES, (block) =>
        decodeHeader(block, block.length, id),
      )
      const writtenMs = this.#files.writtenMs(chunkPath(drive, id))
      return header.volume === volume && writtenMs !== null && wanted(header, writtenMs)
    } catch (error) {
      if (error instanceof CorruptError || codeOf(error) === 'ENOENT') return false
      throw error
    }
  }

  async #put(id: ChunkId, header: ChunkHeader, bytes: Buffer): Promise<void> {
    if (await this.#holds(id, bytes)) return
    checkBody(id, header, bytes)
    const cos = this.#classOf(header.volume)
    if (isAligned(bytes, 0, bytes.length)) {
      await this.#write(id, bytes, bytes.length, cos)
      return
    }
    const image = this.#takeImage()
    try {
      bytes.copy(image)
      await this.#write(id, image, bytes.length, cos)
    } finally {
      this.#giveBack(image)
    }
  }

  async #write(
    id: ChunkId,
    image: Buffer,
    fileBytes: number,
    cos: ServiceClass | null,
    except: readonly Drive[] = [],
  ): Promise<Drive> {
    const storedBytes = roundUp(fileBytes)
    const placing: Placing = {
      id,
      storedBytes,
      wish: cos === null ? {} : { cos },
      refusedBy: [...except],
    }
    for (;;) {
      const drive = reserveDrive(this.#usable(), placing)
      let written = false
      try {
        const aside = arrivingDirectory(drive)
        await this.#files.writeWhole(aside, chunkDirectory(drive, id), id, image, fileBytes)
        written = true
        return drive
      } catch (error) {
        passOver(placing, drive, error)
      } finally {
        drive.release(storedBytes, written)
      }
    }
  }

  /**
   * Is the same chunk there, durably? Its block 0 holds the checksum of all behind it. A file that differs is damaged,
   * for a chunk never changes: it is moved aside. On a drive that fails block 0 says nothing of what can be read behind it.
   */
  async #holds(id: ChunkId, bytes: Buffer): Promise<boolean> {
    const drive = this.#sound(id)
    if (drive === null) return false
    try {
      const head = bytes.subarray(0, BLOCK_BYTES)
      const same = await this.#withFile(
        drive,
        id,
        BLOCK_BYTES,
        (block, size) => size === bytes.length && block.equals(head),
      )
      if (same) {
        await this.#files.syncDirectory(chunkDirectory(drive, id))
        return true
      }
      this.#setAside(drive, id)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') this.#silent(drive, error)
    }
    return false
  }

  *#usable(): Generator<Drive> {
    for (const drive of this.#drives()) if (this.#settled.has(drive)) yield drive
  }

  /** A drive that has it and works. */
  #sound(id: ChunkId): Drive | null {
    for (const drive of this.#usable()) {
      if (drive.state === 'ok' && this.#isOn(drive, id)) return drive
    }
    return null
  }

  /** Drives that have it, those that fail last: they need not be settled to be read. */
  *#holders(id: ChunkId): Generator<Drive> {
    const sound = [...this.#usable()].filter(({ state }) => state === 'ok')
    for (const drive of sound) if (this.#isOn(drive, id)) yield drive
    for (const drive of this.#drives()) {
      if (drive.state !== 'ok' && !sound.includes(drive) && this.#isOn(drive, id)) yield drive
    }
  }

  #isOn(drive: Drive, id: ChunkId): boolean {
    try {
      return this.#files.exists(chunkPath(drive, id))
    } catch (error) {
      this.#silent(drive, error)
      return false
    }
  }

  /** @param use is lent the first `bytesMax` of the file, until what it gives is settled, and told its size. @throws FsError as ChunkFiles.open */
  async #withFile<T>(
    drive: Drive,
    id: ChunkId,
    bytesMax: number,
    use: (bytes: Buffer, fileBytes: number) => T | Promise<T>,
  ): Promise<T> {
    const image = this.#takeImage()
    try {
      const fd = this.#files.open(chunkPath(drive, id))
      try {
        const fileBytes = this.#files.size(fd)
        const wanted = Math.min(bytesMax, fileBytes)
        const count = await this.#files.readAsync(fd, image, 0, wanted, 0)
        return await use(image.subarray(0, count), fileBytes)
      } finally {
        this.#files.close(fd)
      }
    } finally {
      this.#giveBack(image)
    }
  }

  #takeImage(): Buffer {
    return this.#idleImages.pop() ?? alignedBuffer(chunkFileBytesMax)
  }

  #giveBack(image: Buffer): void {
    if (this.#idleImages.length < IDLE_IMAGES_MOST) this.#idleImages.push(image)
  }

  /** The drive is marked where the failure is its own; a bug is not kept quiet. */
  #silent(drive: Drive, error: unknown): void {
    const told = driveFailed(drive, '' as ChunkId, 'chunk.raw', error)
    if (codeOf(told) === '') throw told
  }
}

/** All but the bytes behind block 0. @param volume null for any @throws ProtocolError */
function checkHead(id: ChunkId, volume: VolumeId | null, bytes: Buffer): ChunkHeader {
  try {
    const header = decodeHeader(bytes, bytes.length, id)
    const { fileBytes } = layoutOf(header.plainBytes, header.pageBytes, header.backPointerBytes)
    if (volume !== null && header.volume !== volume)
      throw notWhole(id, `it is of volume ${header.volume}`)
    if (bytes.length === fileBytes) return header
    throw notWhole(id, `${bytes.length} bytes where ${fileBytes} must be`)
  } catch (cause) {
    if (!(cause instanceof CorruptError)) throw cause
    throw notWhole(id, cause.message, cause)
  }
}

/** @throws ProtocolError */
function checkBody(id: ChunkId, header: ChunkHeader, bytes: Buffer): void {
  if (crc32(bytes.subarray(BLOCK_BYTES)) !== header.bodyCrc) {
    throw notWhole(id, 'its checksum differs')
  }
}

function notWhole(id: ChunkId, why: string, cause?: unknown): ProtocolError {
  return new ProtocolError(`chunk ${id}: ${why}`, cause)
}
