import { spawn } from 'node:child_process'
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { NodeStatus } from '../api/index.ts'
import { CliError, fileError } from './cli-error.ts'
import type { Context } from './command.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { sleep } from './terminal.ts'

/** A start replays the journal of the last second at most; longer means that something is wrong, or very large. */
const START_MS_MAX = 20_000
const POLL_MS = 100

export interface Started {
  readonly status: NodeStatus
  readonly wasRunning: boolean
}

/**
 * Start the node of this home unless one runs: its keeper, detached from this terminal, which starts the daemon.
 * Returns when the control socket answers. @throws CliError with the last words of the log
 */
export async function ensureNode(context: Context): Promise<Started> {
  const { node, home, terminal } = context
  if (await node.isUp())
    return { status: await node.get<NodeStatus>('/v1/status'), wasRunning: true }

  const log = openKeeperLog(home)
  let ended: string | null = null
  const keeper = spawn(process.execPath, [terminal.program, '__keeper', '--home', home], {
    detached: true,
    cwd: '/',
    stdio: ['ignore', log.fd, log.fd],
  })
  keeper.on('error', (error) => {
    ended = error.message
  })
  keeper.on('exit', (code, signal) => {
    ended = signal === null ? `exit code ${code}` : `signal ${signal}`
  })
  closeSync(log.fd)

  const deadline = terminal.clock.monotonicMs() + START_MS_MAX
  while (terminal.clock.monotonicMs() < deadline) {
    await sleep(terminal.clock, POLL_MS)
    if (await node.isUp()) {
      keeper.unref()
      return { status: await node.get<NodeStatus>('/v1/status'), wasRunning: false }
    }
    if (ended !== null) throw startFailed(home, log.path, log.offset, ended, keeper.exitCode)
  }
  keeper.unref()
  throw new CliError({
    exit: EXIT.timeout,
    code: 'ETIMEDOUT',
    op: 'up',
    message: `the node on ${home} was started (keeper pid ${keeper.pid}) and does not answer after ${START_MS_MAX / 1000} s${quoted(lastWords(log.path, log.offset))}`,
    next: `look into ${log.path}; \`weft status\` shows when it is up, \`weft down\` ends it`,
  })
}

function openKeeperLog(home: string): { fd: number; path: string; offset: number } {
  const path = join(home, 'log', 'keeper.log')
  try {
    mkdirSync(join(home, 'log'), { recursive: true, mode: 0o700 })
    const fd = openSync(path, 'a', 0o600)
    return { fd, path, offset: fstatSync(fd).size }
  } catch (error) {
    throw fileError(
      error,
      'use as home',
      home,
      'run the command as root, or choose a home you can write: weft --home DIR up',
    )
  }
}

/** The keeper's own exit code 5 says that another one holds the home (fuse/keeper.ts). */
function startFailed(
  home: string,
  path: string,
  offset: number,
  how: string,
  code: number | null,
): CliError {
  const exit: ExitCode = code === EXIT.refused ? EXIT.refused : EXIT.failed
  const message = `the node on ${home} ended while it started (${how})${quoted(lastWords(path, offset))}`
  return new CliError({
    exit,
    code: 'ECHILD',
    op: 'up',
    message,
    next: `run \`weft doctor\`, and look into ${path}`,
    subject: { home },
  })
}

function quoted(words: string): string {
  return words === '' ? '' : `: ${words}`
}

/**
 * What the log says since `offset`: of JSON lines the last warning or error, else the last line; never a stack.
 * Levels are pino's: 40 is warn.
 */
export function lastWords(path: string, offset: number): string {
  let lines: string[]
  try {
    lines = readFileSync(path).subarray(offset).toString('utf8').split('\n')
  } catch {
    return ''
  }
  const spoken = lines
    .map((line) => line.trimEnd())
    .filter((line) => line !== '' && !/^\s+at |^\s*\^|^Node\.js v/.test(line))
  const records = spoken.map(recordOf)
  const grave = records.findLast((record) => record !== null && record.level >= 40)
  if (grave !== undefined && grave !== null) return grave.text
  const thrown = spoken.findLast((line) => /^\w*Error\b.*: /.test(line))
  if (thrown !== undefined) return thrown.replace(/^\w*Error( \[\w+\])?: /, '').slice(0, 500)
  const last = spoken.at(-1) ?? ''
  return recordOf(last)?.text ?? last.slice(0, 500)
}

function recordOf(line: string): { level: number; text: string } | null {
  if (!line.startsWith('{')) return null
  try {
    const { level, message, error } = JSON.parse(line) as Record<string, unknown>
    const parts = [message, error].filter((part) => typeof part === 'string' && part !== '')
    return { level: typeof level === 'number' ? level : 30, text: parts.join(': ').slice(0, 500) }
  } catch {
    return null
  }
}
