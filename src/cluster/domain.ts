import { z } from 'zod'
import {
  DOMAIN_LEVELS,
  type DomainLevel,
  type FailureDomain,
  FsError,
  limits,
} from '../base/index.ts'

export const nowhere: FailureDomain = { region: null, zone: null, rack: null, enclosure: null }

const VALUE = /^[A-Za-z0-9][A-Za-z0-9._-]*$/
const value = z.string().regex(VALUE).max(limits.domainCharsMax).nullable()
export const domainShape = z.strictObject({
  region: value,
  zone: value,
  rack: value,
  enclosure: value,
})

/**
 * Reads a domain as a person types it: region=eu,zone=1,rack=r1. Levels left out are null; '' is no domain.
 * @throws FsError EINVAL whose message names what was given, why it is refused, and what to give instead
 */
export function parseDomain(text: string): FailureDomain {
  const domain: Record<DomainLevel, string | null> = { ...nowhere }
  if (text.trim() === '') return domain
  for (const part of text.split(',')) {
    const [level = '', ...rest] = part.trim().split('=')
    if (part.trim() === '') refuse(text, `domain ${quoted(text)}: an empty part; ${NEXT}`)
    if (rest.length === 0) refuse(part, `domain: ${quoted(part.trim())} has no "="; ${NEXT}`)
    if (!isLevel(level)) {
      const levels = DOMAIN_LEVELS.join(', ')
      refuse(level, `domain: unknown level ${quoted(level)}; the levels are ${levels}`)
    }
    if (domain[level] !== null) refuse(part, `domain: ${level} is given twice; give it once`)
    domain[level] = checkValue(level, rest.join('='))
  }
  return domain
}

/** As a person could type it; parseDomain gives the same domain back. */
export function formatDomain(domain: FailureDomain): string {
  return DOMAIN_LEVELS.filter((level) => domain[level] !== null)
    .map((level) => `${level}=${domain[level]}`)
    .join(',')
}

const NEXT = 'write level=value, as in region=eu,zone=1,rack=r1'

function isLevel(text: string): text is DomainLevel {
  return (DOMAIN_LEVELS as readonly string[]).includes(text)
}

function checkValue(level: DomainLevel, given: string): string {
  const allowed = `use letters, digits, ".", "_" and "-", as in ${level}=${EXAMPLES[level]}`
  if (given === '') refuse(given, `domain: ${level} is empty; ${allowed}, or leave it out`)
  if (given.length > limits.domainCharsMax) {
    refuse(
      given,
      `domain: ${level} ${quoted(given)} is ${given.length} characters long; use at most ${limits.domainCharsMax}`,
    )
  }
  const odd = /[^A-Za-z0-9._-]/u.exec(given)?.[0]
  if (odd !== undefined) {
    refuse(
      given,
      `domain: ${level} ${quoted(given)}: ${JSON.stringify(odd)} is not allowed; ${allowed}`,
    )
  }
  if (!VALUE.test(given)) {
    refuse(
      given,
      `domain: ${level} ${quoted(given)} begins with "${given[0]}"; begin with a letter or a digit`,
    )
  }
  return given
}

const EXAMPLES: Readonly<Record<DomainLevel, string>> = {
  region: 'eu',
  zone: '1',
  rack: 'r1',
  enclosure: 'e1',
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}

function refuse(given: string, message: string): never {
  throw new FsError('EINVAL', 'cluster.domain', { value: given.slice(0, 80), message })
}
