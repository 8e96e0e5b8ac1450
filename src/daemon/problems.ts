import type { Problem } from '../api/index.ts'
import { clusterProblems } from './cluster-control.ts'
import type { Node } from './node.ts'
import { repairProblems } from './repair-control.ts'
import type { NodeVolume } from './volumes.ts'

/** What a newer build wrote is whole: repairing it would destroy it. */
function nextOf(why: string, name: string): string {
  const newer = /newer weft|this build reads/.test(why)
  return newer ? 'weft upgrade --program MAIN.JS, with the newer build' : `weft fsck ${name}`
}

/** What is wrong with one volume, or worth knowing. */
export function volumeProblems(node: Node, volume: NodeVolume): Problem[] {
  const { name } = volume.stored.record
  const found: Problem[] = []
  if (volume.closed?.state === 'elsewhere') {
    found.push({
      severity: 'note',
      what: `volume ${name} is on another node`,
      why: `${volume.closed.why}; it is used from here through that node`,
      next: `nothing; weft attach ${name} DIR brings it here, if this node has a copy of it`,
    })
  } else if (volume.closed && volume.closed.state !== 'waiting') {
    const locked = volume.closed.state === 'locked'
    found.push({
      severity: locked ? 'note' : 'error',
      what: `volume ${name} is ${volume.closed.state}`,
      why: volume.closed.why,
      next: locked ? `weft key unlock ${name}` : nextOf(volume.closed.why, name),
    })
  }
  found.push(...repairProblems(node, volume))
  if (volume.shared?.stopped) {
    found.push({
      severity: 'error',
      what: `volume ${name} has stopped`,
      why: 'a write or a sync of its drive failed; nothing is acknowledged any more',
      next: 'look at the drive and the log, then weft down; weft up',
    })
  }
  for (const { chunk, what } of node.damage.get(volume.stored.record.id) ?? []) {
    found.push({
      severity: 'error',
      what: `volume ${name}: chunk ${chunk} is damaged`,
      why: what,
      next: `weft fsck ${name} names the files; weft fsck ${name} --repair quarantines what is lost`,
    })
  }
  return found
}

/** All that is wrong, of this node and of what it owns. */
export function problems(node: Node): Problem[] {
  const found: Problem[] = [...node.startProblems]
  for (const drive of node.drives) {
    if (drive.state !== 'ok') {
      found.push({
        severity: 'error',
        what: `drive ${drive.dir} is ${drive.state}`,
        why: String(drive.failure ?? 'it does not answer'),
        next: 'mend or replace it, then weft down; weft up',
      })
    } else if (drive.freeBytes() <= drive.headroomBytes()) {
      found.push({
        severity: 'warning',
        what: `drive ${drive.dir} is full`,
        why: 'only the headroom for deletes is left; writes get ENOSPC',
        next: 'delete files, or weft drive add DIR',
      })
    }
  }
  for (const { target, why, next } of node.mounts.dead()) {
    found.push({
      severity: 'error',
      what: `mount ${target} is dead`,
      why,
      next: `end what runs there; ${next}`,
    })
  }
  for (const { record, why, newer } of node.volumes.unreadable) {
    found.push({
      severity: 'error',
      what: `the coordinator's record ${record} cannot be read`,
      why,
      next: newer
        ? 'weft upgrade --program MAIN.JS, with the newer build'
        : 'put HOME/coordinator back from a backup; the data of the volume is untouched',
    })
  }
  if (node.mounts.locksAreLocal) {
    const target = node.mounts.namespace?.target
    found.push({
      severity: 'warning',
      what: `locks of files below ${target} hold on this node alone`,
      why: 'it was mounted before the node was in a cluster, and was in use when that changed',
      next: `when nobody uses it: weft umount ${target}; weft mount ${target}`,
    })
  }
  if (node.cluster) found.push(...clusterProblems(node, node.cluster))
  const here = node.volumes.all().filter((volume) => !node.volumes.isElsewhere(volume))
  return [...found, ...here.flatMap((volume) => volumeProblems(node, volume))]
}
