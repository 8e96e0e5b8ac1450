/**
 * api: the local control API, the only door into a running node from outside its process.
 *
 * It promises: an HTTP server on <home>/control.sock (0600, so that rights on the file are the rights on the node),
 * described by its own OpenAPI document at /openapi.json, with Prometheus figures at /metrics. Requests are checked
 * before anything is called; every failure is {error: {code, message, next, op, subject}} with the status that
 * errors.ts gives the code. The daemon calls startApi with a NodeControl; the CLI is the client and imports types only.
 *
 * Invariants: a secret in a request is zeroed when its answer is made, and never quoted in an error or the log; no
 * request changes anything unless its whole input was accepted; fastify and zod load only in startApi, so that
 * importing this door costs nothing.
 */
import type { ApiOptions, ApiServer } from './server.ts'

export type * from './control.ts'
export type { ApiError } from './errors.ts'
export type { ApiOptions, ApiServer } from './server.ts'
export type * from './synergy-control.ts'

/** Serve a node's control API; see startApi in server.ts for what it throws. */
export async function startApi(options: ApiOptions): Promise<ApiServer> {
  const server = await import('./server.ts')
  return server.startApi(options)
}
