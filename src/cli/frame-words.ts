import type {
  FrameDrive,
  FreeFrameDrive,
  PolicyDecision,
  PolicyEntry,
  SynergyCheck,
  SynergyFinding,
  SynergyStatus,
} from '../api/index.ts'
import { className } from './listings.ts'
import { duration, fields, printable, size, table } from './render.ts'

/** What commands print of a frame and of the policy. */

export function freeTable(drives: readonly FreeFrameDrive[]): string {
  const columns = [
    { title: 'NAME' },
    { title: 'CLASS' },
    { title: 'SIZE', right: true },
    { title: 'SERIAL' },
  ]
  const rows = drives.map((one) => [
    one.name,
    className(one.class),
    size(one.sizeBytes),
    one.serial,
  ])
  return table(columns, rows)
}

export function frameTable(drives: readonly FrameDrive[], indent = ''): string {
  const columns = [
    { title: 'ID' },
    { title: 'NAME' },
    { title: 'CLASS' },
    { title: 'SIZE', right: true },
    { title: 'STATE' },
    { title: 'SERIAL' },
  ]
  const rows = drives.map((one) => [
    one.id,
    one.name,
    className(one.class),
    size(one.sizeBytes),
    stateOf(one),
    one.serial,
  ])
  return table(columns, rows, indent)
}

function stateOf({ step, towards }: FrameDrive): string {
  if (step === 'settled') return 'in use'
  if (step === 'ready') return 'stands ready'
  if (step === 'needs-power-off') return 'needs power off'
  return `${towards === 'out' ? 'going' : 'coming'}: ${step}`
}

/** Part of `weft status`. */
export function frameSection(status: SynergyStatus): string {
  const { connection, underWay, drives } = status
  const lines = [`frame behind ${connection?.url ?? '-'}: ${shortPolicy(status)}\n`]
  if (underWay) lines.push(`  under way: ${printable(underWay.words)}\n`)
  lines.push(drives.length === 0 ? '  no drive of it yet\n' : frameTable(drives, '  '))
  return lines.join('')
}

function shortPolicy({ policy: { enabled, dryRun } }: SynergyStatus): string {
  if (!enabled) return 'policy off'
  return dryRun ? 'policy on, dry run' : 'policy on'
}

/** All of `weft synergy status`. */
export function frameText(status: SynergyStatus): string {
  const { connection, underWay, drives, reconciled, growSeconds, policy, trouble } = status
  if (connection === null) {
    const left = drives.length === 0 ? '' : `drives of a frame that is left\n${frameTable(drives)}`
    return `no frame is connected: weft synergy connect URL --user USER --password-file FILE --ca FILE\n${left}`
  }
  const { url, user, domain, trust } = connection
  const known = { ca: 'a CA', pin: 'its pin', system: 'the authorities of this system' }[trust]
  const parts = [
    fields([
      [
        'appliance',
        `${url}, as ${user}${domain === null ? '' : ` of ${domain}`}, known by ${known}`,
      ],
      ['policy', policy.words],
      ['a drive takes', `about ${duration(growSeconds)}`],
      [
        'under way',
        underWay ? `${underWay.what} since ${underWay.since}: ${underWay.words}` : 'nothing',
      ],
      ['reconciled', reconciled?.at ?? 'not yet'],
      ...(trouble === '' ? [] : [['trouble', trouble] as const]),
    ]),
    drives.length === 0
      ? 'this node has no drive of the frame: weft synergy allocate --class 2 --drives 1\n'
      : frameTable(drives),
  ]
  const troubles = drives.filter((one) => one.trouble !== '')
  parts.push(...troubles.map((one) => `${one.id}: ${printable(one.trouble)}\n`))
  const findings = reconciled?.findings.filter(({ name }) => name !== 'finished') ?? []
  if (findings.length > 0) parts.push(findingLines(findings))
  return parts.join('\n')
}

export function findingLines(findings: readonly SynergyFinding[]): string {
  return findings.map(({ name, words }) => `${name}: ${printable(words)}\n`).join('')
}

export function checkTable(checks: readonly SynergyCheck[]): string {
  const columns = [{ title: '', right: true }, { title: '' }, { title: 'POINT' }, { title: 'SEEN' }]
  const rows = checks.map(({ id, ok, name, seen }) => [id, ok ? 'ok' : 'NOT OK', name, seen])
  return table(columns, rows)
}

export function decisionText(decisions: readonly PolicyDecision[]): string {
  const words = { grow: 'take', shrink: 'give back', none: 'nothing', refused: 'nothing' } as const
  return decisions
    .map((one) => `class ${one.name}: ${words[one.do]}: ${printable(one.why)}\n`)
    .join('')
}

export function entryLines(entries: readonly PolicyEntry[]): string {
  return entries
    .map(({ at, name, class: cos, seconds, why }) => {
      const of = cos === null ? '' : `, class ${className(cos)}`
      const took = seconds === null ? '' : `, ${duration(seconds)} a drive`
      return `${at}  ${name}${of}${took}: ${printable(why)}\n`
    })
    .join('')
}
