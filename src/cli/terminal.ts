import { openSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { ReadStream } from 'node:tty'
import { type Clock, codeOf, systemClock } from '../base/index.ts'
import { CliError } from './cli-error.ts'
import { EXIT } from './exit-codes.ts'

/** Where a command reads and writes; tests give their own. */
export interface Terminal {
  out(text: string): void
  err(text: string): void
  readonly outIsTty: boolean
  readonly errIsTty: boolean
  readonly columns: number
  readonly env: Readonly<Record<string, string | undefined>>
  /** @throws CliError when it is on a dead mount, or removed; `fromCwd` asks for it only where a path needs it */
  readonly cwd: string
  readonly clock: Clock
  /** Path of main.js, which `weft up` starts again as the keeper. */
  readonly program: string
  /** One line typed without echo. The caller wipes it. @throws CliError when there is no terminal, or on Ctrl-C */
  askSecret(prompt: string): Promise<Buffer>
  /** Calls back at Ctrl-C in place of ending the process; the returned function takes that back. */
  onInterrupt(call: () => void): () => void
}

export function systemTerminal(program: string): Terminal {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // `weft … | head` closes the pipe early; there is nobody left to tell.
      if (error.code !== 'EPIPE') throw error
    })
  }
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    outIsTty: process.stdout.isTTY === true,
    errIsTty: process.stderr.isTTY === true,
    columns: process.stdout.columns ?? 100,
    env: process.env,
    get cwd() {
      return workingDirectory()
    },
    clock: systemClock(),
    program,
    askSecret: askOnTty,
    onInterrupt(call) {
      process.on('SIGINT', call)
      return () => process.off('SIGINT', call)
    },
  }
}

/** A path as a person gave it, made absolute. @throws CliError when it is relative to a directory that is gone */
export function fromCwd(terminal: Terminal, path: string): string {
  return isAbsolute(path) ? resolve(path) : resolve(terminal.cwd, path)
}

function workingDirectory(): string {
  try {
    return process.cwd()
  } catch (cause) {
    const code = codeOf(cause)
    const why = code === 'ENOENT' ? 'it was removed' : 'its mount is dead'
    throw new CliError({
      exit: EXIT.failed,
      code,
      message: `the working directory cannot be used: ${why} (${code})`,
      next: 'cd to another directory, or give absolute paths; `weft doctor` finds dead mounts',
      cause,
    })
  }
}

const SECRET_BYTES_MAX = 1024

/** Reads from /dev/tty and not from standard input, which may be a pipe with other things in it. */
async function askOnTty(prompt: string): Promise<Buffer> {
  let fd: number
  try {
    fd = openSync('/dev/tty', 'r+')
  } catch (cause) {
    const next =
      'give it with --passphrase-file FILE or --passphrase-fd N, a password with --password-file or --password-fd'
    throw new CliError({
      exit: EXIT.usage,
      code: 'ENOTTY',
      message: 'a secret is needed and there is no terminal to ask on',
      next,
      cause,
    })
  }
  const tty = new ReadStream(fd)
  const typed = Buffer.alloc(SECRET_BYTES_MAX)
  let length = 0
  try {
    process.stderr.write(prompt)
    // Raw: no echo, and Ctrl-C comes to us, so that the terminal is never left silent.
    tty.setRawMode(true)
    await new Promise<void>((resolve, reject) => {
      tty.on('error', reject)
      tty.on('end', resolve)
      tty.on('data', (bytes: Buffer) => {
        for (const byte of bytes) {
          if (byte === 0x0d || byte === 0x0a || byte === 0x04) resolve()
          else if (byte === 0x03)
            reject(
              new CliError({
                exit: EXIT.interrupted,
                code: 'EINTR',
                message: 'ended by Ctrl-C',
                next: 'nothing was changed',
              }),
            )
          else if (byte === 0x7f || byte === 0x08) length = beforeLastCharacter(typed, length)
          else if (byte === 0x15) length = 0
          else if (length < SECRET_BYTES_MAX) typed[length++] = byte
          else continue
          if (byte === 0x0d || byte === 0x0a || byte === 0x04) break
        }
        bytes.fill(0)
      })
    })
    return Buffer.from(typed.subarray(0, length))
  } finally {
    typed.fill(0)
    tty.setRawMode(false)
    tty.destroy()
    process.stderr.write('\n')
  }
}

/** Bytes left when the last UTF-8 character goes. */
export function beforeLastCharacter(bytes: Buffer, length: number): number {
  let at = length - 1
  while (at > 0 && ((bytes[at] ?? 0) & 0xc0) === 0x80) at--
  return Math.max(at, 0)
}
