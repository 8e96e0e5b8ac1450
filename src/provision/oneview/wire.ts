/** One request to the appliance and its answer, whoever carries it: transport.ts over HTTPS, patient-wire.ts around that. */
export interface Wire {
  /** @throws FsError when there is no answer; an answer that says no is an answer */
  send(request: Request): Promise<Answer>
  close(): Promise<void>
}

export interface Request {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** With its query; or the whole address, when it is the appliance's own. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** Sent as JSON; absent: none is. */
  readonly body?: unknown
  readonly signal: AbortSignal
}

export interface Answer {
  readonly status: number
  /** '' when the answer has none of that name. */
  header(name: string): string
  /** What the JSON says; null when the answer has no body, or one for people that came with an error. */
  readonly body: unknown
}

/**
 * What is known of a request that got no answer, in the subject of its FsError as `done`: `no`, it never left, or `maybe`,
 * it may have been carried out. One that was answered with a refusal has `status` instead.
 */
export type Done = 'no' | 'maybe'
