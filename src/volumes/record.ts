import { z } from 'zod'
import {
  type CopyId,
  CorruptError,
  type DriveId,
  type Epoch,
  FsError,
  limits,
  type NodeId,
  SPREAD_LEVELS,
  type VolumeId,
  type VolumeNumber,
} from '../base/index.ts'
import { type KeyBundle, parseBundle } from '../crypto/index.ts'
import type { VolumeSpec } from './spec.ts'

/** One place that holds a volume, journal included (design §2). */
export interface Copy {
  readonly id: CopyId
  readonly node: NodeId
  readonly drive: DriveId
}

/** What the coordinator knows of a volume: its one record (design §6.1), changed only by compare-and-set. */
export interface VolumeRecord {
  readonly version: 1
  /** Of the coordinator; nodes and copies keep the highest seen and obey no lower one. */
  readonly generation: number
  readonly id: VolumeId
  readonly number: VolumeNumber
  readonly name: string
  /** 0 before the first owner. */
  readonly epoch: Epoch
  readonly owner: NodeId | null
  /** Every copy that was ever made part of the volume and not given up. */
  readonly copies: readonly Copy[]
  /** Copies that have every acknowledged record; never fewer than `minimum`, but in a rebuilt record. */
  readonly inSync: readonly CopyId[]
  readonly minimum: number
  /** Copies given up: each node deletes its own and takes it off this list. Only standing here orders that. */
  readonly released: readonly Copy[]
  /** Where a person wants the owner; null when it is there. A copy is kept on that node meanwhile. */
  readonly movingTo: NodeId | null
  /**
   * The coordinator was rebuilt, and nobody has owned the volume since: of the copies that answered, `inSync` are those with
   * the longest log. The first take-over brings the others up to it, and makes a set of at least the minimum.
   */
  readonly rebuilt?: true
  readonly spec: VolumeSpec
  readonly keys: KeyBundle
  /**
   * 'making': nothing of it was shown to anybody yet; found at a start, it is taken away. 'deleting': its name is free
   * again, its data is being taken back.
   */
  readonly state: 'making' | 'ready' | 'deleting'
  /** ISO time. */
  readonly createdAt: string
}

/** What stays of a removed volume: only this orders its copies to be deleted; absence of a record never does. */
export interface Tombstone {
  readonly version: 1
  readonly id: VolumeId
  readonly number: VolumeNumber
  readonly name: string
  readonly epoch: Epoch
  readonly removedAt: string
}

const FORMAT = 1

const hex = z.string().regex(/^[0-9a-f]{32}$/)
const count = z.int().min(1)
const name = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/)
const sizeBytes = z.int().min(limits.volumeBytesMin).max(limits.volumeBytesMax)

const specShape = z.strictObject({
  name,
  sizeBytes,
  repl: count,
  minimum: count,
  cos: z.union([z.literal(1), z.literal(2), z.literal(3), z.null()]),
  cosFallback: z.literal(true).optional(),
  spread: z.enum(SPREAD_LEVELS),
  nodes: z.array(hex).nullable(),
  onLoss: z.enum(['wait', 'error']),
  ownerStays: z.literal(true).optional(),
})

const copyShape = z.strictObject({ id: hex, node: hex, drive: hex })

const recordShape = z.strictObject({
  version: z.literal(FORMAT),
  generation: count,
  id: hex,
  number: count.max(limits.volumeNumberMax),
  name,
  epoch: z.int().min(0),
  owner: hex.nullable(),
  copies: z.array(copyShape).min(1),
  inSync: z.array(hex),
  minimum: count,
  released: z.array(copyShape).default([]),
  movingTo: hex.nullable().default(null),
  rebuilt: z.literal(true).optional(),
  spec: specShape,
  keys: z.unknown(),
  state: z.enum(['making', 'ready', 'deleting']),
  createdAt: z.string().max(40),
})

const tombstoneShape = z.strictObject({
  version: z.literal(FORMAT),
  id: hex,
  number: count.max(limits.volumeNumberMax),
  name,
  epoch: z.int().min(0),
  removedAt: z.string().max(40),
})

export function encodeRecord(record: VolumeRecord): Buffer {
  return Buffer.from(JSON.stringify(record))
}

/** @throws FsError ENOTSUP for a record (or its keys) of a newer build; CorruptError for anything else that is not one */
export function decodeRecord(bytes: Buffer): VolumeRecord {
  const value = jsonOf(bytes, 'record')
  const parsed = recordShape.safeParse(value)
  if (!parsed.success) throw corrupt('record', parsed.error)
  const keys = parseBundle(parsed.data.keys)
  // The cast gives ids their brands; the shape above has checked what they promise.
  const record = { ...parsed.data, keys } as unknown as VolumeRecord
  const broken = contradictionIn(record)
  if (broken !== null) throw new CorruptError(`volume record: ${broken}`, { volume: record.id })
  return record
}

export function encodeTombstone(tombstone: Tombstone): Buffer {
  return Buffer.from(JSON.stringify(tombstone))
}

/** @throws as decodeRecord */
export function decodeTombstone(bytes: Buffer): Tombstone {
  const parsed = tombstoneShape.safeParse(jsonOf(bytes, 'tombstone'))
  if (!parsed.success) throw corrupt('tombstone', parsed.error)
  return parsed.data as unknown as Tombstone
}

/** The copy a node has of a volume: its drive is where that node's journal is. */
export function copyOn(record: VolumeRecord, node: NodeId): Copy | null {
  return record.copies.find((copy) => copy.node === node) ?? null
}

/** What is wrong with a record whose fields are each right, or null. */
export function contradictionIn(record: VolumeRecord): string | null {
  const ids = record.copies.map((copy) => copy.id)
  if (new Set(ids).size !== ids.length) return 'a copy is listed twice'
  if (new Set(record.inSync).size !== record.inSync.length) return 'a copy is in sync twice'
  if (record.inSync.some((id) => !ids.includes(id))) return 'an in-sync copy that is not a copy'
  const least = record.rebuilt ? 1 : record.minimum
  if (record.inSync.length < least) return 'fewer copies in sync than the minimum'
  if (record.released.some(({ id }) => ids.includes(id)))
    return 'a copy that is given up and is not'
  if (record.name !== record.spec.name) return 'two names'
  if ((record.epoch === 0) !== (record.owner === null)) return 'an epoch without an owner'
  return null
}

function jsonOf(bytes: Buffer, what: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString())
  } catch (error) {
    throw new CorruptError(`volume ${what} that is not JSON`, { bytes: bytes.length }, error)
  }
  const version =
    typeof value === 'object' && value !== null && 'version' in value ? value.version : null
  if (typeof version === 'number' && version > FORMAT) {
    throw new FsError('ENOTSUP', 'volume.decode', {
      version,
      message: `written by a newer weft (${what} version ${version}, this build reads ${FORMAT}): run that build`,
    })
  }
  return value
}

function corrupt(what: string, error: z.ZodError): CorruptError {
  const [first] = error.issues
  const where = first?.path.join('.') || 'as a whole'
  return new CorruptError(`volume ${what} damaged at ${where}: ${first?.message ?? ''}`)
}
