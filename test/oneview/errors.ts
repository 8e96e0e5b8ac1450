import { fixture } from './fixtures.ts'

/**
 * How the appliance says no: at once, with a status, or later, in a task that ends in Error. Both carry the same body.
 * The codes below that facts §8 does not quote are guesses [?]: clients go by the status.
 */

export interface ErrorBody {
  readonly errorCode: string
  readonly message: string
  readonly details: string
  readonly recommendedActions: readonly string[]
  readonly errorSource: string | null
  readonly nestedErrors: readonly ErrorBody[]
  readonly data: object | null
}

export function errorBody(errorCode: string, message: string, details = ''): ErrorBody {
  return {
    errorCode,
    message,
    details,
    recommendedActions: [],
    errorSource: null,
    nestedErrors: [],
    data: null,
  }
}

/** The request is refused. */
export class Refused extends Error {
  readonly status: number
  readonly body: ErrorBody

  constructor(status: number, body: ErrorBody) {
    super(`${status} ${body.errorCode}`)
    this.status = status
    this.body = body
  }
}

/** The request was accepted, and its task fails. */
export class TaskFailed extends Error {
  readonly body: ErrorBody

  constructor(errorCode: string, message: string, body = errorBody(errorCode, message)) {
    super(`${errorCode}: ${message}`)
    this.body = body
  }
}

export function refused(status: number, errorCode: string, message: string): Refused {
  return new Refused(status, errorBody(errorCode, message))
}

export function invalid(message: string): Refused {
  return refused(400, 'INVALID_REQUEST', message)
}

export function notFound(uri: string, errorCode = 'RESOURCE_NOT_FOUND'): Refused {
  return refused(404, errorCode, `The resource ${uri} was not found.`)
}

/** A body that names something which is not there gets 400, not 404. Source: facts §8. */
export function unknownReference(uri: string): Refused {
  return refused(400, 'REFERENCE_NOT_FOUND', `The resource ${uri} in this request does not exist.`)
}

/** The body is a guess: none was found in public [?]. */
export function locked(name: string): Refused {
  return refused(409, 'RESOURCE_LOCKED', `Another operation on ${name} is in progress.`)
}

/** The body is a guess: none was found in public [?]. */
export function staleETag(): Refused {
  return refused(412, 'ETAG_MISMATCH', 'The resource was changed since it was read.')
}

export function unrecognizedField(name: string): Refused {
  const body = fixture('errors/error.UNRECOGNIZED_JSON_FIELD') as unknown as ErrorBody
  return new Refused(400, {
    ...body,
    details: body.details.replace('sasLogicalJBODUri', name),
  })
}

export function tooManySessions(ip: string): Refused {
  const text = JSON.stringify(fixture('errors/error.AUTHN_SESSION_CLIENT_LIMIT_CROSSED'))
  // The status is not quoted in public, only that it is 4xx [?].
  return new Refused(400, JSON.parse(text.replaceAll('xxx.xxx.xxx.xxx', ip)))
}

/** @param sections what of the profile cannot be changed under power, in the words of the appliance's pages */
export function serverNotOff(
  hardwareName: string,
  hardwareUri: string,
  sections: readonly string[],
): TaskFailed {
  const body = fixture(
    'errors/taskError.ServerNotOffWithCauseForNoServerChange',
  ) as unknown as ErrorBody
  const server = JSON.stringify({ name: hardwareName, uri: hardwareUri }).replace(',', ', ')
  const list = sections.map((section) => `\n* ${section}`).join('')
  const message = body.message.replace(/\{.*?\}/, server).replace('\n* Firmware', list)
  return new TaskFailed(body.errorCode, message, { ...body, message })
}
