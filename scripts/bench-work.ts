/** What every contender of a benchmark has to do, and in which words it is told. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Readable } from 'node:stream'
import { environment, root, run, UsageError } from './bench-place.ts'

/** One row of a table: fsbench's key, its name for people, and the unit. */
export const WORK = [
  { key: 'seq_write_fsync_MiBps', work: 'sequential write + fsync', unit: 'MiB/s' },
  { key: 'seq_read_cold_MiBps', work: 'sequential read, cold', unit: 'MiB/s' },
  { key: 'seq_read_warm_MiBps', work: 'sequential read, warm', unit: 'MiB/s' },
  { key: 'rand_read4k_cold_iops', work: 'random 4-KiB read, cold', unit: '/s' },
  { key: 'rand_write4k_buffered_iops', work: 'random 4-KiB write, buffered', unit: '/s' },
  {
    key: 'rand_write4k_fdatasync_iops',
    work: 'random 4-KiB write, each fdatasync’d',
    unit: '/s',
  },
  { key: 'create4k_per_s', work: 'create 4-KiB files', unit: '/s' },
  { key: 'create4k_8threads_per_s', work: 'create 4-KiB files, 8 threads', unit: '/s' },
  { key: 'stat_cold_per_s', work: 'stat, cold', unit: '/s' },
  { key: 'stat_warm_per_s', work: 'stat, warm', unit: '/s' },
  { key: 'read4k_cold_per_s', work: 'open + read 4-KiB files, cold', unit: '/s' },
  { key: 'ls_l_cold_entries_per_s', work: 'ls -l, cold', unit: 'entries/s' },
  { key: 'untar_entries_per_s', work: 'untar a source tree', unit: 'entries/s' },
  { key: 'rename_per_s', work: 'rename', unit: '/s' },
  { key: 'unlink_per_s', work: 'unlink', unit: '/s' },
  { key: 'rm_rf_entries_per_s', work: 'rm -rf', unit: 'entries/s' },
] as const

export type WorkKey = (typeof WORK)[number]['key']
export type Figures = Record<string, number>

/** About what a source release has; shared/bench was measured with 2,365. */
const tarEntriesMax = 2300
const tarFileBytesMax = 64 * 1024

/** A tar of small source files of our own packages: the same for everybody who has the same lockfile. */
export function makeTar(tar: string): string {
  const from = join(root, 'node_modules')
  const entries: string[] = []
  const walk = (dir: string) => {
    for (const entry of readdirSync(dir, { withFileTypes: true }).sort((a, b) =>
      a.name < b.name ? -1 : 1,
    )) {
      if (entries.length >= tarEntriesMax || entry.name.startsWith('.')) continue
      const path = join(dir, entry.name)
      if (entry.isDirectory()) {
        entries.push(relative(from, path))
        walk(path)
      } else if (
        /\.(js|ts|json|md|c|h)$/.test(entry.name) &&
        statSync(path).size <= tarFileBytesMax
      )
        entries.push(relative(from, path))
    }
  }
  walk(from)
  const list = `${tar}.list`
  writeFileSync(list, entries.join('\n'))
  run('tar', 'cf', tar, '-C', from, '--no-recursion', '-T', list)
  rmSync(list)
  return tar
}

/** Starts a program beside us, on this machine or in a host of a lab; what it says goes to standard error. */
export type Start = (
  words: readonly [string, ...string[]],
  env: Readonly<Record<string, string>>,
) => ChildProcessByStdio<null, Readable, null>

const here: Start = ([program, ...args], env) =>
  spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...environment, ...env } })

/**
 * Runs a Python program of ours that prints one line of JSON.
 * @throws when it ends with another code than 0
 */
export function python(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  start: Start = here,
): Promise<unknown> {
  const child = start(['/usr/bin/python3', join(root, 'scripts', script), ...args], env)
  return new Promise((done, fail) => {
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (piece: string) => {
      text += piece
    })
    child.on('error', fail)
    child.on('close', (code) => {
      if (code === 0) return done(JSON.parse(text))
      fail(new Error(`${script} ${args.join(' ')} ended with ${code}`))
    })
  })
}

export interface FsbenchOptions {
  readonly tar: string
  readonly quick: boolean
  /** Where it runs; default here. */
  readonly start?: Start
}

export async function fsbench(
  dir: string,
  name: string,
  { tar, quick, start = here }: FsbenchOptions,
): Promise<Figures> {
  const sizes = quick ? { SIZE_MB: '64', FILES: '800' } : {}
  const answer = await python('fsbench.py', [dir, name], { ...sizes, TAR: tar }, start)
  const { label: _, ...figures } = answer as Figures & { label: unknown }
  return figures as Figures
}

/** @param weft what the word weft stands for. @throws UsageError for a name that is none */
export function chosen<T extends string>(
  names: readonly string[],
  all: readonly T[],
  weft: readonly T[],
): readonly T[] {
  if (names.length === 0) return all
  const meant = names.flatMap((name) => (name === 'weft' ? [...weft] : [name]))
  const unknown = meant.find((name) => !all.some((one) => one === name))
  if (unknown !== undefined) {
    throw new UsageError(`--only knows ${all.join(', ')} and weft, not ${unknown}`)
  }
  return all.filter((name) => meant.includes(name))
}

export function roundsLine({ rounds, quick }: { rounds: number; quick: boolean }): string {
  const counted = rounds === 1 ? 'One round' : `Median of ${rounds} rounds (min–max)`
  return quick
    ? `${counted}, none before to warm up.`
    : `${counted}, after one round of every system to warm up, which is not counted.`
}
