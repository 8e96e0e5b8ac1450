import type { Options, PositionalOptions } from 'yargs'
import { usageError } from './cli-error.ts'
import type { NodeClient } from './client.ts'
import type { ExitCode } from './exit-codes.ts'
import { fromCwd, type Terminal } from './terminal.ts'

/** One command: what stands in its file. Its words and its one-line description stand in commands.ts. */
export interface Command {
  readonly positionals?: Readonly<Record<string, PositionalOptions>>
  readonly options?: Readonly<Record<string, Options>>
  /** At least one; each is a whole command line and what it does. */
  readonly examples: readonly (readonly [string, string])[]
  readonly epilogue?: string
  /** @throws CliError for everything a person can mend */
  run(context: Context, args: Args): Promise<ExitCode | undefined>
}

export interface Context {
  readonly terminal: Terminal
  readonly node: NodeClient
  readonly home: string
  readonly json: boolean
  /** The words of the command, 'volume create'. */
  readonly command: string
  /** The same for another home, as `mount -o home=DIR` asks. */
  withHome(home: string): Context
  /** One answer: as JSON, or as text. */
  print(value: unknown, text: () => string): void
}

/** Parsed arguments, taken one by one with the kind that the command expects. */
export class Args {
  readonly #values: Readonly<Record<string, unknown>>
  readonly #command: string

  constructor(values: Readonly<Record<string, unknown>>, command: string) {
    this.#values = values
    this.#command = command
  }

  /** @throws CliError when an option is given twice */
  text(name: string): string | undefined {
    const value = this.#values[name]
    if (value === undefined || typeof value === 'string') return value
    throw this.#refuse(
      Array.isArray(value) ? `--${name} is given more than once` : `--${name} needs a value`,
    )
  }

  /** A positional or option that yargs or the command demands. */
  needed(name: string): string {
    const value = this.text(name)
    if (value === undefined || value === '') throw this.#refuse(`${name.toUpperCase()} is missing`)
    return value
  }

  flag(name: string): boolean {
    return this.#values[name] === true
  }

  /** `--NAME` or `--no-NAME`; undefined when neither is given. */
  eitherWay(name: string): boolean | undefined {
    const value = this.#values[name]
    return typeof value === 'boolean' ? value : undefined
  }

  list(name: string): string[] {
    const value = this.#values[name]
    if (value === undefined) return []
    return (Array.isArray(value) ? value : [value]).map(String)
  }

  /** @throws CliError unless it is a whole number in [least, most] */
  whole(name: string, least: number, most: number): number | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    const number = Number(value)
    if (/^\d+$/.test(value) && number >= least && number <= most) return number
    throw this.#refuse(`--${name} has to be a whole number from ${least} to ${most}`)
  }

  #refuse(message: string): Error {
    return usageError(message, `weft ${this.#command} --help`)
  }
}

/** A path as the node must be told it: absolute, whatever directory the caller is in. */
export function absolute(context: Context, path: string): string {
  return fromCwd(context.terminal, path)
}

export function volumePath(volume: string, rest = ''): string {
  return `/v1/volumes/${encodeURIComponent(volume)}${rest}`
}
