import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import type { Script } from './script.ts'

export interface Identity {
  readonly key: string
  /** The certificate, then what signed it. */
  readonly cert: string
  /** As the client is given it. */
  readonly pin: string
}

/** Certificates by openssl, in a directory that is gone when `close` returns. */
export class Certificates {
  readonly #dir = mkdtempSync(join(tmpdir(), 'weft-oneview-'))
  readonly authority = this.#make('authority', '/CN=authority', ['-x509', '-days', '2'])

  /** Signed by itself, as an appliance has it out of its box. @param san 'IP:127.0.0.1' */
  selfSigned(name: string, san = 'IP:127.0.0.1'): Identity {
    return this.#make(name, `/CN=${name}`, [
      '-x509',
      '-days',
      '2',
      '-addext',
      `subjectAltName=${san}`,
    ])
  }

  /** Signed by `authority`, whose certificate it shows behind its own. */
  signed(name: string): Identity {
    const { key } = this.#make(name, `/CN=${name}`, ['-new'])
    const out = this.#path(name, 'signed')
    const extensions = this.#path(name, 'extensions')
    writeFileSync(extensions, 'subjectAltName=IP:127.0.0.1')
    const ca = ['-CA', this.#path('authority', 'pem'), '-CAkey', this.#path('authority', 'key')]
    const request = ['-req', '-in', this.#path(name, 'pem'), '-extfile', extensions]
    this.#openssl('x509', ...request, ...ca, '-set_serial', '1', '-days', '2', '-out', out)
    const cert = readFileSync(out, 'utf8') + this.authority.cert
    return { key, cert, pin: this.#pinOf(out) }
  }

  close(): void {
    rmSync(this.#dir, { recursive: true })
  }

  #make(name: string, subject: string, flags: readonly string[]): Identity {
    const [key, out] = [this.#path(name, 'key'), this.#path(name, 'pem')]
    const algorithm = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    this.#openssl('req', ...algorithm, '-subj', subject, '-keyout', key, '-out', out, ...flags)
    const pin = flags.includes('-x509') ? this.#pinOf(out) : ''
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(out, 'utf8'), pin }
  }

  /** openssl's own word for it: that is what an owner copies. */
  #pinOf(path: string): string {
    const line = this.#openssl('x509', '-in', path, '-noout', '-fingerprint', '-sha256')
    return `sha256:${line.trim().split('=')[1]}`
  }

  #path(name: string, end: string): string {
    return join(this.#dir, `${name}.${end}`)
  }

  #openssl(...words: string[]): string {
    return execFileSync('openssl', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  }
}

/** A TLS server on loopback. What it does with a connection is told it, and may be told anew. */
export class Served {
  /** Bytes that clients have sent inside TLS; told while `raw`. */
  receivedBytes = 0
  /** Of TCP, whatever comes of them. */
  connections = 0
  readonly #sockets = new Set<TLSSocket>()
  readonly #server
  #behaviour: (socket: TLSSocket) => void = (socket) => socket.destroy()

  private constructor({ key, cert }: Identity) {
    this.#server = createTlsServer({ key, cert }, (socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      socket.on('error', () => {})
      socket.on('data', (data) => {
        this.receivedBytes += data.length
      })
      this.#behaviour(socket)
    })
    this.#server.on('connection', () => this.connections++)
    // A client that does not like the certificate breaks the handshake off.
    this.#server.on('tlsClientError', () => {})
  }

  static async start(identity: Identity): Promise<Served> {
    const served = new Served(identity)
    await new Promise<void>((resolve) => served.#server.listen(0, '127.0.0.1', resolve))
    return served
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** From the next connection on. */
  show({ key, cert }: Identity): void {
    this.#server.setSecureContext({ key, cert })
    this.cut()
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Bytes as they stand, at the first bytes of each request. */
  raw(behaviour: (socket: TLSSocket) => void): this {
    this.#behaviour = (socket) => socket.on('data', () => behaviour(socket))
    return this
  }

  answering(script: Script): this {
    const http = createServer((request, response) => void answer(script, request, response))
    this.#behaviour = (socket) => http.emit('connection', socket)
    return this
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

async function answer(
  script: Script,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  const { pathname, searchParams } = new URL(request.url ?? '', 'https://appliance')
  const text = Buffer.concat(parts).toString()
  const reply = script.answer({
    method: request.method ?? '',
    path: pathname,
    query: searchParams,
    headers: request.headers as Record<string, string>,
    body: text === '' ? null : JSON.parse(text),
  })
  response.writeHead(reply.status ?? 200, {
    'content-type': 'application/json;charset=utf-8',
    ...reply.headers,
  })
  response.end(reply.body === undefined ? undefined : JSON.stringify(reply.body))
}
