import { randomBytes, randomInt } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { type Clock, codeOf, sleep } from '../../base/index.ts'
import { fileError, usageError } from '../cli-error.ts'
import { absolute, type Command } from '../command.ts'
import { table } from '../render.ts'

const MIB = 1024 * 1024
const BLOCK = 4096

interface Figure {
  readonly id: string
  readonly name: string
  readonly value: number
  readonly unit: 'MiB/s' | '1/s'
}

export const command: Command = {
  positionals: { dir: { type: 'string', describe: 'A directory in a mounted volume' } },
  options: {
    size: { type: 'string', requiresArg: true, describe: 'MiB of the large file (default 128)' },
    files: { type: 'string', requiresArg: true, describe: 'Number of small files (default 500)' },
  },
  examples: [
    ['weft bench /mnt/weft/notes', 'A few seconds; removes what it wrote'],
    ['weft bench /tmp --json', 'Another filesystem, to compare with'],
  ],
  epilogue:
    'A look, not a study: one round, with warm caches where the kernel keeps them. scripts/bench compares properly.',
  async run(context, args) {
    const dir = absolute(context, args.needed('dir'))
    const megabytes = args.whole('size', 1, 65_536) ?? 128
    const files = args.whole('files', 1, 1_000_000) ?? 500
    let place: string
    try {
      if (!statSync(dir).isDirectory())
        throw usageError(`${dir} is not a directory`, 'name a directory in a mounted volume')
      place = mkdtempSync(join(dir, '.weft-bench-'))
    } catch (error) {
      if (error instanceof Error && error.name === 'CliError') throw error
      const next = 'name a directory you can write, in a mounted volume'
      // The kernel's own filesystems say ENOENT to who makes something in them.
      if (codeOf(error) === 'ENOENT' && existsSync(dir))
        throw usageError(`cannot measure in ${dir}: nothing can be made there`, next)
      throw fileError(error, 'measure in', dir, next)
    }
    let interrupted = false
    const release = context.terminal.onInterrupt(() => {
      interrupted = true
      release()
    })
    const figures: Figure[] = []
    try {
      for (const measure of measures(context.terminal.clock, place, megabytes, files)) {
        figures.push(measure())
        // Lets Ctrl-C in between two measurements; the calls themselves are synchronous.
        await sleep(context.terminal.clock, 0)
        if (interrupted) break
      }
    } catch (error) {
      throw fileError(
        error,
        'measure in',
        dir,
        'look with df whether there is room, and with weft status',
      )
    } finally {
      release()
      rmSync(place, { recursive: true, force: true })
    }
    context.print({ dir, figures }, () =>
      table(
        [{ title: 'WORK' }, { title: 'RATE', right: true }, { title: 'UNIT' }],
        figures.map((figure) => [figure.name, figure.value.toFixed(0), figure.unit]),
      ),
    )
    return undefined
  },
}

function measures(clock: Clock, place: string, megabytes: number, files: number): (() => Figure)[] {
  const large = join(place, 'large')
  const small = join(place, 'small')
  const block = randomBytes(MIB)
  const page = randomBytes(BLOCK)
  const pages = (megabytes * MIB) / BLOCK
  const operations = Math.min(2000, pages)

  const timed =
    (id: string, name: string, amount: number, unit: Figure['unit'], work: () => void) =>
    (): Figure => {
      const start = clock.monotonicMs()
      work()
      const seconds = Math.max(clock.monotonicMs() - start, 0.001) / 1000
      return { id, name, value: amount / seconds, unit }
    }
  const withFile = (path: string, flags: string, work: (fd: number) => void) => () => {
    const fd = openSync(path, flags)
    try {
      work(fd)
    } finally {
      closeSync(fd)
    }
  }
  const each = (count: number, work: (at: number) => void) => () => {
    for (let at = 0; at < count; at++) work(at)
  }
  return [
    timed(
      'seq-write',
      'sequential write, with fsync',
      megabytes,
      'MiB/s',
      withFile(large, 'w', (fd) => {
        for (let at = 0; at < megabytes; at++) writeSync(fd, block, 0, MIB, at * MIB)
        fsyncSync(fd)
      }),
    ),
    timed(
      'seq-read',
      'sequential read',
      megabytes,
      'MiB/s',
      withFile(large, 'r', (fd) => {
        for (let at = 0; at < megabytes; at++) readSync(fd, block, 0, MIB, at * MIB)
      }),
    ),
    timed(
      'rand-read',
      'random 4-KiB read',
      operations,
      '1/s',
      withFile(large, 'r', (fd) => {
        for (let count = 0; count < operations; count++)
          readSync(fd, page, 0, BLOCK, randomInt(pages) * BLOCK)
      }),
    ),
    timed(
      'rand-write',
      'random 4-KiB write',
      operations,
      '1/s',
      withFile(large, 'r+', (fd) => {
        for (let count = 0; count < operations; count++)
          writeSync(fd, page, 0, BLOCK, randomInt(pages) * BLOCK)
      }),
    ),
    timed(
      'sync-write',
      'random 4-KiB write, each fdatasync',
      100,
      '1/s',
      withFile(large, 'r+', (fd) => {
        for (let count = 0; count < 100; count++) {
          writeSync(fd, page, 0, BLOCK, randomInt(pages) * BLOCK)
          fdatasyncSync(fd)
        }
      }),
    ),
    timed('create', 'create 4-KiB files', files, '1/s', () => {
      mkdirSync(small)
      each(files, (at) => writeFileSync(join(small, `f${at}`), page))()
    }),
    timed(
      'stat',
      'stat',
      files,
      '1/s',
      each(files, (at) => statSync(join(small, `f${at}`))),
    ),
    timed('list', 'list a directory, names', files, '1/s', () => readdirSync(small)),
    timed(
      'unlink',
      'unlink',
      files,
      '1/s',
      each(files, (at) => rmSync(join(small, `f${at}`))),
    ),
  ]
}
