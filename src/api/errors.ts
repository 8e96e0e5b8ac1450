import { FsError, type Subject } from '../base/index.ts'

/** The body of every failed answer, under the key `error`. */
export interface ApiError {
  /** errno name, or INTERNAL for what nobody expected (the log has it, with its stack). */
  readonly code: string
  readonly message: string
  /** What to do next. Never empty. */
  readonly next: string
  readonly op: string
  readonly subject: Subject
}

interface CodeRow {
  readonly status: number
  readonly next: string
}

/**
 * HTTP status by errno name, and the next step where the thrower named none in `subject.next`.
 * What is missing here answers 500.
 */
const CODES: Readonly<Record<string, CodeRow>> = {
  EINVAL: { status: 400, next: 'correct the request; `weft COMMAND --help` has an example' },
  E2BIG: { status: 413, next: 'send less' },
  ERANGE: { status: 400, next: 'correct the request; `weft COMMAND --help` has an example' },
  ENAMETOOLONG: { status: 400, next: 'choose a shorter name' },
  ENOTDIR: { status: 400, next: 'name a directory' },
  EPERM: { status: 403, next: 'run the command as root, or as the owner of the home directory' },
  EACCES: { status: 403, next: 'check the rights of the path, or run the command as root' },
  ENOKEY: { status: 403, next: 'open the volume first: weft key unlock VOLUME' },
  EKEYREJECTED: {
    status: 403,
    next: 'try another passphrase, key file or set of shares: weft key list VOLUME shows what opens it',
  },
  ENOENT: { status: 404, next: '`weft status` shows what there is' },
  ENODEV: { status: 503, next: 'run `weft doctor`' },
  EEXIST: { status: 409, next: 'choose another name' },
  EBUSY: { status: 409, next: 'end what uses it (`weft status` shows mounts), then try again' },
  ENOTEMPTY: { status: 409, next: 'empty it first, or name another one' },
  EROFS: { status: 409, next: 'see `weft status` for why it is read-only' },
  ENOTSUP: { status: 501, next: 'see the documentation of this command for what is supported' },
  EOPNOTSUPP: { status: 501, next: 'see the documentation of this command for what is supported' },
  ENOSYS: { status: 501, next: 'see the documentation of this command for what is supported' },
  ENOSPC: { status: 507, next: 'free space, or give the node another drive: weft drive add DIR' },
  EDQUOT: {
    status: 507,
    next: 'delete something, or resize the volume: weft volume resize NAME SIZE',
  },
  EAGAIN: { status: 503, next: 'try again in a moment' },
  EHOSTUNREACH: {
    status: 503,
    next: 'check network and addresses; `weft cluster status` says who is reached',
  },
  EADDRINUSE: { status: 409, next: 'choose another port' },
  ESTALE: { status: 409, next: 'try again in a moment' },
  ENOTCONN: {
    status: 503,
    next: 'try again in a moment; `weft status` shows the state of the node',
  },
  ETIMEDOUT: { status: 504, next: 'try again; `weft status` shows the state of the node' },
  EUCLEAN: { status: 500, next: 'run `weft fsck`, then `weft fsck --repair`' },
  EIO: { status: 500, next: 'see `weft status` and the end of HOME/log/keeper.log' },
}

const UNEXPECTED_NEXT = 'see the end of HOME/log/keeper.log and report it as a bug'

export interface Failure {
  readonly status: number
  readonly error: ApiError
  /** Nobody expected it: to be logged with its stack. */
  readonly unexpected: boolean
}

/** Any thrown value as an answer. Messages of unexpected errors stay in the log: they may quote a secret. */
export function failureOf(thrown: unknown, op: string): Failure {
  if (thrown instanceof FsError) {
    const row = CODES[thrown.code]
    const { next, ...subject } = thrown.subject
    const [message, act] = splitAct(thrown)
    const given = typeof next === 'string' && next !== '' ? next : act
    const said = given ?? row?.next ?? UNEXPECTED_NEXT
    const error = {
      code: thrown.code,
      message,
      next: said,
      op: thrown.op,
      subject: plainSubject(subject),
    }
    return { status: row?.status ?? 500, error, unexpected: false }
  }
  const status = statusOf(thrown)
  if (status >= 400 && status < 500) {
    const code = status === 413 ? 'E2BIG' : 'EINVAL'
    const message = thrown instanceof Error ? thrown.message : 'bad request'
    const error = {
      code,
      message,
      next: 'see /openapi.json for the shape of each request',
      op,
      subject: {},
    }
    return { status, error, unexpected: false }
  }
  const message = `${op} failed inside weft`
  return {
    status: 500,
    error: { code: 'INTERNAL', message, next: UNEXPECTED_NEXT, op, subject: {} },
    unexpected: true,
  }
}

/** Rooms below name the command that helps at the end of their message: "…; run: COMMAND". */
function splitAct({ op, message: said }: FsError): [message: string, act: string | undefined] {
  // Room crypto begins its messages with the operation, which the answer has beside them.
  const message = said.startsWith('key.') ? said.replace(`${op}: `, '') : said
  const words = OPS_WITH_ACT.includes(op) ? '; ' : '; run: '
  const at = message.lastIndexOf(words)
  return at < 0 ? [message, undefined] : [message.slice(0, at), message.slice(at + words.length)]
}

/** Their messages always end in what to give instead (volumes/spec.ts, volumes/size.ts). */
const OPS_WITH_ACT: readonly string[] = ['volume.spec']

/** The status fastify gave an error of its own (bad JSON, body too large), 0 for others. */
function statusOf(thrown: unknown): number {
  if (!(thrown instanceof Error) || !('statusCode' in thrown)) return 0
  return typeof thrown.statusCode === 'number' ? thrown.statusCode : 0
}

/** Subjects may hold bigint ids and buffers (names); neither is JSON. */
function plainSubject(subject: Subject): Subject {
  const plain: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(subject)) {
    if (typeof value === 'bigint') plain[key] = value.toString()
    else if (value instanceof Uint8Array) plain[key] = Buffer.from(value).toString('utf8')
    else if (value === null || typeof value !== 'object') plain[key] = value
    else plain[key] = jsonOr(value)
  }
  return plain
}

function jsonOr(value: object): unknown {
  try {
    return JSON.parse(
      JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? inner.toString() : inner)),
    )
  } catch {
    return '(not shown)'
  }
}
