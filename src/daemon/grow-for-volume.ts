import type { VolumeCreateRequest } from '../api/index.ts'
import { FsError, type NodeId } from '../base/index.ts'
import {
  type ClassOfService,
  describeBytes,
  parseVolumeSpec,
  type VolumeRecord,
} from '../volumes/index.ts'
import type { Node } from './node.ts'
import type { NodeProvisioning } from './provisioning.ts'
import { worked } from './synergy-verbs.ts'

export type GrowthWorld = Pick<Node, 'provisioning' | 'jobs' | 'drives' | 'identity'>

/** What somebody asked for has to lie on this node. */
interface Wanted {
  readonly op: string
  readonly volume: string
  readonly bytes: number
  /** Null when any class will do. */
  readonly cos: ClassOfService | null
}

/**
 * A volume of a size that somebody asked for has to fit on its class on this node.
 * @param nodes of the cluster
 * @throws FsError as `growFor`
 */
export async function mustHaveRoom(
  world: GrowthWorld,
  request: VolumeCreateRequest,
  nodes: readonly NodeId[],
): Promise<void> {
  if (!isSized(request)) return
  const spec = parseVolumeSpec(request, { nodes })
  const { name, sizeBytes, cos } = spec
  // A lower class will do, or none of it comes here.
  if (spec.cosFallback || (spec.nodes !== null && !spec.nodes.includes(world.identity.id))) return
  await growFor(world, { op: 'volume.create', volume: name, bytes: sizeBytes, cos })
}

/**
 * As for a volume that is made: what it may come to hold beyond what it holds has to fit.
 * @throws FsError as `growFor`
 */
export async function mustHaveRoomFor(
  world: GrowthWorld,
  { name, spec }: Pick<VolumeRecord, 'name' | 'spec'>,
  sizeBytes: number,
  usedBytes: number,
): Promise<void> {
  if (sizeBytes <= spec.sizeBytes || sizeBytes <= usedBytes || spec.cosFallback) return
  const bytes = sizeBytes - usedBytes
  await growFor(world, { op: 'volume.resize', volume: name, bytes, cos: spec.cos })
}

/**
 * Where the policy takes drives of a frame: begins that when there is no room. Else, and when there is, returns.
 * @throws FsError EAGAIN with `growing`, the job that takes drives for it; ENOSPC when none can be had, with why
 */
export async function growFor(
  { provisioning, jobs, drives }: GrowthWorld,
  { op, volume, bytes, cos }: Wanted,
): Promise<void> {
  if (!provisioning.isConnected) return
  const { settings } = await provisioning.use((room) => room.status())
  if (!settings.enabled || settings.dryRun) return
  const here = [...new Set(drives.map((drive) => drive.cos))].sort((a, b) => b - a)
  const short = await classToGrow(provisioning, bytes, cos === null ? here : [cos])
  if (short === null) return
  const growing =
    jobs.running('grow', volume) ??
    jobs.start(
      'grow',
      'drives',
      (job) => worked(provisioning, job, (room, step) => room.ensureRoom(bytes, short, step)),
      volume,
    )
  throw new FsError('EAGAIN', op, {
    ...{ volume, growing, retry: 'later' },
    message: `volume ${volume}: ${describeBytes(bytes)} do not fit on class ${short} of this node yet: drives of the frame are being taken for it`,
    next: `ask again when job ${growing.id} has ended; weft synergy status shows how far it is`,
  })
}

/** Null when one of them has the room; else the first that can grow. @throws FsError ENOSPC when none can, with why */
async function classToGrow(
  provisioning: NodeProvisioning,
  bytes: number,
  classes: readonly ClassOfService[],
): Promise<ClassOfService | null> {
  let growing: ClassOfService | null = null
  let refusal: FsError | null = null
  for (const cos of classes) {
    try {
      if (await provisioning.use((room, signal) => room.hasRoom(bytes, cos, signal))) return null
      growing ??= cos
    } catch (error) {
      if (!(error instanceof FsError) || error.code !== 'ENOSPC') throw error
      refusal ??= error
    }
  }
  if (growing === null && refusal) throw refusal
  return growing
}

/** A volume of the usual size is a quota that nobody asked for. */
function isSized({ size, spec = '' }: VolumeCreateRequest): boolean {
  return size !== undefined || /(^|,)\s*size\s*=/.test(spec)
}
