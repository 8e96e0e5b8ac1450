import { join } from 'node:path'
import { systemClock } from '../../src/base/index.ts'
import { runCli, type Terminal } from '../../src/cli/index.ts'

export interface Ran {
  readonly exit: number
  readonly out: string
  readonly err: string
  /** Standard output as JSON. */
  readonly json: () => unknown
}

export interface CallOptions {
  readonly name?: string
  readonly tty?: boolean
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly program?: string
  /** What a person types at each question for a secret. */
  readonly typed?: string[]
  /** Called with the function that Ctrl-C would call. */
  readonly onReady?: (interrupt: () => void) => void
}

/** One command in this process; the node it speaks to is on a real socket. */
export async function weft(argv: readonly string[], options: CallOptions = {}): Promise<Ran> {
  let out = ''
  let err = ''
  const typed = [...(options.typed ?? [])]
  const terminal: Terminal = {
    out: (text) => {
      out += text
    },
    err: (text) => {
      err += text
    },
    outIsTty: options.tty === true,
    errIsTty: options.tty === true,
    columns: 100,
    env: options.env ?? {},
    cwd: options.cwd ?? '/',
    clock: systemClock(),
    program: options.program ?? '/nowhere/main.js',
    async askSecret(prompt) {
      err += prompt
      const answer = typed.shift()
      if (answer === undefined) throw new Error('asked for a secret that the test does not type')
      return Buffer.from(answer)
    },
    onInterrupt(call) {
      options.onReady?.(call)
      return () => {}
    },
  }
  const program = terminal.program
  const exit = await runCli({
    argv,
    name: options.name ?? 'weft',
    program,
    version: '0.1.0',
    terminal,
  })
  return { exit, out, err, json: () => JSON.parse(out) }
}

/** The built program, for tests that need a process of its own. */
export const mainJs = join(import.meta.dirname, '../../src/main.js')
