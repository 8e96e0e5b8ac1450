import { FsError, limits, type NodeId, SPREAD_LEVELS, type SpreadLevel } from '../base/index.ts'
import { formatSize, parseSize } from './size.ts'

/** Class of service: 1 low (HDD), 2 medium (SATA SSD), 3 high (SAS SSD, NVMe). */
export type ClassOfService = 1 | 2 | 3

/** What a volume shall be, complete and checked. */
export interface VolumeSpec {
  readonly name: string
  /** Quota, exact. */
  readonly sizeBytes: number
  /** Copies, each on a node of its own. */
  readonly repl: number
  /** Copies that must be in sync for a change to be acknowledged (design §6.3). */
  readonly minimum: number
  /** Null takes what there is. */
  readonly cos: ClassOfService | null
  /** Where no drive of its class has room it goes to one of a lower class, and up later. */
  readonly cosFallback?: true | undefined
  /** Failure domain that no two copies share. */
  readonly spread: SpreadLevel
  /** Nodes the copies must be on, sorted; null leaves the choice to placement. */
  readonly nodes: readonly NodeId[] | null
  /** What a caller meets while the volume has no owner: waits, or an error. */
  readonly onLoss: 'wait' | 'error'
  /** Its owner changes when a person says so, or the owner is gone; else also when another node uses it alone. */
  readonly ownerStays?: true | undefined
}

/** A volume as asked for: raw text, single fields, or both; what is given twice must agree. */
export interface VolumeSpecRequest {
  /** size=100G,repl=1,cos=3,name=mysql_vol */
  readonly spec?: string | undefined
  readonly name?: string | undefined
  readonly size?: string | undefined
  readonly repl?: string | undefined
  readonly cos?: string | undefined
  readonly cosFallback?: boolean | undefined
  readonly spread?: string | undefined
}

/** What a spec is checked against. */
export interface ClusterShape {
  readonly nodes: readonly NodeId[]
}

const KEYS = [
  'size',
  'repl',
  'cos',
  'cos-fallback',
  'name',
  'aggr',
  'spread',
  'nodes',
  'on-loss',
  'min',
  'owner',
] as const
type Key = (typeof KEYS)[number]

/**
 * The only way from words to a VolumeSpec. Defaults: size limits.volumeBytesDefault (thin: room is taken by what is
 * written), repl 1, cos what there is, min half of repl rounded up, on-loss wait, owner follows.
 * @throws FsError EINVAL whose message names what was given, why it is refused, and what to give instead
 */
export function parseVolumeSpec(request: VolumeSpecRequest, cluster: ClusterShape): VolumeSpec {
  const fields = fieldsOf(request)
  const name = checkVolumeName(fields.get('name') ?? missingName())
  const size = fields.get('size')
  const sizeBytes = size === undefined ? limits.volumeBytesDefault : parseSize(size)
  const repl = replOf(fields.get('repl'), cluster)
  checkAggr(fields.get('aggr'))
  const cos = cosOf(fields.get('cos'))
  return {
    name,
    sizeBytes,
    repl,
    minimum: minimumOf(fields.get('min'), repl),
    cos,
    ...(fallbackOf(fields.get('cos-fallback'), cos) && { cosFallback: true }),
    spread: spreadOf(fields.get('spread'), repl),
    nodes: nodesOf(fields.get('nodes'), repl, cluster),
    onLoss: onLossOf(fields.get('on-loss')),
    ...(ownerOf(fields.get('owner')) === 'stays' && { ownerStays: true }),
  }
}

/** As a person could type it; parseVolumeSpec gives the same spec back. */
export function formatVolumeSpec(spec: VolumeSpec): string {
  const parts = [`size=${formatSize(spec.sizeBytes)}`, `repl=${spec.repl}`]
  if (spec.cos !== null) parts.push(`cos=${spec.cos}`)
  if (spec.cosFallback) parts.push('cos-fallback=lower')
  if (spec.minimum !== leastMinimum(spec.repl)) parts.push(`min=${spec.minimum}`)
  if (spec.spread !== 'node') parts.push(`spread=${spec.spread}`)
  if (spec.nodes !== null) parts.push(`nodes=${spec.nodes.join('+')}`)
  if (spec.onLoss !== 'wait') parts.push(`on-loss=${spec.onLoss}`)
  if (spec.ownerStays) parts.push('owner=stays')
  return [...parts, `name=${spec.name}`].join(',')
}

/**
 * A volume's name is a directory entry below the mount, a label, and a word in a container's options; mkdir at the root
 * obeys the same rules.
 * @throws FsError EINVAL
 */
export function checkVolumeName(name: string): string {
  const shown = quoted(name)
  if (name === '') refuse('name', name, `name "": empty; ${NAME_NEXT}`)
  const odd = /[^A-Za-z0-9._-]/u.exec(name)?.[0]
  if (odd !== undefined) {
    refuse('name', name, `name ${shown}: ${JSON.stringify(odd)} is not allowed; ${NAME_NEXT}`)
  }
  if (name.length > limits.volumeNameBytesMax) {
    refuse(
      'name',
      name,
      `name ${shown}: ${name.length} bytes long; use at most ${limits.volumeNameBytesMax}`,
    )
  }
  if (name.startsWith('.') || name.startsWith('-')) {
    refuse(
      'name',
      name,
      `name ${shown}: begins with "${name[0]}"; begin with a letter, a digit or _`,
    )
  }
  return name
}

const NAME_NEXT = 'use letters, digits, ".", "_" and "-", as in name=mysql_vol'

function fieldsOf(request: VolumeSpecRequest): Map<Key, string> {
  const fields = request.spec === undefined ? new Map<Key, string>() : splitText(request.spec)
  for (const key of ['name', 'size', 'repl', 'cos', 'spread'] as const) {
    const given = request[key]
    if (given === undefined) continue
    const inText = fields.get(key)
    if (inText !== undefined && inText !== given) {
      const both = `${key}=${shortened(inText)} in the text and ${shortened(given)} beside it`
      refuse(key, given, `${both}: they differ; give ${key} once`)
    }
    fields.set(key, given)
  }
  if (request.cosFallback) fields.set('cos-fallback', 'lower')
  return fields
}

function splitText(text: string): Map<Key, string> {
  const fields = new Map<Key, string>()
  for (const part of text.split(',')) {
    const [key = '', ...rest] = part.trim().split('=')
    if (part.trim() === '') {
      refuse('spec', text, `spec ${quoted(text)}: an empty part; ${SPEC_NEXT}`)
    }
    if (rest.length === 0) refuse('spec', part, `${quoted(part.trim())}: no "="; ${SPEC_NEXT}`)
    if (!isKey(key)) {
      refuse('spec', key, `unknown key ${quoted(key)}; the keys are ${KEYS.join(', ')}`)
    }
    const value = rest.join('=')
    if (fields.has(key)) refuse(key, value, `${key} is given twice; give it once`)
    fields.set(key, value)
  }
  return fields
}

const SPEC_NEXT = 'write key=value, as in size=100G,repl=1,name=mysql_vol'

function isKey(key: string): key is Key {
  return (KEYS as readonly string[]).includes(key)
}

function missingName(): never {
  refuse('name', '', 'name missing: every volume has one; add it, as in name=mysql_vol')
}

function replOf(text: string | undefined, cluster: ClusterShape): number {
  const repl = wholeNumber('repl', text ?? '1', 'repl=1')
  const nodes = cluster.nodes.length
  if (repl < 1)
    refuse('repl', String(repl), `repl=${repl}: without a copy nothing is kept; use repl=1`)
  if (repl > nodes) {
    const has = nodes === 1 ? '1 node' : `${nodes} nodes`
    const add = repl - nodes === 1 ? '1 node' : `${repl - nodes} nodes`
    refuse(
      'repl',
      String(repl),
      `repl=${repl}: each copy needs a node of its own and the cluster has ${has}; use repl=${nodes}, or add ${add} first`,
    )
  }
  return repl
}

/** Half of repl, rounded up: below it two halves of a cluster could each believe they have enough (design §6.3). */
export function leastMinimum(repl: number): number {
  return Math.ceil(repl / 2)
}

function minimumOf(text: string | undefined, repl: number): number {
  const least = leastMinimum(repl)
  if (text === undefined) return least
  const minimum = wholeNumber('min', text, `min=${least}`)
  if (minimum > repl) {
    refuse(
      'min',
      text,
      `min=${minimum}: more copies than repl=${repl} makes; use min=${repl} or less`,
    )
  }
  if (minimum < least) {
    refuse('min', text, `min=${minimum}: below half of repl=${repl}; use min=${least} or more`)
  }
  return minimum
}

function cosOf(text: string | undefined): ClassOfService | null {
  switch (text) {
    case undefined:
    case 'auto':
      return null
    case '1':
      return 1
    case '2':
      return 2
    case '3':
      return 3
    default:
      refuse(
        'cos',
        text,
        `cos ${quoted(text)}: unknown class of service; use 1 (HDD), 2 (SATA SSD), 3 (SAS SSD, NVMe) or auto`,
      )
  }
}

function fallbackOf(text: string | undefined, cos: ClassOfService | null): boolean {
  if (text === undefined || text === 'none') return false
  if (text !== 'lower') {
    refuse('cos-fallback', text, `cos-fallback ${quoted(text)}: unknown; use lower or none`)
  }
  if (cos === null) {
    refuse(
      'cos-fallback',
      text,
      'cos-fallback: there is no class to fall back from; give cos=2 or cos=3 too',
    )
  }
  return true
}

function checkAggr(text: string | undefined): void {
  if (text === undefined) return
  const aggr = wholeNumber('aggr', text, 'aggr=1')
  if (aggr !== 1) {
    refuse(
      'aggr',
      text,
      `aggr=${aggr}: this build keeps a volume in one replica set; leave aggr out`,
    )
  }
}

function spreadOf(text: string | undefined, repl: number): SpreadLevel {
  if (text === undefined) return 'node'
  const spread = SPREAD_LEVELS.find((level) => level === text)
  if (spread === undefined) {
    refuse('spread', text, `spread ${quoted(text)}: no failure domain; use spread=node`)
  }
  if (repl === 1) {
    refuse('spread', text, `spread=${text}: one copy cannot be spread; leave it out, or raise repl`)
  }
  return spread
}

/** Written a+b, since the comma parts the keys. */
function nodesOf(
  text: string | undefined,
  repl: number,
  cluster: ClusterShape,
): readonly NodeId[] | null {
  if (text === undefined) return null
  const wanted = text.split('+')
  const nodes = cluster.nodes.filter((node) => wanted.includes(node))
  const unknown = wanted.find((node) => !(cluster.nodes as readonly string[]).includes(node))
  if (unknown !== undefined) {
    const known = cluster.nodes.slice(0, 8).join(', ')
    refuse('nodes', text, `nodes: no node ${quoted(unknown)} in this cluster; it has ${known}`)
  }
  if (new Set(wanted).size !== wanted.length) {
    refuse('nodes', text, 'nodes: one node is named twice; name it once')
  }
  if (nodes.length < repl) {
    refuse('nodes', text, `nodes: ${nodes.length} named and repl=${repl}; name ${repl} or more`)
  }
  return nodes.sort()
}

function onLossOf(text: string | undefined): 'wait' | 'error' {
  if (text === undefined || text === 'wait') return 'wait'
  if (text === 'error') return 'error'
  refuse('on-loss', text, `on-loss ${quoted(text)}: unknown; use on-loss=wait or on-loss=error`)
}

function ownerOf(text: string | undefined): 'follows' | 'stays' {
  if (text === undefined || text === 'follows') return 'follows'
  if (text === 'stays') return 'stays'
  refuse('owner', text, `owner ${quoted(text)}: unknown; use owner=follows or owner=stays`)
}

function wholeNumber(key: Key, text: string, example: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  refuse(key, text, `${key} ${quoted(text)}: not a whole number; write it as in ${example}`)
}

function shortened(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}

function quoted(text: string): string {
  return JSON.stringify(shortened(text))
}

function refuse(key: string, value: string, message: string): never {
  throw new FsError('EINVAL', 'volume.spec', { key, value: shortened(value), message })
}
