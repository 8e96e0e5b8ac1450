import type { JobInfo, VolumeDetail } from '../api/index.ts'
import { CliError } from './cli-error.ts'
import type { Context } from './command.ts'
import { followFrameJob } from './frame-jobs.ts'

/**
 * Create a volume. Where the policy first takes drives of a frame for it, that is shown and waited for; a daemon that
 * restarted meanwhile is asked again, and goes on with what it had begun.
 */
export async function createVolume(
  context: Context,
  request: Readonly<Record<string, unknown>>,
): Promise<VolumeDetail> {
  for (;;) {
    try {
      return await context.node.post<VolumeDetail>('/v1/volumes', request)
    } catch (error) {
      const growing = growingOf(error)
      if (growing === null) throw error
      await followFrameJob(context, growing)
    }
  }
}

/** The job that makes room for it; null for any other failure. */
function growingOf(error: unknown): JobInfo | null {
  if (!(error instanceof CliError) || error.code !== 'EAGAIN') return null
  const { growing } = error.subject
  return typeof growing === 'object' && growing !== null ? (growing as JobInfo) : null
}
