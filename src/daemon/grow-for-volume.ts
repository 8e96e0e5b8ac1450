import type { VolumeCreateRequest } from '../api/index.ts'
import { FsError, type NodeId } from '../base/index.ts'
import {
  type ClassOfService,
  describeBytes,
  parseVolumeSpec,
  type VolumeRecord,
  type VolumeSpec,
} from '../volumes/index.ts'
import type { Node } from './node.ts'
import type { NodeProvisioning } from './provisioning.ts'
import { worked } from './synergy-verbs.ts'

type World = Pick<Node, 'provisioning' | 'jobs' | 'drives' | 'identity'>

/** What somebody asked room for on this node. */
export interface Wanted {
  readonly op: 'volume.create' | 'volume.resize' | 'volume.cos'
  readonly volume: string
  readonly bytes: number
  /** On one of these, the first that can. */
  readonly classes: readonly ClassOfService[]
}

/**
 * A volume of a size that somebody asked for has to fit on its class on this node.
 * @param nodes of the cluster
 * @throws as mustFit
 */
export async function mustHaveRoom(
  world: World,
  request: VolumeCreateRequest,
  nodes: readonly NodeId[],
): Promise<void> {
  if (!isSized(request)) return
  const spec = parseVolumeSpec(request, { nodes })
  const { name, sizeBytes } = spec
  // None of it comes here.
  if (spec.nodes !== null && !spec.nodes.includes(world.identity.id)) return
  await mustFit(world, {
    ...{ op: 'volume.create', volume: name, bytes: sizeBytes },
    classes: classesFor(world, spec),
  })
}

/** What a volume is to have more has to fit beside what is there. @throws as mustFit */
export async function mustHaveRoomToGrow(
  world: World,
  { name, spec, copies }: VolumeRecord,
  sizeBytes: number,
): Promise<void> {
  const bytes = sizeBytes - spec.sizeBytes
  if (bytes <= 0 || !copies.some(({ node }) => node === world.identity.id)) return
  const classes = classesFor(world, spec)
  await mustFit(world, { op: 'volume.resize', volume: name, bytes, classes })
}

/** Of a volume that may be on any, all that this node has, the best first; none where a lower one will do. */
function classesFor(
  { drives }: World,
  { cos, cosFallback }: Pick<VolumeSpec, 'cos' | 'cosFallback'>,
): ClassOfService[] {
  if (cosFallback) return []
  if (cos !== null) return [cos]
  return [...new Set(drives.map((drive) => drive.cos))].sort((a, b) => b - a)
}

/**
 * Where the policy takes drives of a frame, it takes them for this, if it does not fit.
 * @throws FsError EAGAIN with `growing`, the job that takes drives for it; ENOSPC when none can be had, with why
 */
export async function mustFit({ provisioning, jobs }: World, wanted: Wanted): Promise<void> {
  const { op, volume, bytes, classes } = wanted
  if (!provisioning.isConnected || classes.length === 0) return
  const { settings } = await provisioning.use((room) => room.status())
  if (!settings.enabled || settings.dryRun) return
  const cos = await classToGrow(provisioning, bytes, classes)
  if (cos === null) return
  const growing =
    jobs.running('grow', volume) ??
    jobs.start(
      'grow',
      'drives',
      (job) => worked(provisioning, job, (room, step) => room.ensureRoom(bytes, cos, step)),
      volume,
    )
  throw new FsError('EAGAIN', op, {
    ...{ volume, growing, retry: 'later' },
    message: `volume ${volume}: ${describeBytes(bytes)} do not fit on class ${cos} of this node yet: drives of the frame are being taken for it`,
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
