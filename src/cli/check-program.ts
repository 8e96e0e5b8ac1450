import { spawn } from 'node:child_process'
import { accessSync, constants, realpathSync, statSync } from 'node:fs'
import { fileError, usageError } from './cli-error.ts'

/** Node starts and reads package.json; a busy machine may take seconds over it. */
const VERSION_MS_MAX = 20_000
const OUTPUT_CHARS_MAX = 4096
const NEXT =
  "name another build's dist/main.js, as in: weft upgrade --program /opt/weft-2/dist/main.js"

export interface Program {
  /** Without symbolic links, as the daemon that runs it names itself. */
  readonly path: string
  readonly version: string
}

/**
 * That a file is a weft program that can start: `node FILE --version` prints a version and nothing else.
 * @throws CliError with what it is instead
 */
export async function checkProgram(given: string): Promise<Program> {
  let path: string
  try {
    path = realpathSync(given)
    accessSync(path, constants.R_OK)
  } catch (error) {
    throw fileError(error, 'use the program', given, NEXT)
  }
  if (!statSync(path).isFile()) throw usageError(`the program ${given} is not a file`, NEXT)
  const { out, err, code } = await output(process.execPath, [path, '--version'])
  const [, version] = /^(\d+\.\d+\.\d+\S*)\n$/.exec(out) ?? []
  if (code === 0 && version !== undefined) return { path, version }
  const why = /^\w*Error\b.*$/m.exec(err)?.[0] ?? `it ends with ${code ?? 'a signal'}`
  throw usageError(
    `${given} is not a weft program: \`node ${given} --version\` prints no version (${why.slice(0, 200)})`,
    NEXT,
  )
}

function output(
  file: string,
  args: readonly string[],
): Promise<{ code: number | null; out: string; err: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: VERSION_MS_MAX,
      killSignal: 'SIGKILL',
    })
    const said = { out: '', err: '' }
    for (const [name, stream] of [
      ['out', child.stdout],
      ['err', child.stderr],
    ] as const) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said[name] = (said[name] + text).slice(0, OUTPUT_CHARS_MAX)
      })
    }
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, ...said }))
  })
}
