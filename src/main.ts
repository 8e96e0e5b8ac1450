#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Log, messageOf } from './base/index.ts'

/**
 * One program in three roles. `weft up` starts it again as the keeper, the keeper starts it as the daemon;
 * otherwise it is the CLI. Each role loads its own rooms only. The one file that ends the process.
 */
const program = fileURLToPath(import.meta.url)
const [, name = 'weft', role, ...rest] = process.argv

/** What main needs of the two rooms; named here so that the CLI compiles and starts without either. */
interface FuseRoom {
  runKeeper(options: { home: string; program: string; log: Log }): Promise<number>
}
interface DaemonRoom {
  runDaemon(options: { home: string; program: string; version: string }): Promise<number>
}

if (role === '__keeper') {
  const { openLog } = await import('./base/index.ts')
  const log = openLog(2)
  process.exit(
    await orLogged(log, async () => {
      const { runKeeper } = await load<FuseRoom>('fuse')
      return runKeeper({ home: homeOf(rest), program, log })
    }),
  )
} else if (role === '__daemon') {
  const { openLog } = await import('./base/index.ts')
  process.exit(
    await orLogged(openLog(2), async () => {
      const { runDaemon } = await load<DaemonRoom>('daemon')
      return runDaemon({ home: homeOf(rest), program, version: version() })
    }),
  )
} else {
  const { runCli } = await import('./cli/index.ts')
  const argv = process.argv.slice(2)
  // Not process.exit: what is still on its way into a pipe has to arrive.
  process.exitCode = await runCli({ argv, name, program, version: version() })
}

/** `weft up` shows a person the last error of this log when a start fails. */
async function orLogged(log: Log, run: () => Promise<number>): Promise<number> {
  try {
    return await run()
  } catch (error) {
    const stack = error instanceof Error ? error.stack : undefined
    log.error({ room: 'main', role, error: messageOf(error), stack }, 'cannot go on')
    return 1
  }
}

async function load<T>(room: string): Promise<T> {
  return (await import(new URL(`./${room}/index.js`, import.meta.url).href)) as T
}

function homeOf(args: readonly string[]): string {
  const home = args[args.indexOf('--home') + 1]
  if (args[0] !== '--home' || home === undefined) {
    process.stderr.write('weft: --home is missing; this is for weft up to call\n')
    process.exit(2)
  }
  return home
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
