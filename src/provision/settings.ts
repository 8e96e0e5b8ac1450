import { FsError } from '../base/index.ts'
import { durationWords, sizeWords } from './words.ts'

/** What a person has said about growing and shrinking. */
export interface PolicySettings {
  /** Without it nothing is taken or given back but by hand. */
  readonly enabled: boolean
  /** Says in the log what would be done, and does not do it. */
  readonly dryRun: boolean
  /** Part of a class in use, in percent, from which on it grows … */
  readonly growAtPercent: number
  /** … and below which it shrinks. */
  readonly shrinkAtPercent: number
  /** Kept free on each class: this node's share of what the largest failure domain holds, nothing, or so many bytes. */
  readonly reserve: 'one-node' | 'none' | number
  /** Drives of a frame that this node holds at once. */
  readonly maxDrives: number
  /** Drives taken or given back within 24 hours. */
  readonly budgetPerDay: number
  /** Between two acts, unless the pool would be full before it is over. */
  readonly coolDownMs: number
  /**
   * Drives of each class here that stand ready before this host, untouched: where the appliance attaches only with the server off,
   * all are attached at one shutdown.
   */
  readonly readyDrives: number
}

export const usualSettings: PolicySettings = {
  enabled: false,
  dryRun: false,
  growAtPercent: 75,
  shrinkAtPercent: 35,
  reserve: 'one-node',
  maxDrives: 40,
  budgetPerDay: 4,
  coolDownMs: 30 * 60_000,
  readyDrives: 0,
}

/** As typed, each optional: what is not said stays as it is. */
export interface PolicyWords {
  readonly enabled?: boolean
  readonly dryRun?: boolean
  /** 75% */
  readonly growAt?: string
  readonly shrinkAt?: string
  /** one-node, none, or a size: 500G */
  readonly reserve?: string
  readonly maxDrives?: string
  /** 4/day */
  readonly budget?: string
  /** 90s, 30m, 2h */
  readonly coolDown?: string
  /** 2 */
  readonly ready?: string
}

/** Nearer to each other, one drive more or less would call for the other act. */
const PERCENT_APART = 10
const DRIVES_MAX = 1000
/** Of each class: they are nobody else's while they stand there. */
const READY_MAX = 16
const COOL_DOWN_MS_MAX = 7 * 24 * 3_600_000
const SIZE_UNITS = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 } as const
const TIME_UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 24 * 3_600_000 } as const

/** @throws FsError EINVAL that names the setting, what was given, and what to type instead */
export function changeSettings(before: PolicySettings, words: PolicyWords): PolicySettings {
  const { growAt, shrinkAt, reserve, maxDrives, budget, coolDown, ready } = words
  const after: PolicySettings = {
    enabled: words.enabled ?? before.enabled,
    dryRun: words.dryRun ?? before.dryRun,
    growAtPercent:
      growAt === undefined ? before.growAtPercent : percentOf('grow-at', growAt, '75%'),
    shrinkAtPercent:
      shrinkAt === undefined ? before.shrinkAtPercent : percentOf('shrink-at', shrinkAt, '35%'),
    reserve: reserve === undefined ? before.reserve : reserveOf(reserve),
    maxDrives: maxDrives === undefined ? before.maxDrives : drivesOf(maxDrives),
    budgetPerDay: budget === undefined ? before.budgetPerDay : budgetOf(budget),
    coolDownMs: coolDown === undefined ? before.coolDownMs : coolDownOf(coolDown),
    readyDrives: ready === undefined ? before.readyDrives : readyOf(ready),
  }
  const { growAtPercent, shrinkAtPercent } = after
  if (growAtPercent - shrinkAtPercent < PERCENT_APART) {
    throw new FsError('EINVAL', 'policy.set', {
      message: `policy set: grow-at ${growAtPercent}% and shrink-at ${shrinkAtPercent}% are too near to each other, so that a drive given back would be wanted again; keep ${PERCENT_APART}% between them, as in --grow-at 75% --shrink-at 35%`,
    })
  }
  return after
}

/** One line for a person. */
export function settingsWords(settings: PolicySettings): string {
  const { enabled, dryRun, growAtPercent, shrinkAtPercent, reserve } = settings
  const state = enabled ? (dryRun ? 'on, dry run' : 'on') : 'off'
  const kept = typeof reserve === 'number' ? sizeWords(reserve) : reserve
  const { readyDrives } = settings
  const ready = readyDrives === 0 ? '' : `, ${readyDrives} of each class ready`
  return `policy ${state}: grow at ${growAtPercent} %, shrink at ${shrinkAtPercent} %, reserve ${kept}, at most ${settings.maxDrives} drives of the frame, ${settings.budgetPerDay} a day, cool-down ${durationWords(settings.coolDownMs)}${ready}`
}

function percentOf(option: string, text: string, example: string): number {
  const percent = Number(/^(\d{1,3})%?$/.exec(text)?.[1] ?? Number.NaN)
  if (percent >= 0 && percent <= 99) return percent
  throw wrong(option, text, `a whole number of percent below 100, as in --${option} ${example}`)
}

function reserveOf(text: string): PolicySettings['reserve'] {
  if (text === 'one-node' || text === 'none') return text
  const [, digits, unit] = /^(\d{1,9})([KMGT])?$/i.exec(text) ?? []
  const bytes = Number(digits) * SIZE_UNITS[(unit?.toUpperCase() ?? '') as keyof typeof SIZE_UNITS]
  if (Number.isSafeInteger(bytes)) return bytes
  throw wrong('reserve', text, 'one-node, none, or a size with K, M, G or T, as in --reserve 500G')
}

function drivesOf(text: string): number {
  const count = wholeOf(text)
  if (count >= 1 && count <= DRIVES_MAX) return count
  throw wrong('max-drives', text, `1 to ${DRIVES_MAX}, as in --max-drives 40`)
}

function budgetOf(text: string): number {
  const count = wholeOf(text.replace(/\/day$/, ''))
  if (count >= 1 && count <= DRIVES_MAX) return count
  throw wrong('budget', text, `drives a day, 1 to ${DRIVES_MAX}, as in --budget 4/day`)
}

function readyOf(text: string): number {
  const count = wholeOf(text)
  if (count >= 0 && count <= READY_MAX) return count
  throw wrong('ready', text, `0 to ${READY_MAX} drives of each class, as in --ready 2`)
}

function coolDownOf(text: string): number {
  const [, digits, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? []
  const ms = Number(digits) * TIME_UNITS[unit as keyof typeof TIME_UNITS]
  if (ms >= 0 && ms <= COOL_DOWN_MS_MAX) return ms
  throw wrong('cool-down', text, 'a whole number with s, m, h or d, at most 7d, as in 30m')
}

/** NaN for what is no whole number of a sane length. */
function wholeOf(text: string): number {
  return /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
}

function wrong(option: string, text: string, next: string): FsError {
  const value = text.slice(0, 80)
  return new FsError('EINVAL', 'policy.set', {
    ...{ option, value },
    message: `policy set: --${option} ${JSON.stringify(value)} is not understood: give ${next}`,
  })
}
