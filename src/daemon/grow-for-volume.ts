import type { VolumeCreateRequest } from '../api/index.ts'
import { FsError, type NodeId } from '../base/index.ts'
import { type ClassOfService, describeBytes, parseVolumeSpec } from '../volumes/index.ts'
import type { Node } from './node.ts'
import type { NodeProvisioning } from './provisioning.ts'
import { worked } from './synergy-verbs.ts'

type World = Pick<Node, 'provisioning' | 'jobs' | 'drives' | 'identity'>

/**
 * Where the policy takes drives of a frame, a volume of a size that somebody asked for has to fit on its class on this node.
 * @param nodes of the cluster
 * @throws FsError EAGAIN with `growing`, the job that takes drives for it; ENOSPC when none can be had, with why
 */
export async function mustHaveRoom(
  { provisioning, jobs, drives, identity }: World,
  request: VolumeCreateRequest,
  nodes: readonly NodeId[],
): Promise<void> {
  if (!provisioning.isConnected || !isSized(request)) return
  const { settings } = await provisioning.use((room) => room.status())
  if (!settings.enabled || settings.dryRun) return
  const spec = parseVolumeSpec(request, { nodes })
  const { name, sizeBytes } = spec
  // A lower class will do, or none of it comes here.
  if (spec.cosFallback || (spec.nodes !== null && !spec.nodes.includes(identity.id))) return
  const here = [...new Set(drives.map((drive) => drive.cos))].sort((a, b) => b - a)
  const cos = await classToGrow(provisioning, sizeBytes, spec.cos === null ? here : [spec.cos])
  if (cos === null) return
  const growing =
    jobs.running('grow', name) ??
    jobs.start(
      'grow',
      'drives',
      (job) => worked(provisioning, job, (room, step) => room.ensureRoom(sizeBytes, cos, step)),
      name,
    )
  throw new FsError('EAGAIN', 'volume.create', {
    ...{ volume: name, growing, retry: 'later' },
    message: `volume ${name}: ${describeBytes(sizeBytes)} do not fit on class ${cos} of this node yet: drives of the frame are being taken for it`,
    next: `create it again when job ${growing.id} has ended; weft synergy status shows how far it is`,
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
