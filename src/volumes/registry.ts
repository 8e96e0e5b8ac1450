import {
  assert,
  type Clock,
  type CopyId,
  CorruptError,
  type DriveId,
  type Epoch,
  FsError,
  hexId,
  isoTime,
  limits,
  type NodeId,
  newId,
  type Random,
  type VolumeId,
  type VolumeNumber,
} from '../base/index.ts'
import type { Coordinator, Step } from '../coordinator/index.ts'
import type { KeyBundle } from '../crypto/index.ts'
import { NUMBER_NEXT, nameKey, replacedKey, tombstoneKey, VOLUMES, volumeKey } from './entries.ts'
import {
  type Copy,
  contradictionIn,
  decodeRecord,
  decodeTombstone,
  encodeRecord,
  encodeTombstone,
  type Tombstone,
  type VolumeRecord,
} from './record.ts'
import { describeBytes, formatSize } from './size.ts'
import { checkVolumeName, leastMinimum, type VolumeSpec } from './spec.ts'

/** A record as it stands, and the coordinator's version of it, for compare-and-set. */
export interface StoredVolume {
  readonly record: VolumeRecord
  readonly version: number
}

export interface VolumeList {
  /** By name. */
  readonly volumes: readonly StoredVolume[]
  /** Records that this build cannot read: one of them must not hide the others. */
  readonly unreadable: readonly { readonly key: string; readonly error: unknown }[]
}

export interface NewVolume {
  readonly spec: VolumeSpec
  /** Where its first copies are, all empty and so all in sync; at least spec.minimum of them. */
  readonly places: readonly { readonly node: NodeId; readonly drive: DriveId }[]
  /** Asked once, when the name is known to be free. */
  readonly makeKeys: (id: VolumeId) => Promise<KeyBundle>
}

/** Which life of an owner asks. */
export interface Owning {
  readonly node: NodeId
  readonly epoch: Epoch
}

/** Further steps of the transaction that changes a record. @param before the record as it is replaced */
export type Beside = (before: StoredVolume) => Promise<readonly Step[]>

const nothingBeside: Beside = async () => []

/** Of this coordinator; one that is rebuilt or moved counts on from what its members have seen (design §3). */
const GENERATION = 1
/** Losing a compare-and-set means that another change won, so someone always gets on; this many in a row is a fault. */
const attemptsMax = 100
/** Copies given up whose nodes have not said that they are deleted; beyond that the oldest are forgotten, and stay where they lie. */
const releasedMax = 64
/** Bundles kept after imports replaced them. */
const replacedMax = 8

/**
 * The volumes of a cluster, each one record of the coordinator. Any number of registries, in any processes, may work on
 * one coordinator: names and numbers are unique, numbers and ids are never reused, epochs only grow, because every change
 * is one compare-and-set on what was read; who loses reads again and judges anew.
 *
 * Every method throws FsError ENOENT (with a next step) for a volume that is not there, and lets the errors of the
 * coordinator pass; those leave open whether the change was made.
 */
export class VolumeRegistry {
  readonly #coordinator: Coordinator
  readonly #random: Random
  readonly #clock: Clock

  constructor(coordinator: Coordinator, random: Random, clock: Clock) {
    this.#coordinator = coordinator
    this.#random = random
    this.#clock = clock
  }

  /**
   * A volume in the state 'making': its name and number are taken. Who makes its journal calls `markReady` then.
   * @throws FsError EEXIST when the name is taken, ENOSPC when no number is left, and what makeKeys throws
   */
  async create({ spec, places, makeKeys }: NewVolume): Promise<StoredVolume> {
    assert(places.length >= spec.minimum, 'a volume begins with at least its minimum of copies')
    checkVolumeName(spec.name)
    await this.#mustBeFree(spec.name)
    const id = newId<VolumeId>(this.#random)
    const keys = await makeKeys(id)
    const copies = places.map((place) => ({ ...place, id: newId<CopyId>(this.#random) }))
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const { number, step } = await this.#nextNumber()
      const record: VolumeRecord = {
        version: 1,
        generation: GENERATION,
        id,
        number,
        name: spec.name,
        epoch: 0 as Epoch,
        owner: null,
        copies,
        inSync: copies.map((copy) => copy.id),
        minimum: spec.minimum,
        released: [],
        movingTo: null,
        spec,
        keys,
        state: 'making',
        createdAt: isoTime(this.#clock),
      }
      const done = await this.#coordinator.transaction([
        { key: nameKey(spec.name), expected: 0, value: Buffer.from(id) },
        step,
        { key: volumeKey(id), expected: 0, value: checkedBytes(record) },
      ])
      if (done.ok) return { record, version: done.versions[2] ?? 0 }
      await this.#mustBeFree(spec.name)
    }
    throw contended('create', spec.name)
  }

  /**
   * The volume is made: from here on it stays, and can be shown.
   * @param beside what is to be kept in the same step, asked for again when another change came first
   * @throws FsError EBUSY when it is not being made
   */
  async markReady(id: VolumeId, beside: Beside = nothingBeside): Promise<StoredVolume> {
    const change = (record: VolumeRecord): VolumeRecord => {
      if (record.state === 'making') return { ...record, state: 'ready' }
      throw new FsError('EBUSY', 'volume.markReady', {
        volume: record.name,
        message: `volume ${record.name}: is ${record.state}, not being made`,
      })
    }
    return this.#change('markReady', id, change, beside)
  }

  async get(id: VolumeId): Promise<StoredVolume> {
    const stored = await this.#read(id)
    if (stored !== null) return stored
    const tombstone = await this.tombstone(id)
    throw tombstone === null
      ? missing(`id ${id}`)
      : new FsError('ENOENT', 'volume.get', {
          volume: id,
          message: `volume ${tombstone.name} (${id}) was deleted on ${tombstone.removedAt}; weft volume list shows what there is`,
        })
  }

  /** Null when no volume has the name; one that is being deleted has none. */
  async byName(name: string): Promise<StoredVolume | null> {
    checkVolumeName(name)
    const id = await this.#coordinator.get(nameKey(name))
    if (id === null) return null
    const stored = await this.#read(idOf(id.value, id.key))
    // Deleted between the two reads: then the name is gone too.
    return stored?.record.name === name && stored.record.state === 'ready' ? stored : null
  }

  async byNumber(number: VolumeNumber): Promise<StoredVolume | null> {
    const { volumes } = await this.list()
    return volumes.find(({ record }) => record.number === number) ?? null
  }

  /** What a person means by one word: a name, else an id. @throws FsError ENOENT */
  async find(nameOrId: string): Promise<StoredVolume> {
    const named = isVolumeName(nameOrId) ? await this.byName(nameOrId) : null
    if (named !== null) return named
    if (/^[0-9a-f]{32}$/.test(nameOrId)) return this.get(hexId<VolumeId>(nameOrId))
    throw missing(`name ${JSON.stringify(nameOrId.slice(0, 80))}`)
  }

  async list(): Promise<VolumeList> {
    const volumes: StoredVolume[] = []
    const unreadable: { key: string; error: unknown }[] = []
    for (const { key, value, version } of await this.#coordinator.list(VOLUMES)) {
      try {
        volumes.push({ record: decodeRecord(value), version })
      } catch (error) {
        if (!(error instanceof CorruptError || error instanceof FsError)) throw error
        unreadable.push({ key, error })
      }
    }
    volumes.sort((a, b) => (a.record.name < b.record.name ? -1 : 1))
    return { volumes, unreadable }
  }

  /** Calls back after each change of a record, removal too; read it with `get`. @returns cancel */
  async watch(onChange: (id: VolumeId) => void): Promise<() => void> {
    return this.#coordinator.watch(VOLUMES, ({ key }) => {
      onChange(key.slice(VOLUMES.length) as VolumeId)
    })
  }

  /**
   * @param usedBytes what the volume uses now, from its owner; who calls holds back writes above the smaller of both
   * sizes until this has answered
   * @throws FsError ENOSPC when the size is below that, saying by how much
   */
  async resize(id: VolumeId, sizeBytes: number, usedBytes: number): Promise<StoredVolume> {
    return this.#change('resize', id, (record) => {
      mustBeReady(record, 'resized')
      const over = usedBytes - sizeBytes
      if (over > 0) {
        throw new FsError('ENOSPC', 'volume.resize', {
          volume: record.name,
          sizeBytes,
          usedBytes,
          message: `volume ${record.name}: ${formatSize(sizeBytes)} is ${describeBytes(over)} (${over} bytes) less than the ${describeBytes(usedBytes)} (${usedBytes} bytes) it uses`,
          next: 'delete that much first, or choose a larger size',
        })
      }
      return { ...record, spec: { ...record.spec, sizeBytes } }
    })
  }

  /**
   * Begins a life of an owner (design §6.1): at every start, on take-over, after an upgrade. Above the recorded epoch and
   * above any promise met. Deleting needs an owner too.
   */
  async takeEpoch(
    id: VolumeId,
    node: NodeId,
    { abovePromise }: { readonly abovePromise: number },
  ): Promise<StoredVolume> {
    return this.#change('takeEpoch', id, (record) => ({
      ...record,
      epoch: (Math.max(record.epoch, abovePromise) + 1) as Epoch,
      owner: node,
    }))
  }

  /**
   * @param expectedVersion of the record the bundle was made from
   * @throws FsError ESTALE when the record has changed since; EINVAL when the bundle would drop the newest data key
   */
  async setKeys(id: VolumeId, keys: KeyBundle, expectedVersion: number): Promise<StoredVolume> {
    const { record, version } = await this.get(id)
    const fresh = withKeys(record, keys)
    if (version === expectedVersion) {
      const done = await this.#coordinator.compareAndSet(
        volumeKey(id),
        version,
        checkedBytes(fresh),
      )
      if (done.ok) return { record: fresh, version: done.version }
    }
    throw new FsError('ESTALE', 'volume.setKeys', {
      volume: record.name,
      retry: 'later',
      message: `volume ${record.name}: its record changed meanwhile; nothing was changed, repeat the command`,
    })
  }

  /**
   * The same with reading and repeating: `make` is asked again with the newer record when another change came first,
   * and what it made before is void.
   */
  async updateKeys(
    id: VolumeId,
    make: (record: VolumeRecord) => Promise<KeyBundle>,
  ): Promise<StoredVolume> {
    return this.#change('updateKeys', id, async (record) => {
      mustBeReady(record, 'given other keys')
      return withKeys(record, await make(record))
    })
  }

  /**
   * updateKeys for bundles that do not come from the one they replace: that one is kept beside the record, wrapped as it
   * is, until the volume is removed; the last few of them, so that no import can lose a key.
   */
  async replaceKeys(
    id: VolumeId,
    make: (record: VolumeRecord) => Promise<KeyBundle>,
  ): Promise<StoredVolume> {
    const kept = await this.#coordinator.list(replacedKey(id))
    const change = async (record: VolumeRecord) => {
      mustBeReady(record, 'given other keys')
      return withKeys(record, await make(record))
    }
    return this.#change('replaceKeys', id, change, async ({ record, version }) => [
      {
        key: `${replacedKey(id)}${String(version).padStart(16, '0')}`,
        expected: 0,
        value: Buffer.from(JSON.stringify(record.keys)),
      },
      ...kept.slice(0, Math.max(0, kept.length + 1 - replacedMax)).map((entry) => ({
        key: entry.key,
        expected: entry.version,
        value: null,
      })),
    ])
  }

  /**
   * The owner's change of the in-sync set (design §6.3). Copies not known yet become copies of the volume.
   * @throws FsError ESTALE when `by` is not the recorded owner at its epoch; EBUSY below the minimum
   */
  async setInSync(id: VolumeId, by: Owning, inSync: readonly Copy[]): Promise<StoredVolume> {
    return this.#change('setInSync', id, (record) => {
      mustOwn(record, by, 'setInSync')
      if (inSync.length < record.minimum) {
        throw new FsError('EBUSY', 'volume.setInSync', {
          volume: record.name,
          message: `volume ${record.name}: ${inSync.length} copies in sync, its minimum is ${record.minimum}; the recorded set stays`,
        })
      }
      const known = new Set(record.copies.map((copy) => copy.id))
      const joined = inSync.filter((copy) => !known.has(copy.id))
      const ids = inSync.map((copy) => copy.id)
      const { rebuilt: _, ...settled } = record
      return withMinimum({ ...settled, copies: [...record.copies, ...joined], inSync: ids })
    })
  }

  /**
   * A further copy, empty and made already: no member until the owner has brought it up. No error when it is there.
   * @throws FsError ESTALE as setInSync; EEXIST when that node has a copy, EBUSY while its drive has one that was given up
   */
  async addCopy(id: VolumeId, by: Owning, copy: Copy): Promise<StoredVolume> {
    return this.#change('addCopy', id, (record) => {
      mustOwn(record, by, 'addCopy')
      if (record.copies.some((one) => one.id === copy.id)) return record
      const has = record.copies.some((one) => one.node === copy.node)
      if (has || record.released.some((one) => one.drive === copy.drive)) {
        throw new FsError(has ? 'EEXIST' : 'EBUSY', 'volume.addCopy', {
          volume: record.name,
          retry: 'later',
          message: `volume ${record.name}: node ${copy.node} ${has ? 'has a copy of it' : 'has not deleted its old copy yet'}`,
        })
      }
      return { ...record, copies: [...record.copies, copy] }
    })
  }

  /**
   * Give copies up that are no members: their nodes delete them when they hear of it, however late.
   * @throws FsError ESTALE as setInSync; EBUSY for a member
   */
  async release(id: VolumeId, by: Owning, given: readonly CopyId[]): Promise<StoredVolume> {
    return this.#change('release', id, (record) => {
      mustOwn(record, by, 'release')
      if (given.some((copy) => record.inSync.includes(copy))) {
        throw new FsError('EBUSY', 'volume.release', {
          volume: record.name,
          message: `volume ${record.name}: a copy that is in sync is not given up`,
        })
      }
      const gone = record.copies.filter((copy) => given.includes(copy.id))
      const copies = record.copies.filter((copy) => !given.includes(copy.id))
      const released = [...record.released, ...gone].slice(-releasedMax)
      return { ...record, copies, released }
    })
  }

  /** A copy lies on another drive of its node: that one says so itself. */
  async copyMoved(
    id: VolumeId,
    { id: moved, drive }: Pick<Copy, 'id' | 'drive'>,
  ): Promise<StoredVolume> {
    const onDrive = (copy: Copy) => (copy.id === moved ? { ...copy, drive } : copy)
    return this.#change('copyMoved', id, (record) => ({
      ...record,
      copies: record.copies.map(onDrive),
      released: record.released.map(onDrive),
    }))
  }

  /** A copy that was given up is deleted, or its node is gone for good. */
  async forgetReleased(id: VolumeId, isForgotten: (copy: Copy) => boolean): Promise<StoredVolume> {
    return this.#change('forgetReleased', id, (record) => ({
      ...record,
      released: record.released.filter((copy) => !isForgotten(copy)),
    }))
  }

  /**
   * How many copies it shall have; its owner makes or gives up some. A minimum that a person set stays, as far as it can.
   * It rises only once as many are in sync.
   */
  async setRepl(id: VolumeId, repl: number): Promise<StoredVolume> {
    return this.#change('setRepl', id, (record) => {
      mustBeReady(record, 'given more or fewer copies')
      const { spec } = record
      const isUsual = spec.minimum === leastMinimum(spec.repl)
      const minimum = isUsual ? leastMinimum(repl) : Math.min(spec.minimum, repl)
      return withMinimum({ ...record, spec: { ...spec, repl, minimum } })
    })
  }

  /** The class of drive that it shall be on; each node with a copy moves what lies elsewhere. */
  async setCos(
    id: VolumeId,
    cos: VolumeSpec['cos'],
    isLowerAllowed: boolean,
  ): Promise<StoredVolume> {
    return this.#change('setCos', id, (record) => {
      mustBeReady(record, 'given another class')
      const { cosFallback: _, ...spec } = record.spec
      const fallback = isLowerAllowed && cos !== null ? { cosFallback: true as const } : {}
      return { ...record, spec: { ...spec, cos, ...fallback } }
    })
  }

  /** Where the owner shall be; null for where it is. */
  async setMovingTo(id: VolumeId, movingTo: NodeId | null): Promise<StoredVolume> {
    return this.#change('setMovingTo', id, (record) => {
      mustBeReady(record, 'moved')
      return { ...record, movingTo }
    })
  }

  /** The owner is where it shall be. What somebody has wished since stays. */
  async arrived(id: VolumeId, at: NodeId): Promise<StoredVolume> {
    return this.#change('arrived', id, (record) =>
      record.movingTo === at ? { ...record, movingTo: null } : record,
    )
  }

  /**
   * Frees the name at once; the record stays until `remove`, so that the data can be taken back in peace.
   * @param beside as for markReady
   */
  async markDeleting(id: VolumeId, beside: Beside = nothingBeside): Promise<StoredVolume> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const stored = await this.get(id)
      const { record, version } = stored
      if (record.state === 'deleting') return stored
      const marked: VolumeRecord = { ...record, state: 'deleting' }
      const name = await this.#coordinator.get(nameKey(record.name))
      const steps: Step[] = [{ key: volumeKey(id), expected: version, value: checkedBytes(marked) }]
      if (name !== null && name.value.toString() === id) {
        steps.push({ key: name.key, expected: name.version, value: null })
      }
      steps.push(...(await beside(stored)))
      const done = await this.#coordinator.transaction(steps)
      if (done.ok) return { record: marked, version: done.versions[0] ?? 0 }
    }
    throw contended('delete', id)
  }

  /**
   * The end of a volume whose data is gone from this cluster's hands: the tombstone that stays orders every copy that
   * turns up later to be deleted. Repeating it is allowed.
   * @throws FsError EBUSY unless it was marked before
   */
  async remove(id: VolumeId): Promise<Tombstone> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const before = await this.tombstone(id)
      if (before !== null) return before
      const { record, version } = await this.get(id)
      if (record.state !== 'deleting') {
        throw new FsError('EBUSY', 'volume.remove', {
          volume: record.name,
          message: `volume ${record.name}: in use; mark it for deletion first (weft volume delete ${record.name})`,
        })
      }
      const { number, name, epoch } = record
      const tombstone: Tombstone = {
        version: 1,
        id,
        number,
        name,
        epoch,
        removedAt: isoTime(this.#clock),
      }
      const replaced = await this.#coordinator.list(replacedKey(id))
      const done = await this.#coordinator.transaction([
        { key: volumeKey(id), expected: version, value: null },
        { key: tombstoneKey(id), expected: 0, value: encodeTombstone(tombstone) },
        ...replaced.map((entry) => ({ key: entry.key, expected: entry.version, value: null })),
      ])
      if (done.ok) return tombstone
    }
    throw contended('remove', id)
  }

  async tombstone(id: VolumeId): Promise<Tombstone | null> {
    const entry = await this.#coordinator.get(tombstoneKey(id))
    return entry === null ? null : decodeTombstone(entry.value)
  }

  async #read(id: VolumeId): Promise<StoredVolume | null> {
    const entry = await this.#coordinator.get(volumeKey(id))
    return entry === null ? null : { record: decodeRecord(entry.value), version: entry.version }
  }

  async #change(
    op: string,
    id: VolumeId,
    change: (record: VolumeRecord) => VolumeRecord | Promise<VolumeRecord>,
    beside: Beside = nothingBeside,
  ): Promise<StoredVolume> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const before = await this.get(id)
      const record = await change(before.record)
      const value = checkedBytes(record)
      const step = { key: volumeKey(id), expected: before.version, value }
      const done = await this.#coordinator.transaction([step, ...(await beside(before))])
      if (done.ok) return { record, version: done.versions[0] ?? 0 }
    }
    throw contended(op, id)
  }

  async #nextNumber(): Promise<{ number: VolumeNumber; step: Step }> {
    const entry = await this.#coordinator.get(NUMBER_NEXT)
    const text = entry?.value.toString() ?? '1'
    if (!/^[1-9]\d{0,8}$/.test(text)) throw new CorruptError('next volume number', { text })
    const number = Number(text)
    if (number > limits.volumeNumberMax) {
      throw new FsError('ENOSPC', 'volume.create', {
        message: `all ${limits.volumeNumberMax} volume numbers of this cluster are used up, and none is given twice; begin a new cluster`,
      })
    }
    const value = Buffer.from(String(number + 1))
    const step: Step = { key: NUMBER_NEXT, expected: entry?.version ?? 0, value }
    return { number: number as VolumeNumber, step }
  }

  async #mustBeFree(name: string): Promise<void> {
    if ((await this.#coordinator.get(nameKey(name))) === null) return
    throw new FsError('EEXIST', 'volume.create', {
      volume: name,
      message: `volume ${name} exists already`,
      next: `choose another name, or look at it with: weft volume inspect ${name}`,
    })
  }
}

/** A record that would be refused when read must never be written. */
function checkedBytes(record: VolumeRecord): Buffer {
  const broken = contradictionIn(record)
  assert(broken === null, `volume record: ${broken}`)
  const bytes = encodeRecord(record)
  if (bytes.length > limits.coordinatorValueBytesMax) {
    throw new FsError('ENOSPC', 'volume.record', {
      volume: record.name,
      message: `volume ${record.name}: its record has ${bytes.length} bytes, at most ${limits.coordinatorValueBytesMax} fit; remove key slots`,
    })
  }
  return bytes
}

function withKeys(record: VolumeRecord, keys: KeyBundle): VolumeRecord {
  if (keys.newest >= record.keys.newest) return { ...record, keys }
  throw new FsError('EINVAL', 'volume.setKeys', {
    volume: record.name,
    message: `volume ${record.name}: keys up to key epoch ${keys.newest} would replace keys up to ${record.keys.newest}, and what is sealed with the newest could not be read`,
  })
}

function mustOwn(record: VolumeRecord, by: Owning, op: string): void {
  if (record.owner === by.node && record.epoch === by.epoch) return
  throw new FsError('ESTALE', `volume.${op}`, {
    volume: record.name,
    message: `volume ${record.name}: epoch ${by.epoch} of node ${by.node} is past; epoch ${record.epoch} of node ${record.owner} owns it`,
  })
}

/** The minimum that is asked for, once it is kept. */
function withMinimum(record: VolumeRecord): VolumeRecord {
  const { minimum } = record.spec
  const isKept = minimum <= record.minimum || record.inSync.length >= minimum
  return isKept ? { ...record, minimum } : record
}

function mustBeReady(record: VolumeRecord, what: string): void {
  if (record.state === 'ready') return
  throw new FsError('EBUSY', 'volume.change', {
    volume: record.name,
    message: `volume ${record.name}: is being ${record.state === 'making' ? 'made' : 'deleted'} and cannot be ${what}`,
  })
}

function isVolumeName(text: string): boolean {
  try {
    checkVolumeName(text)
    return true
  } catch {
    return false
  }
}

function idOf(value: Buffer, key: string): VolumeId {
  const text = value.toString()
  if (!/^[0-9a-f]{32}$/.test(text)) throw new CorruptError('name without a volume', { key })
  return text as VolumeId
}

function missing(what: string): FsError {
  return new FsError('ENOENT', 'volume.get', {
    message: `no volume with ${what}; weft volume list shows what there is`,
  })
}

function contended(op: string, volume: string): FsError {
  return new FsError('EBUSY', `volume.${op}`, {
    volume,
    retry: 'later',
    message: `volume ${volume}: ${op} lost to other changes ${attemptsMax} times; try again`,
  })
}
