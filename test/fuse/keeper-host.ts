/** A process that is a keeper: `node keeper-host.js HOME PROGRAM`. Its log lines go to descriptor 2. */
import { writeSync } from 'node:fs'
import type { Log } from '../../src/base/index.ts'
import { runKeeper } from '../../src/fuse/keeper.ts'

const line = (level: string) => (fields: object, message: string) => {
  writeSync(2, `${JSON.stringify({ level, message, ...fields })}\n`)
}
const log: Log = {
  debug() {},
  info: line('info'),
  warn: line('warn'),
  error: line('error'),
  child: () => log,
}
const [home = '', program = ''] = process.argv.slice(2)
process.exitCode = await runKeeper({ home, program, log })
