import { z } from 'zod'
import { jobInfo } from './job-schema.ts'
import { type Route, route, secretBytes } from './route.ts'
import * as schema from './synergy-schemas.ts'

/** The verbs about a frame's drives, and about the policy. */
export const SYNERGY_ROUTES: readonly Route[] = [
  route('GET', '/v1/synergy', 'synergy status', {
    summary: 'The frame, and its drives that this node has, takes or gives back; nobody is asked',
    answer: schema.synergyStatus,
    run: (control) => control.synergy.status(),
  }),
  route('GET', '/v1/synergy/check', 'synergy check', {
    summary: 'What the appliance shows where public documents left something open; reads only',
    answer: z.object({ checks: z.array(schema.synergyCheck) }),
    run: async (control) => ({ checks: await control.synergy.check() }),
  }),
  route('POST', '/v1/synergy/connect', 'synergy connect', {
    summary: 'Log in at an appliance, find this server, and keep the connection if that works',
    body: schema.connectBody,
    answer: schema.connected,
    run: (control, { body }, secrets) =>
      control.synergy.connect({ ...body, password: secretBytes(body.password, secrets) }),
  }),
  route('POST', '/v1/synergy/logout', 'synergy logout', {
    summary: 'Forget the connection; refused while this node has drives of the frame',
    body: schema.logoutBody,
    answer: z.object({ left: z.array(z.string()) }),
    run: (control, { body: { force = false } }) => control.synergy.logout({ force }),
  }),
  route('GET', '/v1/synergy/free', 'synergy free', {
    summary: 'Drives that the frame could give this node now',
    query: schema.freeQuery,
    answer: z.object({ drives: z.array(schema.freeFrameDrive) }),
    run: async (control, { query }) => {
      const cos = query.class === undefined ? null : (Number(query.class) as 1 | 2 | 3)
      return { drives: await control.synergy.free(cos) }
    },
  }),
  route('POST', '/v1/synergy/allocate', 'synergy allocate', {
    summary: 'Take drives of the frame, as a job',
    body: schema.allocateBody,
    answer: schema.synergyChange,
    run: (control, { body: { plan = false, ...wanted } }) =>
      control.synergy.allocate({ ...wanted, plan }),
  }),
  route('POST', '/v1/synergy/release', 'synergy release', {
    summary: 'Empty a drive of the frame and give it back, as a job',
    body: schema.releaseBody,
    answer: schema.released,
    run: (control, { body: { drive, plan = false, lost = false } }) =>
      control.synergy.release(drive, { plan, lost }),
  }),
  route('POST', '/v1/synergy/reconcile', 'synergy reconcile', {
    summary: 'Compare what was meant, the appliance and this host, and finish or undo, as a job',
    body: schema.reconcileBody,
    answer: jobInfo,
    run: (control, { body: { releaseOrphans = false, retryPower = false } }) =>
      control.synergy.reconcile({ releaseOrphans, retryPower }),
  }),
  route('GET', '/v1/policy', 'policy show', {
    summary: 'When drives are taken and given back',
    answer: schema.policyInfo,
    run: (control) => control.policy.show(),
  }),
  route('POST', '/v1/policy', 'policy set', {
    summary: 'Change when drives are taken and given back; what is not said stays',
    body: schema.policyBody,
    answer: schema.policyInfo,
    run: (control, { body }) => control.policy.set(body),
  }),
  route('GET', '/v1/policy/plan', 'policy plan', {
    summary: 'What the policy would do now, and why; nothing is changed',
    answer: z.object({ decisions: z.array(schema.policyDecision) }),
    run: async (control) => ({ decisions: await control.policy.plan() }),
  }),
  route('GET', '/v1/policy/log', 'policy log', {
    summary: 'What the policy did and refused, and why; the oldest first',
    answer: z.object({ entries: z.array(schema.policyEntry) }),
    run: async (control) => ({ entries: await control.policy.log() }),
  }),
]
