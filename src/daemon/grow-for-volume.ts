import type { VolumeCreateRequest } from '../api/index.ts'
import { FsError, type NodeId } from '../base/index.ts'
import { describeBytes, parseVolumeSpec } from '../volumes/index.ts'
import type { Node } from './node.ts'
import { placeHere } from './place-here.ts'
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
  const cos = spec.cos ?? placeHere(spec, drives).cos
  const fits = await provisioning.use((room, signal) => room.hasRoom(sizeBytes, cos, signal))
  if (fits) return
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

/** A volume of the usual size is a quota that nobody asked for. */
function isSized({ size, spec = '' }: VolumeCreateRequest): boolean {
  return size !== undefined || /(^|,)\s*size\s*=/.test(spec)
}
