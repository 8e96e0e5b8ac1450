import type { VolumeClassRequest } from '../api/index.ts'
import { FsError, type NodeId } from '../base/index.ts'
import { roomOn, takesData } from '../drives/index.ts'
import { describeBytes, type VolumeRecord } from '../volumes/index.ts'
import { type GrowthWorld, growFor } from './grow-for-volume.ts'
import type { Node } from './node.ts'
import type { NodeVolume } from './volumes.ts'

type World = GrowthWorld & Pick<Node, 'registry' | 'engine' | 'cluster' | 'replicated'>

interface ClassRoom {
  readonly node: NodeId
  readonly class: 1 | 2 | 3
  readonly freeBytes: number
}

/**
 * Have a volume on another class of drive. Each node with a copy moves it by itself, while it is used; a node that is away, when it
 * is back.
 * @throws FsError ENOSPC when a node's drives of that class have no room for it, with what there is; EAGAIN with `growing` when
 * only this node's have none, and the policy takes drives for it
 */
export async function setVolumeClass(
  node: World,
  volume: NodeVolume,
  { class: cos, orLower = false }: VolumeClassRequest,
): Promise<void> {
  const { record } = volume.stored
  if (cos !== null && !orLower) await mustHaveRoom(node, volume, cos)
  volume.stored = await node.registry.setCos(record.id, cos, orLower)
  if (volume.shared) volume.shared.cos = cos
}

async function mustHaveRoom(node: World, volume: NodeVolume, cos: 1 | 2 | 3): Promise<void> {
  const { record } = volume.stored
  const { storedBytes } = volume.shared
    ? await node.engine.call('figures', { number: record.number })
    : { storedBytes: 0 }
  const rooms = await roomsOf(node, record)
  const short = record.copies.filter((copy) => {
    const free = freeOn(rooms, copy.node, cos)
    return free <= 0 || free < storedBytes
  })
  if (short.length === 0 || record.spec.cos === cos) return
  // Drives here help nobody while another node has none.
  if (short.every((copy) => copy.node === node.identity.id)) {
    // An empty volume needs a drive of the class too.
    const bytes = Math.max(1, storedBytes)
    await growFor(node, { op: 'volume.cos', volume: record.name, bytes, cos })
  }
  const words = short.map((copy) => {
    const name = node.cluster?.nameOf(copy.node) ?? 'this node'
    return `${name} has ${describeBytes(freeOn(rooms, copy.node, cos))} free on drives of class ${cos}`
  })
  throw new FsError('ENOSPC', 'volume.cos', {
    volume: record.name,
    message: `volume ${record.name} has ${describeBytes(storedBytes)}: ${words.join('; ')}`,
    next: `weft drive add DISK --class ${cos} there; or --cos-fallback, which moves what has room and the rest later`,
  })
}

async function roomsOf(node: World, { copies }: VolumeRecord): Promise<ClassRoom[]> {
  if (node.cluster && copies.length > 1) return (await node.replicated().candidates()).found
  return node.drives.filter(takesData).map((drive) => ({
    node: node.identity.id,
    class: drive.cos,
    freeBytes: roomOn(drive),
  }))
}

function freeOn(rooms: readonly ClassRoom[], node: NodeId, cos: 1 | 2 | 3): number {
  const those = rooms.filter((room) => room.node === node && room.class === cos)
  return those.reduce((sum, { freeBytes }) => sum + freeBytes, 0)
}
