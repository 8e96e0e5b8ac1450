import type { Problem } from '../api/index.ts'
import { messageOf } from '../base/index.ts'
import type { Drive } from '../drives/index.ts'
import { clusterProblems } from './cluster-control.ts'
import type { Node } from './node.ts'
import { remedyOf } from './reasons.ts'
import { repairProblems } from './repair-control.ts'
import { synergyProblems } from './synergy-problems.ts'
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
  found.push(...probeProblems(node, volume))
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

/** From when on no answer is more than a slow one, and from when on it is an error. */
const SILENT_SECONDS = 3
const SILENT_SECONDS_ERROR = 10

const PROBE_WORDS = {
  commit: 'a few bytes, written, synced and read back as a program does it',
  call: 'what a program asks of its owner',
} as const

/** What probes of its data path say. */
function probeProblems(node: Node, { stored: { record }, shared }: NodeVolume): Problem[] {
  const { name } = record
  const { state, kind, forSeconds, waitsFor, code, why } = node.probes.of(record.id)
  const words = kind === null ? '' : PROBE_WORDS[kind]
  if (state === 'silent' && forSeconds >= SILENT_SECONDS) {
    return [
      {
        severity: forSeconds >= SILENT_SECONDS_ERROR ? 'error' : 'warning',
        what: `volume ${name}: no answer for ${forSeconds} s: ${waitsFor}`,
        why: `${words}: that has no end yet, and neither have programs' calls that need the same`,
        next: silenceRemedy(waitsFor),
      },
    ]
  }
  // That is said already, and what to do.
  if (state !== 'failed' || shared?.stopped) return []
  return [
    {
      severity: 'error',
      what: `volume ${name}: its probe failed: ${code}`,
      why: `${words}: ${withNames(node, why)}`,
      next: failureRemedy(code, name),
    },
  ]
}

function failureRemedy(code: string, name: string): string {
  if (code === 'EIO') {
    return `look at the drive of the node that is named (dmesg, smartctl); weft fsck ${name}`
  }
  if (code === 'EAGAIN') return 'bring the nodes of its copies back; weft cluster status shows them'
  return remedyOf(code, name)
}

function silenceRemedy(waitsFor: string): string {
  if (waitsFor.startsWith('copy on ')) {
    const nodes = waitsFor.replaceAll('copy on ', '')
    return `weft status on ${nodes}, or start that node; it is dropped from the set after 3 s, or 10 s if one copy would remain`
  }
  if (waitsFor.endsWith('its owner')) return `weft status on ${waitsFor.replace(', its owner', '')}`
  return 'look at the kernel log (dmesg) for the drive; a drive that comes back goes on by itself'
}

/** Rooms below know nodes by their ids. */
function withNames({ cluster }: Node, words: string): string {
  const members = cluster?.membership.members() ?? []
  return members.reduce((text, { node, name }) => text.replaceAll(node, name), words)
}

const PUT_BACK =
  'put it back: it is taken into use by itself, with all that is on it. What has a copy on another node is made anew there meanwhile'

function driveRemedy({ kind, state, id, dir }: Drive): string {
  if (kind === 'block' && state === 'gone') return PUT_BACK
  if (state === 'gone') return 'mount or reconnect it, then weft down; weft up'
  return `it gets nothing new, and what it gives is moved to the others: weft drive status ${id}; then replace it, or, once it is sound: weft drive add ${dir}`
}

/** All that is wrong, of this node and of what it owns. */
export function problems(node: Node): Problem[] {
  const found: Problem[] = [...node.startProblems]
  for (const drive of node.drives) {
    if (drive.state !== 'ok') {
      found.push({
        severity: 'error',
        what: `drive ${drive.dir} is ${drive.state}`,
        why: drive.failure ? messageOf(drive.failure) : 'it does not answer',
        next: driveRemedy(drive),
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
  for (const { id, listed, why } of node.missingDrives) {
    found.push({
      severity: 'error',
      what: `drive ${listed.disk?.serial || id} is gone`,
      why,
      next: PUT_BACK,
    })
  }
  found.push(...synergyProblems(node.provisioning))
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
  for (const volume of node.volumes.all()) {
    // That it is elsewhere is no problem.
    const of = node.volumes.isElsewhere(volume) ? probeProblems : volumeProblems
    found.push(...of(node, volume))
  }
  return found
}
