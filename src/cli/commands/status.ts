import type { NodeStatus, Problem } from '../../api/index.ts'
import { clusterText } from '../cluster-words.ts'
import type { Command } from '../command.ts'
import { frameSection } from '../frame-words.ts'
import { driveTable, mountTable, volumeTable } from '../listings.ts'
import { duration, printable } from '../render.ts'

export const command: Command = {
  examples: [
    ['weft status', 'What runs, what is mounted, what is wrong'],
    [
      'weft status --json',
      'The same for scripts: daemon.pid, cluster, mounts, volumes, drives, synergy, problems',
    ],
  ],
  async run(context) {
    const status = await context.node.get<NodeStatus>('/v1/status')
    context.print(status, () => statusText(status))
    return undefined
  },
}

function statusText(status: NodeStatus): string {
  const { version, home, daemon, cluster, mounts, volumes, drives, synergy, problems } = status
  const parts = [
    `weft ${version} on ${home}, daemon pid ${daemon.pid}, up ${duration(daemon.uptimeSeconds)}\n`,
  ]
  // A daemon of an older build says nothing of it.
  if (cluster) parts.push(clusterText(cluster))
  parts.push(
    mounts.length === 0
      ? 'nothing is mounted: weft mount /mnt/weft\n'
      : `mounts\n${mountTable(mounts, '  ')}`,
  )
  parts.push(
    volumes.length === 0
      ? 'no volume yet: weft volume create NAME --size 100G\n'
      : `volumes\n${volumeTable(volumes, '  ', { probes: true })}`,
  )
  parts.push(
    drives.length === 0 ? 'no drive: weft drive add DIR\n' : `drives\n${driveTable(drives, '  ')}`,
  )
  if (synergy) parts.push(frameSection(synergy))
  parts.push(problems.length === 0 ? 'no problems\n' : problems.map(problemText).join(''))
  return parts.join('\n')
}

export function problemText(problem: Problem): string {
  return `${problem.severity}: ${printable(problem.what)}\n  why: ${printable(problem.why)}\n  next: ${printable(problem.next)}\n`
}
