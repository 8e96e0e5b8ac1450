import { type DriveId, FsError, type NodeId } from '../../src/base/index.ts'
import type { ServiceClass } from '../../src/drives/index.ts'
import type {
  DiskIdentity,
  DiskToGive,
  HostDisk,
  HostDrives,
  NewDrive,
  NodeRoom,
  PoolDrive,
  PoolDriveState,
  PoolFacts,
  Step,
} from '../../src/provision/index.ts'
import { type FakeFrame, plainWire, type Wire } from './fake-frame.ts'

export const CHUNK_BYTES = 4

interface FakeDrive {
  readonly id: DriveId
  readonly serial: string
  readonly tag: string | null
  readonly class: ServiceClass
  readonly sizeBytes: number
  state: PoolDriveState
}

/** How a host's disks behave, by their serial. */
export type DiskFault = 'late' | 'never' | 'wrong' | 'two' | 'bad' | 'joins-then-fails'

/** Which chunk is on which disk; what every node of the cluster would say together. */
export class FakeChunks {
  readonly #disks = new Map<number, string>()
  readonly #chunks = new Map<string, Set<number>>()
  #next = 1

  /** Chunk and serial of its disk. */
  all(): readonly (readonly [number, string])[] {
    return [...this.#disks]
  }

  on(serial: string): readonly number[] {
    return [...(this.#chunks.get(serial) ?? [])]
  }

  count(serial: string): number {
    return this.#chunks.get(serial)?.size ?? 0
  }

  write(serial: string): void {
    this.move(this.#next++, serial)
  }

  move(chunk: number, serial: string): void {
    this.delete(chunk)
    this.#disks.set(chunk, serial)
    this.#chunks.set(serial, (this.#chunks.get(serial) ?? new Set()).add(chunk))
  }

  delete(chunk: number): void {
    const serial = this.#disks.get(chunk)
    if (serial === undefined) return
    this.#disks.delete(chunk)
    this.#chunks.get(serial)?.delete(chunk)
  }
}

/** What a node's host and its pool are between two lives of its daemon: disks, labels, and who drains. */
export class FakeHost {
  readonly node: NodeId
  readonly drives = new Map<DriveId, FakeDrive>()
  readonly faults = new Map<string, DiskFault>()
  /** Disks that the kernel has let go of, until they are attached anew. */
  readonly deleted = new Set<string>()
  /** Disks that went away with what is on them, by their serial; one that is back goes on. */
  readonly away = new Set<string>()
  /** That a drain overlooks a chunk now and then, which is what verify is for. */
  overlooks: () => boolean = () => false
  onVerify: (what: DiskToGive) => void = () => {}
  /** Nodes that do not answer this one. */
  silent: readonly string[] = []
  /** What must never happen. */
  readonly violations: string[] = []
  readonly chunks: FakeChunks
  readonly #frame: FakeFrame
  readonly #cluster: readonly FakeHost[]

  /** @param cluster every host of it, this one among them once it is made */
  constructor(node: NodeId, frame: FakeFrame, chunks: FakeChunks, cluster: readonly FakeHost[]) {
    this.node = node
    this.chunks = chunks
    this.#frame = frame
    this.#cluster = cluster
  }

  addFixed(cos: ServiceClass, sizeBytes: number): DriveId {
    const id = `${this.node.slice(0, 16)}${String(this.drives.size).padStart(16, '0')}` as DriveId
    return this.join({ id, serial: `F${this.node.slice(0, 4)}`, tag: null, class: cos, sizeBytes })
  }

  join(disk: Omit<FakeDrive, 'state'>): DriveId {
    this.drives.set(disk.id, { ...disk, state: 'ok' })
    return disk.id
  }

  bySerial(serial: string): FakeDrive | null {
    return [...this.drives.values()].find((drive) => drive.serial === serial) ?? null
  }

  usedBytes({ serial }: Pick<FakeDrive, 'serial'>): number {
    return this.chunks.count(serial) * CHUNK_BYTES
  }

  /** Drives that take something new. */
  roomy(): FakeDrive[] {
    return [...this.drives.values()].filter(
      (drive) =>
        drive.state === 'ok' &&
        !this.away.has(drive.serial) &&
        this.usedBytes(drive) + CHUNK_BYTES <= drive.sizeBytes,
    )
  }

  facts(): PoolFacts {
    const drives = [...this.drives.values()].map((drive): PoolDrive => {
      if (this.away.has(drive.serial)) {
        const nothing = { sizeBytes: 0, usedBytes: 0, freeBytes: 0, moveBytes: 0 }
        return { ...drive, ...nothing, class: null, state: 'gone' }
      }
      const usedBytes = this.usedBytes(drive)
      return { ...drive, usedBytes, freeBytes: drive.sizeBytes - usedBytes, moveBytes: usedBytes }
    })
    const others = this.#cluster.filter((one) => one !== this).flatMap(roomOf)
    return { drives, others, silent: this.silent }
  }

  sees(serial: string): boolean {
    const drive = this.#frame.drives.find((one) => one.serial === serial)
    return drive?.host === this.node && !this.deleted.has(serial) && !this.away.has(serial)
  }

  format(serial: string): void {
    const needed = this.chunks.on(serial)
    if (needed.length > 0) this.violations.push(`${serial} formatted with chunks ${needed}`)
  }

  mustBeHere(serial: string): void {
    if (this.away.has(serial)) throw new FsError('EBUSY', 'host.away', { serial })
  }

  /** Move one chunk off the disk. @returns whether one was there to move */
  moveOne(serial: string): boolean {
    this.mustBeHere(serial)
    for (const chunk of this.chunks.on(serial)) {
      if (this.overlooks()) continue
      const target = [this, ...this.#cluster].flatMap((host) => host.roomy())[0]
      if (!target) throw new FsError('ENOSPC', 'host.drain', { serial })
      this.chunks.move(chunk, target.serial)
      return true
    }
    return false
  }

  /** The host as one life of the daemon has it. */
  life(wire: Wire = plainWire): HostDrives {
    return new FakeHostDrives(this, wire)
  }
}

function roomOf(host: FakeHost): NodeRoom[] {
  const { node } = host
  return [...host.drives.values()].map((drive) => ({
    ...{ node, domain: node, class: drive.class, sizeBytes: drive.sizeBytes },
    usedBytes: host.usedBytes(drive),
  }))
}

class FakeHostDrives implements HostDrives {
  readonly #host: FakeHost
  readonly #wire: Wire

  constructor(host: FakeHost, wire: Wire) {
    this.#host = host
    this.#wire = wire
  }

  async facts(signal: AbortSignal): Promise<PoolFacts> {
    return await this.#wire.pass('facts', signal, () => this.#host.facts())
  }

  async waitForDisk(disk: DiskIdentity, deadlineMs: number, { signal }: Step): Promise<HostDisk> {
    const { serial } = disk
    const fault = this.#host.faults.get(serial)
    if (fault === 'late') await this.#wire.sleep(deadlineMs / 2, signal)
    if (fault === 'never' || !this.#host.sees(serial)) {
      await this.#wire.sleep(deadlineMs, signal)
      throw new FsError('ETIMEDOUT', 'host.waitForDisk', { serial })
    }
    return await this.#wire.pass('waitForDisk', signal, () => {
      if (fault === 'two') throw new FsError('EEXIST', 'host.waitForDisk', { serial })
      if (fault === 'wrong') throw new FsError('EUCLEAN', 'host.waitForDisk', { serial })
      return { ...disk, path: `/dev/disk/by-id/${serial}` }
    })
  }

  async makeDrive({ serial, sizeBytes }: HostDisk, as: NewDrive, { signal }: Step) {
    return await this.#wire.pass('makeDrive', signal, () => {
      const there = this.#host.bySerial(serial)
      if (there?.tag === as.tag) return there.id
      const fault = this.#host.faults.get(serial)
      if (fault === 'bad') throw new FsError('EIO', 'host.makeDrive', { serial })
      this.#host.format(serial)
      const id = this.#host.join({ serial, sizeBytes, ...as })
      if (fault === 'joins-then-fails') throw new FsError('EIO', 'host.makeDrive', { serial })
      return id
    })
  }

  async drain(id: DriveId, { signal, progress }: Step): Promise<void> {
    const drive = await this.#wire.pass('drain', signal, () => {
      const found = this.#host.drives.get(id)
      if (found?.state === 'gone') throw new FsError('EBUSY', 'host.drain', { id })
      if (found) this.#host.mustBeHere(found.serial)
      if (found && found.state !== 'drained') found.state = 'draining'
      return found
    })
    while (drive && (await this.#wire.pass('move', signal, () => this.#host.moveOne(drive.serial))))
      progress(`${this.#host.chunks.on(drive.serial).length} chunks left`)
    if (drive) drive.state = 'drained'
  }

  async verify(what: DiskToGive, { signal }: Step): Promise<void> {
    const { serial, tag, mayBeHidden, isLost } = what
    this.#host.onVerify(what)
    await this.#wire.pass('verify', signal, () => {
      if (this.#host.bySerial(serial)) this.#host.mustBeHere(serial)
      if (isLost && !this.#host.bySerial(serial)) return
      if (!mayBeHidden && !this.#host.bySerial(serial) && !this.#host.sees(serial)) {
        throw new FsError('EBUSY', 'host.verify', { tag, message: `${tag}: nobody can look` })
      }
      const needed = this.#host.chunks.on(serial)
      if (needed.length === 0) return
      const drive = this.#host.bySerial(serial)
      if (drive) drive.state = 'draining'
      const message = `${tag}: chunks ${needed} are nowhere else`
      throw new FsError('EBUSY', 'host.verify', { tag, message })
    })
  }

  async takeOut(id: DriveId, { signal }: Step): Promise<void> {
    await this.#wire.pass('takeOut', signal, () => {
      const drive = this.#host.drives.get(id)
      if (drive) this.#host.mustBeHere(drive.serial)
      this.#host.drives.delete(id)
    })
  }

  async deleteDevice({ serial }: DiskIdentity, { signal }: Step): Promise<void> {
    await this.#wire.pass('deleteDevice', signal, () => this.#host.deleted.add(serial))
  }
}
