import { lstat } from 'node:fs/promises'
import { sep } from 'node:path'
import type { MountInfo, Why } from '../../api/index.ts'
import { errnoNameOf, sleep } from '../../base/index.ts'
import { CliError } from '../cli-error.ts'
import { absolute, type Command, type Context } from '../command.ts'
import { EXIT } from '../exit-codes.ts'
import { printable } from '../render.ts'
import { problemText } from './status.ts'

/** A call on a mount may wait for a node that is away; what it waits for is what is asked. */
const STAT_MS_MAX = 2000

interface Found {
  /** Null for the root of the namespace. */
  readonly volume: string | null
  /** What stat(2) of the path answers now: 'ok', an errno, or that it does not answer. */
  readonly now: string
  readonly inode: string | null
}

export const command: Command = {
  positionals: { path: { type: 'string', describe: 'File, directory or mount point' } },
  examples: [
    [
      'weft why /mnt/weft/db/x',
      'Why calls on this file, and on its volume, failed, and what to do',
    ],
    ['weft why /mnt/weft', 'The same of the root, where volumes are made and deleted'],
    ['weft why /mnt/weft/db --json', 'For scripts: volume, now, problems, reasons'],
  ],
  epilogue:
    'Kept since the daemon began. Errors that say all there is to say (ENOENT, EEXIST, EACCES and the like) leave no reason.',
  async run(context, args) {
    const path = absolute(context, args.needed('path'))
    const found = await find(context, path)
    const query = new URLSearchParams({
      ...(found.volume !== null && { volume: found.volume }),
      ...(found.inode !== null && { inode: found.inode }),
    })
    const why = await context.node.get<Why>(`/v1/why?${query}`)
    context.print({ path, now: found.now, ...why }, () => whyText(path, found.now, why))
    return undefined
  },
}

/** @throws CliError for a path that is on no mount of this node */
async function find(context: Context, path: string): Promise<Found> {
  const { mounts } = await context.node.get<{ mounts: MountInfo[] }>('/v1/mounts')
  const below = (target: string) => path === target || path.startsWith(`${target}${sep}`)
  const mount = mounts
    .filter(({ target }) => below(target))
    .sort((a, b) => b.target.length - a.target.length)[0]
  if (!mount) {
    const targets = mounts.map(({ target }) => target).join(', ')
    throw new CliError({
      exit: EXIT.usage,
      code: 'EINVAL',
      message: `${printable(path)} is on no mount of this node`,
      next: targets === '' ? 'weft mount /mnt/weft' : `ask for a path below ${targets}`,
    })
  }
  const [first = ''] = path.slice(mount.target.length).split(sep).filter(Boolean)
  const volume = mount.volume ?? (first === '' ? null : first)
  return { volume, ...(await look(context, path)) }
}

async function look(context: Context, path: string): Promise<Pick<Found, 'now' | 'inode'>> {
  const late = sleep(context.terminal.clock, STAT_MS_MAX).then(() => null)
  try {
    const found = await Promise.race([lstat(path, { bigint: true }), late])
    if (found === null) return { now: `no answer within ${STAT_MS_MAX / 1000} s`, inode: null }
    return { now: 'ok', inode: String(found.ino) }
  } catch (error) {
    return { now: errnoNameOf(error), inode: null }
  }
}

function whyText(path: string, now: string, { volume, problems, reasons }: Why): string {
  const where = volume === null ? 'the root of the namespace' : `in volume ${volume}`
  const head = `${printable(path)}: ${where}; stat answers ${now}\n`
  const answered = reasons.map(({ at, since, op, errno, why, next, isOfFile }) => {
    const times = since === at ? at : `${at}, first ${since}`
    const about = isOfFile ? ', of this file' : ''
    return `${op} answered ${errno}${about} (${times})\n  why: ${printable(why)}\n  next: ${printable(next)}\n`
  })
  const parts = [...problems.map(problemText), ...answered]
  if (parts.length > 0) return head + parts.join('')
  return `${head}nothing is wrong with it, and no call on it was refused for a reason of weft's since the daemon began\n`
}
