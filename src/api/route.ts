import { z } from 'zod'
import type { NodeControl } from './control.ts'

/** One verb of the control API. Requests are checked against the schemas before `run`; answers are documented by `answer`. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly url: string
  /** Name of the operation, in errors and in the OpenAPI document. */
  readonly op: string
  readonly summary: string
  readonly params: z.ZodType
  readonly query: z.ZodType
  readonly body: z.ZodType | null
  readonly answer: z.ZodType
  /** @param secrets what is pushed here is zeroed when the answer is made, or has failed */
  run(control: NodeControl, input: RouteInput, secrets: Buffer[]): Promise<unknown>
}

export interface RouteInput {
  readonly params: unknown
  readonly query: unknown
  readonly body: unknown
}

interface RouteSpec<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> {
  readonly summary: string
  readonly params?: P
  readonly query?: Q
  readonly body?: B
  readonly answer: z.ZodType
  run(
    control: NodeControl,
    input: { params: z.infer<P>; query: z.infer<Q>; body: z.infer<B> },
    secrets: Buffer[],
  ): Promise<unknown>
}

const none = z.strictObject({})
type None = typeof none

/** The casts are right because server.ts parses each part with the very schema before it calls. */
export function route<
  P extends z.ZodType = None,
  Q extends z.ZodType = None,
  B extends z.ZodType = None,
>(method: Route['method'], url: string, op: string, spec: RouteSpec<P, Q, B>): Route {
  return {
    method,
    url,
    op,
    summary: spec.summary,
    params: spec.params ?? none,
    query: spec.query ?? none,
    body: method === 'POST' ? (spec.body ?? none) : null,
    answer: spec.answer,
    run: (control, input, secrets) =>
      spec.run(
        control,
        input as { params: z.infer<P>; query: z.infer<Q>; body: z.infer<B> },
        secrets,
      ),
  }
}

export function done(): Record<string, never> {
  return {}
}

/** @param secrets where it is put to be zeroed later */
export function secretBytes(base64: string, secrets: Buffer[]): Buffer {
  const bytes = Buffer.from(base64, 'base64')
  secrets.push(bytes)
  return bytes
}
