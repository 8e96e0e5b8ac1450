import { CliError, usageError } from './cli-error.ts'
import type { CommandRow } from './commands.ts'

/** What yargs and the node say, made the words of one command line. */

/** '<volume> [file]' as a person types it: 'weft key drill VOLUME [FILE]'. */
export function usageLine(row: CommandRow): string {
  const places = row.places.toUpperCase().replace(/<([^>]*)>/g, '$1')
  return `weft ${row.words} ${places}`.trimEnd().replaceAll('..', '…')
}

/**
 * What yargs refused. Sources: node_modules/yargs/build/lib/validation.js and locales/en.json.
 * @param row null when the line names no command
 */
export function usageFault(said: string, row: CommandRow | null, command: string): CliError {
  const help = `weft ${command}${command === '' ? '' : ' '}--help`
  const given = /^Not enough non-option arguments: got (\d+)/.exec(said)
  if (row !== null && given !== null) {
    const needed = [...row.places.matchAll(/<([^>]*?)(?:\.\.)?>/g)].map(([, name = '']) =>
      name.toUpperCase(),
    )
    const missing = needed.slice(Number(given[1]))
    if (missing.length > 0) {
      const verb = missing.length === 1 ? 'is' : 'are'
      return usageError(
        `${missing.join(' and ')} ${verb} missing`,
        `${usageLine(row)}; ${help} has examples`,
      )
    }
  }
  const [, name, value, choices] =
    /^Invalid values:\n\s*Argument: ([^,]+), Given: (.*), Choices: (.*)$/m.exec(said) ?? []
  if (name !== undefined && choices !== undefined) {
    return usageError(
      `--${name} ${value} is not known`,
      `use one of ${choices.replaceAll('"', '')}; ${help} says what they are`,
    )
  }
  const message = said.split('\n')[0] || 'the command line is wrong'
  return usageError(message.charAt(0).toLowerCase() + message.slice(1), help)
}

/** COMMAND, VOLUME and HOME of a next step, where this command line says what they are. */
export function filledIn(
  error: CliError,
  known: { command: string; volume: unknown; home: string },
): CliError {
  const { volume } = known
  let next = error.next.replace(/\bCOMMAND\b/g, known.command)
  // Names only: whatever else was typed is not put into a command that a person may copy.
  if (typeof volume === 'string' && /^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(volume))
    next = next.replace(/\bVOLUME\b/g, volume)
  next = next.replace(/\bHOME\//g, `${known.home}/`)
  return next === error.next ? error : withNext(error, next)
}

export function withNext(error: CliError, next: string, message = error.message): CliError {
  const { exit, code, op, subject, cause } = error
  return new CliError({ exit, code, op, subject, message, next, cause })
}
