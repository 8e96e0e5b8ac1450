import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { codeOf } from '../base/index.ts'
import { CliError, fileError } from './cli-error.ts'
import { EXIT } from './exit-codes.ts'

/**
 * Make a directory and its missing parents, 0700, one by one: mkdirSync with `recursive` never ends on /proc, where
 * mkdir(2) says ENOENT under a directory that exists (measured, Node 20.20).
 * @param op what it is for, as in 'use as home'
 * @throws CliError saying which part of the path is in the way
 */
export function makeDirectory(path: string, op: string, next: string): void {
  const missing: string[] = []
  let at = path
  for (; !exists(at, op, next); at = dirname(at)) missing.push(at)
  for (const directory of missing.reverse()) {
    try {
      mkdirSync(directory, { mode: 0o700 })
    } catch (error) {
      const code = codeOf(error)
      // Another process made it between the look and now.
      if (code === 'EEXIST') continue
      if (code !== 'ENOENT') throw fileError(error, op, path, next)
      throw new CliError({
        exit: EXIT.usage,
        code,
        message: `cannot ${op} ${path}: no directory can be made in ${dirname(directory)}`,
        next,
        op,
        subject: { path },
        cause: error,
      })
    }
  }
}

/** @throws CliError when it is there and no directory, or cannot be looked at */
function exists(path: string, op: string, next: string): boolean {
  try {
    if (statSync(path).isDirectory()) return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw fileError(error, op, path, next)
  }
  throw new CliError({
    exit: EXIT.usage,
    code: 'ENOTDIR',
    message: `cannot ${op} ${path}: it is a file, not a directory`,
    next,
    op,
    subject: { path },
  })
}
