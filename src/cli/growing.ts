import type { JobInfo, VolumeDetail } from '../api/index.ts'
import { CliError } from './cli-error.ts'
import type { Context } from './command.ts'
import { followFrameJob } from './frame-jobs.ts'

/**
 * Ask for what a volume needs room for. Where the policy first takes drives of a frame for it, that is shown and waited for; a
 * daemon that restarted meanwhile is asked again, and goes on with what it had begun.
 */
export async function withGrowth(
  context: Context,
  ask: () => Promise<VolumeDetail>,
): Promise<VolumeDetail> {
  for (;;) {
    try {
      return await ask()
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
