import { createRequire } from 'node:module'
import type * as Pino from 'pino'
import { isBug, messageOf } from './errors.ts'

/** One JSON object a line: room, op, ids, ms, code. Never keys, file data or file names. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  child(fields: object): Log
}

/** @param fd descriptor the lines go to, synchronously: a killed daemon leaves no line behind in a buffer */
export function openLog(fd: number, level: 'debug' | 'info' | 'warn' | 'error' = 'info'): Log {
  // Loaded here and not at the top: the CLI and the keeper import this door, and pino takes 30 ms and 6 MiB.
  const { pino }: typeof Pino = createRequire(import.meta.url)('pino')
  const lines = pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      messageKey: 'message',
    },
    pino.destination({ fd, sync: true }),
  )
  return withFields(lines, {})
}

/** pino writes a field of a child and the same field of a line one after the other; a later one replaces the earlier here. */
function withFields(lines: Pino.Logger, always: object): Log {
  return {
    debug: (fields, message) => lines.debug({ ...always, ...fields }, message),
    info: (fields, message) => lines.info({ ...always, ...fields }, message),
    warn: (fields, message) => lines.warn({ ...always, ...fields }, message),
    error: (fields, message) => lines.error({ ...always, ...fields }, message),
    child: (fields) => withFields(lines, { ...always, ...fields }),
  }
}

export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
}

/** End of every background promise: logs what can happen, rethrows what only a bug can cause. */
export function background(log: Log, op: string): (error: unknown) => void {
  return (error) => {
    if (isBug(error)) throw error
    log.error({ op, error: messageOf(error) }, 'background work failed')
  }
}
