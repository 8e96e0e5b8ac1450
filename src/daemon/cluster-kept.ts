import { join } from 'node:path'
import { z } from 'zod'
import { CorruptError, FsError, isBug, type Log, messageOf, type VolumeId } from '../base/index.ts'
import {
  type ClusterId,
  mustBeSigned,
  type NodeSigned,
  nodeSignedShape,
  type Self,
  signAsNode,
} from '../cluster/index.ts'
import type { Coordinator, Entry } from '../coordinator/index.ts'
import type { Disk } from '../disk/index.ts'
import {
  decodeRecord,
  NUMBER_NEXT,
  REPLACED_KEYS,
  TOMBSTONES,
  tombstoneKey,
  VOLUMES,
  type VolumeRecord,
  volumeKey,
} from '../volumes/index.ts'

/** What one member has kept of one key of the coordinator. */
export interface KeptEntry {
  /** Of the coordinator that it was read from; the higher one counts, then the higher version. */
  readonly generation: number
  readonly key: string
  readonly version: number
  readonly value: string
}

export interface KeptWorld {
  readonly home: string
  readonly disk: Disk
  readonly coordinator: Coordinator
  readonly cluster: ClusterId
  readonly self: Self
  /** Of the coordinator that is obeyed. */
  generation(): number
  readonly log: Log
}

const FORMAT = 1
const DIRECTORY = 'kept'
const SUFFIX = '.json'
const shape = z.strictObject({
  version: z.literal(FORMAT),
  generation: z.int().min(1),
  key: z.string().regex(/^[\x21-\x7e]{1,512}$/),
  entryVersion: z.int().min(0),
  value: z.string(),
})

/**
 * What every member keeps of the coordinator, so that it can be rebuilt when it is lost for good: the record of each volume,
 * key slots, set and epoch in it, tombstones, and what else must not be forgotten. One signed file for each key, in
 * <home>/kept (docs/format.md §7), replaced as the coordinator's entry changes.
 *
 * Absence is no order: a record stays until a tombstone of its volume is seen, whatever the coordinator lists.
 */
export class KeptEntries {
  readonly #world: KeptWorld
  readonly #directory: string
  readonly #entries = new Map<string, { readonly entry: KeptEntry; readonly signed: NodeSigned }>()
  /** Keys of the last list of the coordinator; null before the first. */
  #listed: ReadonlySet<string> | null = null

  /** What cannot be read is passed over, and written anew when the coordinator has it. @throws FsError of the disk */
  constructor(world: KeptWorld) {
    this.#world = world
    this.#directory = join(world.home, DIRECTORY)
    const { disk, log } = world
    disk.mkdir(this.#directory)
    for (const name of disk.list(this.#directory)) {
      if (!name.endsWith(SUFFIX)) continue
      try {
        this.#read(join(this.#directory, name))
      } catch (error) {
        if (isBug(error)) throw error
        log.error({ op: 'kept.read', name, error: messageOf(error) }, 'passed over')
      }
    }
  }

  /** Ready to use, by what is known here; by name. */
  volumes(): VolumeRecord[] {
    const ready = this.#records().filter(({ state }) => state === 'ready')
    return ready.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Kept here, not listed by the coordinator, and no tombstone says why. Empty until it was asked. */
  missing(): VolumeRecord[] {
    const listed = this.#listed
    if (listed === null) return []
    return this.#records().filter(({ id }) => !listed.has(volumeKey(id)))
  }

  /** In the order of keys, those behind `after`. */
  *signedBehind(after: string): Generator<{ readonly key: string; readonly signed: NodeSigned }> {
    for (const key of [...this.#entries.keys()].sort()) {
      const signed = this.#entries.get(key)?.signed
      if (key > after && signed) yield { key, signed }
    }
  }

  /** As the coordinator has it now, on the drive when this returns; what the drive does not take is tried again. */
  async update(): Promise<void> {
    const { coordinator, log } = this.#world
    const generation = this.#world.generation()
    const number = await coordinator.get(NUMBER_NEXT)
    const entries = [...(number ? [number] : [])]
    for (const prefix of [TOMBSTONES, REPLACED_KEYS, VOLUMES]) {
      entries.push(...(await coordinator.list(prefix)))
    }
    try {
      for (const entry of entries) this.#keep(entry, generation)
      this.#listed = new Set(entries.map(({ key }) => key))
      for (const key of [...this.#entries.keys()]) if (this.#isOver(key)) this.#forget(key)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      log.error({ op: 'kept.write', error: messageOf(error) }, 'not written down yet')
    }
  }

  #keep({ key, value, version }: Entry, generation: number): void {
    const { cluster, self, disk } = this.#world
    const text = value.toString()
    const known = this.#entries.get(key)?.entry
    if (known?.generation === generation && known.version === version && known.value === text) {
      return
    }
    const body = { version: FORMAT, generation, key, entryVersion: version, value: text }
    const by = { node: self.id, secretKey: self.keys.sign.secretKey }
    const signed = signAsNode('kept', cluster, by, body)
    disk.replaceFile(this.#pathOf(key), Buffer.from(`${JSON.stringify(signed)}\n`))
    this.#entries.set(key, { entry: { generation, key, version, value: text }, signed })
  }

  /** A record, and keys that were replaced, go for a tombstone; keys also when the record that is listed has them no more. */
  #isOver(key: string): boolean {
    const isReplaced = key.startsWith(REPLACED_KEYS)
    if (!isReplaced && !key.startsWith(VOLUMES)) return false
    const id = key.split('/')[1] as VolumeId
    if (this.#entries.has(tombstoneKey(id))) return true
    return isReplaced && !this.#listed?.has(key) && (this.#listed?.has(volumeKey(id)) ?? false)
  }

  #forget(key: string): void {
    const { disk } = this.#world
    disk.unlink(this.#pathOf(key))
    disk.fsyncDirectory(this.#directory)
    this.#entries.delete(key)
  }

  #read(path: string): void {
    const { cluster, self, disk } = this.#world
    const signed = nodeSignedShape.parse(JSON.parse(disk.readFile(path).toString()))
    const entry = openKept(signed, cluster, self.keys.sign.publicKey.toString('hex'))
    this.#entries.set(entry.key, { entry, signed })
  }

  #records(): VolumeRecord[] {
    return [...this.#entries.values()].flatMap(({ entry: { key, value } }) => {
      if (!key.startsWith(VOLUMES)) return []
      try {
        return [decodeRecord(Buffer.from(value))]
      } catch (error) {
        if (!(error instanceof CorruptError || error instanceof FsError)) throw error
        // Of a newer build: it is passed on as it is.
        return []
      }
    })
  }

  /** Keys have no dots. */
  #pathOf(key: string): string {
    return join(this.#directory, `${key.replaceAll('/', '.')}${SUFFIX}`)
  }
}

/**
 * @param signKey of the member that kept it, hex
 * @throws CorruptError for what that key did not sign, and for what is not of the shape
 */
export function openKept(signed: NodeSigned, cluster: ClusterId, signKey: string): KeptEntry {
  mustBeSigned('kept', cluster, signed, signKey)
  const { data, error } = shape.safeParse(JSON.parse(signed.text))
  if (data === undefined) throw new CorruptError(`kept entry that is none: ${error.message}`)
  const { generation, key, entryVersion, value } = data
  return { generation, key, version: entryVersion, value }
}
