import type { UnmountInfo } from '../../api/index.ts'
import { type Args, absolute, type Command, type Context } from '../command.ts'

export const force = {
  type: 'boolean',
  describe: 'Also while files are open: they answer errors from then on',
} as const

export const command: Command = {
  positionals: { target: { type: 'string', describe: 'Where it is mounted' } },
  options: { force },
  examples: [['weft umount /mnt/weft', 'Flush and unmount; the node stays up']],
  run: (context, args) => unmount(context, args, '/v1/umount', 'unmounted'),
}

/** @param ended what it is then, in a word */
export async function unmount(
  context: Context,
  args: Args,
  path: string,
  ended: string,
): Promise<undefined> {
  const target = absolute(context, args.needed('target'))
  const info = await context.node.post<UnmountInfo>(path, { target, force: args.flag('force') })
  context.print(
    { target, mounted: false, ...info },
    () => `${target} is ${ended}\n${heldByWords(info)}`,
  )
  return undefined
}

/** A line for who goes on using it, '' for nobody. */
function heldByWords({ heldBy }: UnmountInfo): string {
  if (heldBy.length === 0) return ''
  const who = heldBy.map(({ pid, name }) => `pid ${pid} (${name})`).join(', ')
  return `it is still in use in other mount namespaces, containers mostly, and ends with them: ${who}\n`
}
