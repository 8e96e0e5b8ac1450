import { type ErrnoCode, FsError } from '../../base/index.ts'
import { type ErrorBody, errorBody } from './resources.ts'
import type { Answer, Done } from './wire.ts'

/**
 * What the appliance says when it says no, as one FsError: `message` is a sentence with what and why, `next` what it
 * recommends, `errorCode` and `status` stand beside them. The appliance answers in the language asked for, so the code
 * decides where there is one (facts §2.1).
 */
export interface Refusal {
  readonly op: string
  /** What was wanted, for a person: 'set drive X aside'. */
  readonly what: string
  /** Of the HTTP answer; 0 for an error of a task. */
  readonly status: number
  readonly errors: readonly ErrorBody[]
  /** Said where the error itself says nothing. */
  readonly otherwise: string
}

/** HTTP status → errno, whether a later moment may mend it, and what to do (facts §8). */
const BY_STATUS: Readonly<Record<number, readonly [ErrnoCode, 'never' | 'later', string]>> = {
  401: ['EACCES', 'never', "check the user's password and its roles on the appliance"],
  403: ['EPERM', 'never', 'give the user a role and a scope that allow it'],
  404: ['ENOENT', 'never', 'look whether it is still on the appliance'],
  405: ['ENOTSUP', 'never', 'this release of the appliance cannot do it: update it'],
  409: ['EBUSY', 'later', 'wait until the other operation has ended'],
  410: ['ENOENT', 'never', 'it was deleted'],
  412: ['ESTALE', 'later', 'somebody changed it meanwhile: read it again'],
  500: ['EIO', 'later', 'look at the activity page of the appliance'],
  502: ['EIO', 'later', 'look at what stands between this node and the appliance'],
  503: ['EAGAIN', 'later', 'wait until the appliance is up'],
  504: ['EIO', 'later', 'look at what stands between this node and the appliance'],
}

/** Codes that say more than the status does. Sources: facts §2.3, §5, §8. */
const BY_CODE: Readonly<Record<string, readonly [ErrnoCode, 'never' | 'later', string]>> = {
  AUTHN_AUTH_FAIL: ['EACCES', 'never', 'check user, password and domain'],
  AUTHN_AUTH_DIR_FAIL: ['EACCES', 'never', 'check the directory that the domain stands for'],
  AUTHN_AUTH_FAIL_NO_ROLES: ['EACCES', 'never', 'give the user a role on the appliance'],
  AUTHN_LOGINDOMAIN_NO_MEMBER_GROUPS_FOUND: ['EACCES', 'never', 'give a group of the user a role'],
  PASSWORD_CHANGE_REQUIRED: ['EACCES', 'never', 'log in once by hand and change the password'],
  AUTHN_SESSION_CLIENT_LIMIT_CROSSED: [
    'EAGAIN',
    'later',
    'log out sessions of this address that nobody uses, or raise the limit of sessions per client address; sessions that nobody logs out end after 24 hours',
  ],
  INSUFFICIENT_PRIVILEGES: ['EPERM', 'never', 'give the user the role that allows it'],
  NOT_AUTHORIZED: ['EPERM', 'never', 'give the user the role and the scope that allow it'],
  ASSOCIATION_FORBIDDEN_BY_SCOPE: ['EPERM', 'never', "put it into the user's scope"],
  DFRM_SAS_LOGICAL_JBOD_NOT_FOUND: ['ENOENT', 'never', 'it was deleted'],
  DFRM_SAS_LOGICAL_JBOD_UNABLE_TO_DELETE_SP_EXISTS: [
    'EBUSY',
    'never',
    'take it out of the server profile first',
  ],
  DFRM_SAS_LOGICAL_JBOD_UNABLE_TO_DELETE_ZONE: ['EIO', 'later', 'look at the SAS interconnects'],
}

/** "Unable to reserve/release the SAS logical JBOD", while the SAS interconnects get new firmware (facts §5). */
const SAS_MAINTENANCE = /unable to (reserve|release) the sas logical jbod/i
/** The two texts and the code for a server that is not off (facts §6.2). */
const POWER_CODE = /^ServerNotOff/
const POWER_TEXT =
  /is powered on and the changes made to|cannot be changed while the server hardware is powered on/i
/** A 401 of one of these, or of this text, is of somebody who is known and may not (facts §2.3). */
const NOT_ENTITLED_CODES = new Set([
  'INSUFFICIENT_PRIVILEGES',
  'NOT_AUTHORIZED',
  'ASSOCIATION_FORBIDDEN_BY_SCOPE',
])
const NOT_ENTITLED_TEXT = /not (authorized|entitled) (for|to)/i
const NESTED_MAX = 8
/** Of one text of the appliance; its longest in public have 400 characters. */
const TEXT_CHARS_MAX = 2000

/** The FsError of an answer of 400 and above. */
export function refusedAnswer(answer: Answer, op: string, what: string): FsError {
  const body = errorBody(answer.body)
  return refused({
    op,
    what,
    status: answer.status,
    errors: body === null ? [] : [body],
    otherwise: `it answers ${answer.status}`,
  })
}

export function refused(refusal: Refusal): FsError {
  const { op, what, status, errors, otherwise } = refusal
  const all = errors.flatMap((error) => withNested(error))
  const [told] = errors
  const power = all.find(isPowerError)
  if (power !== undefined) return powerError(refusal, power)
  const errorCode = all
    .map(({ errorCode }) => errorCode ?? '')
    .find((code) => Object.hasOwn(BY_CODE, code))
  const isMaintenance = all.some(({ message }) => SAS_MAINTENANCE.test(message ?? ''))
  const [code, retry, otherNext] = isMaintenance
    ? (['EAGAIN', 'later', 'wait until the SAS interconnects are serviced'] as const)
    : (BY_CODE[errorCode ?? ''] ??
      BY_STATUS[status] ?? ['EINVAL', 'never', 'see the activity page of the appliance'])
  const recommended = all.flatMap(({ recommendedActions }) => recommendedActions ?? [])
  const done: Done = status === 502 || status === 504 ? 'maybe' : 'no'
  return new FsError(code, op, {
    status,
    done,
    errorCode: errorCode ?? told?.errorCode ?? '',
    retry,
    message: `oneview: cannot ${what}: ${whyOf(all) || otherwise}`,
    next: plain(recommended.join(' ')) || otherNext,
  })
}

/** True when the session is known and the user may not do this: logging in again would change nothing. */
export function isNotEntitled(body: unknown): boolean {
  const error = errorBody(body)
  if (error === null) return false
  return withNested(error).some(
    ({ errorCode, message, details }) =>
      NOT_ENTITLED_CODES.has(errorCode ?? '') ||
      NOT_ENTITLED_TEXT.test(`${message ?? ''} ${details ?? ''}`),
  )
}

/** Its texts name things as {"name":"…","uri":"…"} in the midst of a sentence (facts §7): the name stays. */
export function plain(text: string): string {
  return text
    .slice(0, TEXT_CHARS_MAX)
    .replaceAll(
      /\{\s*"name"\s*:\s*"((?:[^"\\]|\\.)*)"\s*,\s*"uri"\s*:\s*"(?:[^"\\]|\\.)*"\s*\}/g,
      linkName,
    )
    .replaceAll(/\s+/g, ' ')
    .trim()
}

/** 'Learn more' leads into the appliance's own help, where a reader of this text is not. */
function linkName(_link: string, name: string): string {
  return name === 'Learn more' ? '' : name
}

/** Message and details of the first, then of what is nested in it; nothing twice. */
function whyOf(errors: readonly ErrorBody[]): string {
  const sentences = errors
    .flatMap(({ message, details }) => [plain(message ?? ''), plain(details ?? '')])
    .filter((sentence) => sentence !== '')
  return [...new Set(sentences)].join(' ').slice(0, TEXT_CHARS_MAX)
}

function withNested(error: ErrorBody, depth = 0): ErrorBody[] {
  if (depth === NESTED_MAX) return [error]
  const nested = (error.nestedErrors ?? []).map(errorBody).filter((one) => one !== null)
  return [error, ...nested.flatMap((one) => withNested(one, depth + 1))]
}

function isPowerError({ errorCode, message, details }: ErrorBody): boolean {
  return POWER_CODE.test(errorCode ?? '') || POWER_TEXT.test(`${message ?? ''} ${details ?? ''}`)
}

/** Which sections, the later releases list behind their sentence, one a line with a star before it (facts §6.2). */
function sectionsOf({ message, details }: ErrorBody): string[] {
  const text = `${message ?? ''}\n${details ?? ''}`.slice(0, TEXT_CHARS_MAX)
  return [...text.matchAll(/^\s*\*\s*(.+?)\s*$/gm)].map(([, section]) => section as string)
}

/** The name of the section of local storage is a guess [?]: facts §6.2, §13. */
const STORAGE_SECTION = /storage|jbod|drive/i

function powerError({ op, what, status }: Refusal, error: ErrorBody): FsError {
  const sections = sectionsOf(error)
  const which =
    sections.length === 0
      ? 'this part of a server profile'
      : `the ${sections.length === 1 ? 'section' : 'sections'} ${sections.join(', ')} of the server profile`
  const isOthers = sections.length > 0 && !sections.some((section) => STORAGE_SECTION.test(section))
  return new FsError('EPERM', op, {
    status,
    done: 'no' satisfies Done,
    needsPowerOff: true,
    errorCode: error.errorCode ?? '',
    sections,
    message: `oneview: cannot ${what}: the appliance changes ${which} only while the server is off, and it is on${isOthers ? '; weft changes nothing there, so the profile already differed from the server' : ''}`,
    next: isOthers
      ? 'bring the profile and the server together in OneView first, then ask again'
      : 'at the next shutdown of this server change its profile in OneView, by hand, and power it on; weft sees that it was done. With the server off as many drives may be attached as will be wanted',
  })
}
