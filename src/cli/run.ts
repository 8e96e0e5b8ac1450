import { basename } from 'node:path'
import yargs, { type Argv } from 'yargs'
import { asCliError, CliError, renderError, usageError } from './cli-error.ts'
import { DEFAULT_HOME, NodeClient } from './client.ts'
import { Args, type Context } from './command.ts'
import { COMMANDS, type CommandRow, GROUPS } from './commands.ts'
import { EXIT, type ExitCode, mountHelperCode } from './exit-codes.ts'
import { fromMountHelper } from './mount-options.ts'
import { refuseSecretsInArgv, secretInArgv } from './secrets.ts'
import { fromCwd, systemTerminal, type Terminal } from './terminal.ts'
import { filledIn, usageFault } from './words.ts'

export interface CliCall {
  /** What follows the program's name. */
  readonly argv: readonly string[]
  /** Name the program was called by: weft, or mount.fuse.weft when mount(8) calls. */
  readonly name: string
  /** Path of main.js. */
  readonly program: string
  readonly version: string
  /** Given by tests; else the process's own. */
  readonly terminal?: Terminal
}

const EPILOGUE = `Exit codes: 0 done, 1 failed, 2 wrong command line, 3 no node runs, 4 not found, 5 refused (busy, exists),
6 not allowed (rights, keys), 7 damage found, 8 no space, 9 no answer in time, 130 ended by Ctrl-C.

In /etc/fstab:  weft /mnt/weft fuse.weft defaults,_netdev 0 0`

/** Run one command. @returns the exit code; every failure has been said on standard error by then */
export async function runCli(call: CliCall): Promise<number> {
  const terminal = call.terminal ?? systemTerminal(call.program)
  const name = basename(call.name)
  if (name !== 'mount.fuse.weft' && name !== 'mount.weft') return run(call, call.argv, terminal)
  try {
    const argv = fromMountHelper(call.argv)
    return argv === null ? EXIT.ok : mountHelperCode(await run(call, argv, terminal))
  } catch (error) {
    return mountHelperCode(fail(error, '', false, terminal))
  }
}

async function run(call: CliCall, argv: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const json = argv.includes('--json')
  const command = commandOf(argv)
  let outcome: { exit: ExitCode } | { error: unknown } | null = null
  const handler = async (
    row: CommandRow,
    values: Readonly<Record<string, unknown>>,
  ): Promise<void> => {
    let home = DEFAULT_HOME
    try {
      const { command } = await row.load()
      home = homeOf(values, terminal)
      const context = contextFor(terminal, home, values.json === true, row.words)
      outcome = { exit: (await command.run(context, new Args(values, row.words))) ?? EXIT.ok }
    } catch (error) {
      const { volume } = values
      outcome = { error: filledIn(asCliError(error), { command: row.words, volume, home }) }
    }
  }
  try {
    refuseSecretsInArgv(argv)
    if (isCompletion(argv) && argv.includes('--help')) {
      terminal.out(COMPLETION_HELP)
      return EXIT.ok
    }
    const parser = parserFor(call, terminal, handler)
    let printed = ''
    await parser.parseAsync([...argv], {}, (_error, _values, output) => {
      printed += output
    })
    if (printed !== '') terminal.out(`${printed}\n`)
    // The handler sets it, which the compiler cannot see.
    const ended = outcome as { exit: ExitCode } | { error: unknown } | null
    if (ended === null) return EXIT.ok
    if ('error' in ended) return fail(ended.error, command, json, terminal)
    return ended.exit
  } catch (error) {
    return fail(
      error instanceof CliError ? error : usageOf(error, argv, command),
      command,
      json,
      terminal,
    )
  }
}

/** yargs answers its own command with the script, whatever else is asked. */
function isCompletion(argv: readonly string[]): boolean {
  return wordsOf(argv)[0] === 'completion'
}

const COMPLETION_HELP = `weft completion

Print a script that completes weft commands in your shell (bash and zsh)

Examples:
  weft completion >> ~/.bashrc                                Every new bash completes weft
  source <(weft completion)                                   This one does at once
`

function fail(thrown: unknown, command: string, json: boolean, terminal: Terminal): ExitCode {
  const error = asCliError(thrown)
  terminal.err(renderError(error, command, json))
  if (terminal.env.WEFT_STACK === '1' && error.cause instanceof Error)
    terminal.err(`${error.cause.stack}\n`)
  return error.exit
}

/** What yargs refuses is a wrong command line; it says what, we add where to read on. */
function usageOf(error: unknown, argv: readonly string[], command: string): CliError {
  const said = error instanceof Error ? error.message : String(error)
  // A word too many behind --passphrase is a passphrase. It is not repeated.
  if (argv.includes('--passphrase') && /^Unknown argument/.test(said)) return secretInArgv()
  const row = COMMANDS.find(({ words }) => words === command) ?? null
  return usageFault(said, row, command)
}

function parserFor(
  call: CliCall,
  terminal: Terminal,
  handler: (row: CommandRow, values: Readonly<Record<string, unknown>>) => Promise<void>,
): Argv {
  // '/': else yargs asks for the working directory, which may be on a dead mount.
  const parser = yargs([], '/')
    .scriptName('weft')
    .usage('$0 COMMAND\n\nAn encrypted filesystem with one global namespace.')
    .detectLocale(false)
    .exitProcess(false)
    .fail(false)
    .parserConfiguration({
      'camel-case-expansion': false,
      'dot-notation': false,
      'parse-numbers': false,
      'parse-positional-numbers': false,
    })
    .wrap(Math.min(110, Math.max(60, terminal.columns)))
    .version(call.version)
    .option('home', {
      type: 'string',
      requiresArg: true,
      describe: `Directory of the node (WEFT_HOME; default ${DEFAULT_HOME})`,
    })
    .option('json', { type: 'boolean', describe: 'Answer in JSON, errors on standard error too' })
    .strict()
    .recommendCommands()
    .demandCommand(1, 'a command is missing')
    .epilogue(EPILOGUE)
    .example('$0 mount /mnt/weft', 'Start the node if needed, and mount')
    .example(
      '$0 volume create mysql_vol --size 100G',
      'Make a volume; it appears as /mnt/weft/mysql_vol',
    )
    .completion('completion', 'Print a script that completes weft commands in your shell')
  for (const row of COMMANDS.filter((row) => !row.words.includes(' ')))
    addCommand(parser, row, handler)
  for (const [group, describe] of Object.entries(GROUPS)) {
    parser.command(group, describe, (inner: Argv) => {
      const rows = COMMANDS.filter((row) => row.words.startsWith(`${group} `))
      const verbs = rows.map((row) => row.words.slice(group.length + 1))
      for (const row of rows) addCommand(inner, row, handler)
      inner.example(`$0 ${rows[0]?.words} --help`, 'What the command takes, with examples')
      return inner
        .usage(`$0 ${group} VERB\n\n${describe}`)
        .epilogue('')
        .demandCommand(1, `a verb is missing: ${verbs.join(', ')}`)
    })
  }
  return parser
}

function addCommand(
  parser: Argv,
  row: CommandRow,
  handler: (row: CommandRow, values: Readonly<Record<string, unknown>>) => Promise<void>,
): void {
  const verb = row.words.split(' ').at(-1)
  const build = async (inner: Argv): Promise<Argv> => {
    const { command } = await row.load()
    inner.usage(`${`$0 ${row.words} ${row.places}`.trimEnd()}\n\n${row.describe}`)
    inner.epilogue(command.epilogue ?? '')
    for (const [name, options] of Object.entries(command.positionals ?? {}))
      inner.positional(name, options)
    for (const [name, options] of Object.entries(command.options ?? {})) inner.option(name, options)
    for (const [line, does] of command.examples) inner.example(line, does)
    return inner.demandCommand(0)
  }
  parser.command(`${verb} ${row.places}`.trimEnd(), row.describe, build, (values) =>
    handler(row, values),
  )
}

/** What of a line is no option: the command and its places, and values of options of its own. */
function wordsOf(argv: readonly string[]): string[] {
  const words: string[] = []
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] ?? ''
    if (word === '--home') at++
    else if (!word.startsWith('-')) words.push(word)
  }
  return words
}

/** The words of the command in a line, for the head of an error; '' when it names none. */
function commandOf(argv: readonly string[]): string {
  const [first = '', second = ''] = wordsOf(argv)
  const rows = COMMANDS.map((row) => row.words)
  if (rows.includes(`${first} ${second}`)) return `${first} ${second}`
  return rows.includes(first) || first in GROUPS ? first : ''
}

function homeOf(values: Readonly<Record<string, unknown>>, terminal: Terminal): string {
  const given = values.home
  if (Array.isArray(given)) throw usageError('--home is given more than once', 'give it once')
  const home = typeof given === 'string' ? given : terminal.env.WEFT_HOME
  if (given === '')
    throw usageError('--home is empty', `name a directory, or leave it out for ${DEFAULT_HOME}`)
  return fromCwd(terminal, home === undefined || home === '' ? DEFAULT_HOME : home)
}

function contextFor(terminal: Terminal, home: string, json: boolean, command: string): Context {
  return {
    terminal,
    node: new NodeClient(home, terminal),
    home,
    json,
    command,
    withHome: (other) => contextFor(terminal, other, json, command),
    print(value, text) {
      terminal.out(json ? `${JSON.stringify(value, null, terminal.outIsTty ? 2 : 0)}\n` : text())
    },
  }
}
