import { z } from 'zod'
import type { JobInfo } from './control.ts'

export const jobInfo = z.object({
  id: z.string(),
  name: z.string(),
  kind: z.string(),
  state: z.enum(['running', 'done', 'failed', 'cancelled']),
  done: z.number(),
  total: z.number().nullable(),
  unit: z.string(),
  message: z.string(),
  result: z.unknown().describe('by kind; of fsck a FsckReport'),
  error: z.object({ code: z.string(), message: z.string(), next: z.string() }).nullable(),
  startedAt: z.string(),
}) satisfies z.ZodType<JobInfo>
