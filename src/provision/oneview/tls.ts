import { createHash } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { buildConnector } from 'undici'
import { codeOf, FsError, messageOf } from '../../base/index.ts'
import type { Done } from './wire.ts'

/** By what an appliance is known. Its own certificate signs itself unless the owner has changed it (facts §2.1). */
export interface Trust {
  /** PEM of the authorities that may have signed its certificate, or of itself. */
  readonly ca?: string
  /** `sha256:` and 64 hex digits, colons allowed: this certificate and no other, whoever signed it, whatever its names. */
  readonly pin?: string
}

const PIN = /^sha256:((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})$/i
const CONNECT_MS = 10_000

/**
 * Connections to the appliance, which are handed to undici only when the certificate is the right one: until then not a
 * byte of a request has been written.
 * @throws FsError EINVAL for a pin that is none, or a pin and a CA together
 */
export function trustingConnector(trust: Trust): buildConnector.connector {
  const pin = pinOf(trust)
  const connect = buildConnector({
    timeout: CONNECT_MS,
    // A resumed session shows no certificate of its own to look at.
    maxCachedSessions: 0,
    ...(trust.ca !== undefined && { ca: trust.ca }),
    // The pin replaces the check by authorities; it is compared below, before the socket is used.
    ...(pin !== null && { rejectUnauthorized: false }),
  })
  return (options, callback) =>
    connect(options, (...[error, socket]) => {
      if (error !== null)
        return callback(connectError(error, options.host ?? options.hostname), null)
      const seen = pin === null ? null : fingerprintOf(socket as TLSSocket)
      if (seen === pin) return callback(null, socket)
      socket.destroy()
      callback(pinError(options.hostname, `sha256:${pin}`, `sha256:${seen}`), null)
    })
}

function pinOf({ ca, pin }: Trust): string | null {
  if (pin === undefined) return null
  const digits = PIN.exec(pin)?.[1]
  if (digits !== undefined && ca === undefined) return digits.replaceAll(':', '').toLowerCase()
  throw new FsError('EINVAL', 'oneview.connect', {
    message:
      ca === undefined
        ? `oneview: a pin is sha256: and 64 hex digits, not '${pin}'`
        : 'oneview: the appliance is known by a CA or by a pin, not by both',
    next: `leave one away; ${HOW_TO_SEE}`,
  })
}

const HOW_TO_SEE =
  'openssl s_client -connect HOST:443 </dev/null | openssl x509 -noout -fingerprint -sha256 shows what the appliance has; compare it at its console'

/** SHA-256 over the certificate's DER bytes, as `openssl x509 -fingerprint -sha256`; hex, lower case. */
function fingerprintOf(socket: TLSSocket): string {
  const { raw } = socket.getPeerCertificate()
  return createHash('sha256')
    .update(raw ?? Buffer.alloc(0))
    .digest('hex')
}

function pinError(host: string, pin: string, seen: string): FsError {
  return new FsError('EACCES', 'oneview.connect', {
    done: 'no' satisfies Done,
    pin,
    seen,
    message: `oneview: ${host} shows another certificate (${seen}) than the one pinned (${pin}); nothing was sent, neither user nor password`,
    next: `if the appliance got a new certificate, pin that; if nobody knows of one, somebody stands in between. ${HOW_TO_SEE}`,
  })
}

/** Codes of a machine that is not there now and may come back; every other failure to connect stays. */
const AWAY = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'EPIPE',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
])

function connectError(cause: Error, host: string): FsError {
  const code = codeOf(cause)
  const done: Done = 'no'
  if (AWAY.has(code)) {
    return new FsError('EHOSTUNREACH', 'oneview.connect', {
      done,
      cause,
      retry: 'later',
      message: `oneview: no connection to ${host}: ${messageOf(cause)}`,
      next: 'check that the appliance is up and that this node reaches its address and port',
    })
  }
  if (code === 'ENOTFOUND') {
    return new FsError('EHOSTUNREACH', 'oneview.connect', {
      done,
      cause,
      message: `oneview: nobody knows the name ${host}`,
      next: 'check the name in the url and the DNS of this node',
    })
  }
  if (code.startsWith('ERR_SSL') || code === 'EPROTO') {
    return new FsError('EPROTO', 'oneview.connect', {
      done,
      cause,
      message: `oneview: ${host} does not speak TLS as we do: ${messageOf(cause)}`,
      next: 'check host and port in the url',
    })
  }
  return new FsError('EACCES', 'oneview.connect', {
    done,
    cause,
    message: `oneview: the certificate of ${host} is not trusted: ${messageOf(cause)}; nothing was sent, neither user nor password`,
    next: `name the authority that signed it (ca), or the certificate itself (pin). ${HOW_TO_SEE}`,
  })
}
