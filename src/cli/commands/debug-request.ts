import { usageError } from '../cli-error.ts'
import type { Command } from '../command.ts'

export const command: Command = {
  positionals: {
    method: { type: 'string', describe: 'GET, POST or DELETE' },
    path: { type: 'string', describe: 'As in weft debug openapi' },
    body: { type: 'string', describe: 'JSON; never put a secret here' },
  },
  examples: [
    ['weft debug request GET /v1/jobs', 'Long work, running and lately ended'],
    [`weft debug request POST /v1/fsck '{"repair":false}'`, 'What weft fsck sends'],
  ],
  async run(context, args) {
    const method = args.needed('method').toUpperCase()
    const path = args.needed('path')
    if (method !== 'GET' && method !== 'POST' && method !== 'DELETE') {
      throw usageError(`method "${method}" is not known`, 'use GET, POST or DELETE')
    }
    if (!/^\/[!-~]*$/.test(path))
      throw usageError(`"${path}" is not a path of the API`, 'weft debug openapi lists them')
    const text = await context.node.text(method, path, bodyOf(args.text('body')))
    context.terminal.out(text.endsWith('\n') ? text : `${text}\n`)
    return undefined
  },
}

function bodyOf(text: string | undefined): unknown {
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch {
    throw usageError('the body is not JSON', `quote it for the shell, as in '{"repair":false}'`)
  }
}
