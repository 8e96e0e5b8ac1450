import { chmod, lstat, mkdir, mkdtemp, rename, rm, stat, unlink } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import swagger from '@fastify/swagger'
import { type FastifyInstance, type FastifyReply, fastify } from 'fastify'
import type { Registry } from 'prom-client'
import { z } from 'zod'
import { codeOf, FsError, type Log } from '../base/index.ts'
import type { NodeControl } from './control.ts'
import { failureOf } from './errors.ts'
import type { Route, RouteInput } from './route.ts'
import { ROUTES } from './routes.ts'
import { errorAnswer } from './schemas.ts'

export interface ApiOptions {
  /** The socket is made at <home>/control.sock, 0600. */
  readonly home: string
  readonly control: NodeControl
  /** Served at /metrics. */
  readonly registry: Registry
  readonly log: Log
  readonly version: string
}

export interface ApiServer {
  readonly socketPath: string
  /**
   * Takes the socket away, so that the next client waits for the next daemon, and resolves when every request that
   * reached this one has its answer.
   */
  retire(): Promise<void>
  /** Ends open connections and takes the socket away; a socket that a later daemon put there stays. */
  close(): Promise<void>
}

/** A key backup with a hundred slots is about 60 KiB; nothing else comes near. */
const BODY_BYTES_MAX = 1024 * 1024
/** A client that stops in the middle of its request is let go. */
const REQUEST_MS_MAX = 30_000
/** sun_path of sockaddr_un holds 108 bytes with its NUL (man 7 unix). */
const SOCKET_PATH_BYTES_MAX = 107

/**
 * Serve a node's control API.
 * @throws FsError EBUSY when a daemon answers on this home, EPERM when others may write into it, ENAMETOOLONG
 */
export async function startApi(options: ApiOptions): Promise<ApiServer> {
  const { home, log } = options
  const socketPath = join(home, 'control.sock')
  if (Buffer.byteLength(socketPath) > SOCKET_PATH_BYTES_MAX) {
    const message = `cannot listen on ${socketPath}: a socket path holds ${SOCKET_PATH_BYTES_MAX} bytes`
    throw new FsError('ENAMETOOLONG', 'listen', { home, message, next: 'choose a shorter --home' })
  }
  await mkdir(home, { recursive: true, mode: 0o700 })
  const { mode } = await stat(home)
  if ((mode & 0o022) !== 0) {
    const message = `cannot listen in ${home}: other users may write there (mode ${(mode & 0o7777).toString(8)}) and could put their own socket in its place`
    throw new FsError('EPERM', 'listen', { home, message, next: `chmod 700 ${home}` })
  }
  if (await answers(socketPath)) {
    const message = `another daemon answers on ${socketPath}`
    throw new FsError('EBUSY', 'listen', { home, message, next: `weft --home ${home} down` })
  }

  const app = await buildApp(options)
  // Bound in a directory of its own, narrowed, and only then moved to its place: at no moment can another user connect.
  const cradle = await mkdtemp(join(home, '.s-'))
  try {
    const bound = join(cradle, 's')
    await app.listen({ path: bound })
    await chmod(bound, 0o600)
    await rename(bound, socketPath)
  } catch (error) {
    await app.close()
    throw error
  } finally {
    await rm(cradle, { recursive: true, force: true })
  }
  const { ino } = await lstat(socketPath)
  log.info({ room: 'api', socket: socketPath }, 'control API is up')

  const takeAway = async () => {
    const now = await lstat(socketPath).catch(() => null)
    if (now?.ino === ino) await unlink(socketPath)
  }
  return {
    socketPath,
    async retire() {
      await takeAway()
      // Who connected before has not been accepted yet, perhaps: one turn of the event loop accepts all of them.
      await new Promise((resolve) => setImmediate(resolve))
      await new Promise((resolve) => setImmediate(resolve))
      await new Promise<void>((resolve) => app.server.close(() => resolve()))
    },
    async close() {
      await takeAway()
      await app.close()
    },
  }
}

async function buildApp(options: ApiOptions): Promise<FastifyInstance> {
  const { control, registry, log, version } = options
  const app = fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_MS_MAX,
    forceCloseConnections: true,
    logger: false,
    clientErrorHandler: refuseConnection,
  })
  // The schemas in routes are for the document; each part is parsed with zod in serve(), which says what is wrong in words.
  app.setValidatorCompiler(() => () => true)
  app.setSerializerCompiler(() => (value) => JSON.stringify(value))
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    (_request, body: Buffer, parsed) => {
      try {
        parsed(null, body.length === 0 ? {} : JSON.parse(body.toString('utf8')))
      } catch {
        // The parser's own message quotes the body, which may hold a secret.
        parsed(Object.assign(new Error('the body is not JSON'), { statusCode: 400 }))
      } finally {
        body.fill(0)
      }
    },
  )
  app.setErrorHandler((error, request, reply) => sendFailure(reply, error, request.url, log))
  app.setNotFoundHandler((request, reply) => {
    const message = `no such request: ${request.method} ${request.url.slice(0, 200)}`
    const error = {
      code: 'ENOENT',
      message,
      next: 'see /openapi.json for what there is',
      op: 'request',
      subject: {},
    }
    return reply.code(404).send({ error })
  })

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'weft control API',
        version,
        description:
          'One node, over its unix socket. Errors: {error: {code, message, next, op, subject}}.',
      },
    },
  })
  await app.register(async (inner) => {
    for (const route of ROUTES) addRoute(inner, route, control, log)
    const text = (summary: string, operationId: string) => ({
      schema: { summary, operationId, response: { 200: { type: 'string' } } },
    })
    inner.get(
      '/metrics',
      text('Figures in Prometheus form', 'metrics'),
      async (_request, reply) => {
        const figures = await registry.metrics()
        return reply.type(registry.contentType).serializer(String).send(figures)
      },
    )
    inner.get('/openapi.json', text('This document', 'openapi'), async () => app.swagger())
  })
  await app.ready()
  return app
}

function addRoute(app: FastifyInstance, route: Route, control: NodeControl, log: Log): void {
  app.route({
    method: route.method,
    url: route.url,
    schema: documentation(route),
    handler: async (request, reply) => {
      const secrets: Buffer[] = []
      try {
        const input: RouteInput = {
          params: parsePart(route, 'path', route.params, request.params),
          query: parsePart(route, 'query', route.query, request.query),
          body: route.body === null ? {} : parsePart(route, 'body', route.body, request.body ?? {}),
        }
        return await reply.send(await route.run(control, input, secrets))
      } catch (error) {
        return await sendFailure(reply, error, route.op, log)
      } finally {
        for (const secret of secrets) secret.fill(0)
      }
    },
  })
}

/** @throws FsError EINVAL naming each field that is wrong, never its value: it may be a secret */
function parsePart(route: Route, part: string, schema: z.ZodType, given: unknown): unknown {
  const parsed = schema.safeParse(given)
  if (parsed.success) return parsed.data
  const faults = parsed.error.issues.slice(0, 5).map((issue) => {
    const field = issue.path.join('.')
    return field === '' ? issue.message : `${field}: ${issue.message}`
  })
  const message = `${route.op}: ${part} refused: ${faults.join('; ')}`
  throw new FsError('EINVAL', route.op, { part, message })
}

function sendFailure(reply: FastifyReply, thrown: unknown, op: string, log: Log): FastifyReply {
  const failure = failureOf(thrown, op)
  if (failure.unexpected) {
    const stack = thrown instanceof Error ? thrown.stack : String(thrown)
    log.error({ room: 'api', op, stack }, 'request failed unexpectedly')
  }
  return reply.code(failure.status).send({ error: failure.error })
}

function documentation(route: Route): Record<string, unknown> {
  const part = (schema: z.ZodType, io: 'input' | 'output') => {
    const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
    return rest
  }
  return {
    operationId: route.op.replaceAll(' ', '-'),
    summary: route.summary,
    ...(route.url.includes(':') ? { params: part(route.params, 'input') } : {}),
    ...(Object.keys(part(route.query, 'input').properties ?? {}).length > 0
      ? { querystring: part(route.query, 'input') }
      : {}),
    ...(route.body === null ? {} : { body: part(route.body, 'input') }),
    response: { 200: part(route.answer, 'output'), default: part(errorAnswer, 'output') },
  }
}

/** Bytes that are not HTTP: one answer, and the connection ends. */
function refuseConnection(_error: Error, socket: Socket): void {
  if (socket.destroyed || !socket.writable) return
  const error = {
    code: 'EINVAL',
    message: 'not an HTTP request',
    next: 'see /openapi.json',
    op: 'request',
    subject: {},
  }
  const body = JSON.stringify({ error })
  socket.end(
    `HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}

/** Whether somebody listens on a socket; a file left by a daemon that died does not answer. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error) => {
      const code = codeOf(error)
      if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTSOCK') resolve(false)
      else reject(new FsError('EIO', 'listen', { path, cause: error }))
    })
  })
}
