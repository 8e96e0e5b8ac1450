import { readFileSync } from 'node:fs'
import type { Options } from 'yargs'
import type {
  ClusterEntered,
  ClusterInfo,
  EtcdAccess,
  MemberInfo,
  NodeStatus,
} from '../api/index.ts'
import { sleep } from '../base/index.ts'
import { CliError, fileError, usageError } from './cli-error.ts'
import { type Args, absolute, type Context } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { count, printable, table } from './render.ts'
import { ensureNode } from './start-node.ts'

const RESTART_MS_MAX = 60_000
const POLL_MS = 100

/** What a node says of itself as it comes into a cluster. */
export const ENTRY_OPTIONS: Readonly<Record<string, Options>> = {
  domain: {
    type: 'string',
    requiresArg: true,
    describe:
      'Where the machine stands: region=eu,zone=1,rack=r1 (levels: region, zone, rack, enclosure)',
  },
  listen: {
    type: 'string',
    requiresArg: true,
    describe: 'HOST:PORT to listen on, TCP and UDP; :PORT is every address (default :9338)',
  },
  advertise: {
    type: 'string',
    array: true,
    nargs: 1,
    requiresArg: true,
    describe:
      'HOST:PORT by which others reach this node; give it once for each (default: its own addresses)',
  },
  name: {
    type: 'string',
    requiresArg: true,
    describe: 'Name of this node in the cluster (default: the host name)',
  },
}

/** What an etcd asks for of who connects. Secrets are in files: others see a command line. */
export const ETCD_OPTIONS: Readonly<Record<string, Options>> = {
  ca: {
    type: 'string',
    requiresArg: true,
    describe: 'Of etcd: FILE of the certificates to trust, PEM; it is spoken to over TLS then',
  },
  cert: { type: 'string', requiresArg: true, describe: 'Of etcd: FILE of the certificate to show' },
  key: { type: 'string', requiresArg: true, describe: 'Of etcd: FILE of its key' },
  user: { type: 'string', requiresArg: true, describe: 'Of etcd: NAME to log in with' },
  'password-file': {
    type: 'string',
    requiresArg: true,
    describe: 'Of etcd: FILE whose first line is the password',
  },
}

/** Undefined when nothing of it was given. @throws CliError for a file that cannot be read */
export function etcdAccess(context: Context, args: Args): EtcdAccess | undefined {
  const file = (option: string): string | undefined => {
    const path = args.text(option)
    if (path === undefined) return undefined
    try {
      return readFileSync(absolute(context, path), 'utf8')
    } catch (error) {
      throw fileError(error, `read --${option} from`, path, 'name a file that can be read')
    }
  }
  const given = {
    ca: file('ca'),
    cert: file('cert'),
    key: file('key'),
    user: args.text('user'),
    password: file('password-file')?.split(/\r?\n/)[0],
  }
  const entries = Object.entries(given).filter(([, value]) => value !== undefined)
  return entries.length === 0 ? undefined : Object.fromEntries(entries)
}

export function entryOf(args: Args): Record<string, unknown> {
  const given = {
    node: args.text('name'),
    domain: args.text('domain'),
    listen: args.text('listen'),
    advertise: args.list('advertise').length > 0 ? args.list('advertise') : undefined,
  }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}

/**
 * Starts the node if none runs, asks it to enter a cluster, and waits for its next life, which is a member's.
 * @param doing said on standard error: it takes seconds
 */
export async function enterCluster(
  context: Context,
  path: string,
  body: Record<string, unknown>,
  doing: string,
): Promise<{ entered: ClusterEntered; cluster: ClusterInfo }> {
  const { node, terminal, home } = context
  const { status: before } = await ensureNode(context)
  terminal.err(`${doing} …\n`)
  const entered = await node.post<ClusterEntered>(path, body)
  if (before.cluster) return { entered, cluster: before.cluster }
  const deadline = terminal.clock.monotonicMs() + RESTART_MS_MAX
  while (terminal.clock.monotonicMs() < deadline) {
    await sleep(terminal.clock, POLL_MS)
    if (!(await node.isUp())) continue
    const { cluster } = await node.get<NodeStatus>('/v1/status')
    if (cluster) return { entered, cluster }
  }
  throw new CliError({
    exit: EXIT.timeout,
    code: 'ETIMEDOUT',
    message: `this node is a member of ${entered.name}, and its daemon did not start anew within ${RESTART_MS_MAX / 1000} s`,
    next: `see ${home}/log/keeper.log; weft status shows when it is up`,
  })
}

/** The invite as given: `-` reads standard input, a name of a file with a slash in it that file, else the line itself. */
export function inviteLine(context: Context, given: string): string {
  const text = given.startsWith('weft') ? given : readInvite(context, given)
  if (text.trim() !== '') return text
  throw usageError('the invite is empty', 'give the line that weft cluster invite printed')
}

function readInvite(context: Context, given: string): string {
  if (given !== '-' && !given.includes('/')) {
    throw usageError(
      `${JSON.stringify(given.slice(0, 80))} is no invite`,
      'give the line that weft cluster invite printed, - to read it from standard input, or a file as ./FILE',
    )
  }
  try {
    return readFileSync(given === '-' ? 0 : absolute(context, given), 'utf8')
  } catch (error) {
    const name = given === '-' ? 'standard input' : given
    throw fileError(error, 'read the invite from', name, 'name a file that holds the line')
  }
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** 30m, 12h, 7d → milliseconds. @param option that it was given for. @throws CliError */
export function lifetimeOf(text: string, option = 'expires'): number {
  const [, number, unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? []
  const ms = Number(number) * (UNITS[unit] ?? 0)
  if (ms > 0) return ms
  throw usageError(
    `--${option} ${text} is no time`,
    'give a whole number with s, m, h or d: 30m, 12h, 7d',
  )
}

export function clusterText(cluster: ClusterInfo, indent = ''): string {
  const { coordinatorState: coordinator, members } = cluster
  const since = coordinator.since === null ? '' : ` since ${coordinator.since.slice(0, 19)}Z`
  const answers = coordinator.why === '' ? 'answers' : `does not answer${since}: ${coordinator.why}`
  const stale = members.state === 'cached' ? ', as last known' : ''
  const lines = [
    `cluster ${cluster.name}, ${count(members.count, 'node')}${stale}`,
    `coordinator on ${coordinator.place}: ${answers}`,
  ]
  const shown = cluster.nodes.filter(({ state }) => state === 'member')
  return `${lines.map((line) => `${indent}${printable(line)}\n`).join('')}${nodeTable(shown, indent)}`
}

export function nodeTable(nodes: readonly MemberInfo[], indent = ''): string {
  const columns = [
    { title: 'NODE' },
    { title: 'STATE' },
    { title: 'PATH' },
    { title: 'RTT', right: true },
    { title: 'DOMAIN' },
    { title: 'ADDRESSES' },
    { title: 'WHY' },
  ]
  const rows = nodes.map((node) => [
    node.name,
    node.connection === 'self' ? 'this node' : node.connection,
    node.path ?? '-',
    node.rttMs === null ? '-' : `${node.rttMs.toFixed(1)} ms`,
    node.domain || '-',
    node.addresses.join(' ') || '-',
    node.state === 'removed' ? removedText(node) : node.why,
  ])
  return table(columns, rows, indent)
}

function removedText({ removedAt, reason }: MemberInfo): string {
  return `removed ${removedAt?.slice(0, 10) ?? ''}${reason === '' ? '' : `: ${reason}`}`
}
