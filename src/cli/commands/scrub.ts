import type { JobInfo, ScrubReport } from '../../api/index.ts'
import type { Command } from '../command.ts'
import { EXIT } from '../exit-codes.ts'
import { followJob } from '../jobs.ts'
import { count, printable, size } from '../render.ts'

export const command: Command = {
  positionals: {
    volume: { type: 'string', describe: 'Name or id; all volumes of several copies when left out' },
  },
  examples: [
    ['weft scrub', 'Read every copy of every volume through now, and mend what is damaged'],
    ['weft scrub db', 'Of one volume'],
  ],
  epilogue:
    'Each copy is read through by itself every 25 to 35 days. Exit code 0 when everything was whole or is mended, 7 when damage is left.',
  async run(context, args) {
    const volume = args.text('volume')
    const body = volume === undefined ? {} : { volume }
    const job = await followJob(context, await context.node.post<JobInfo>('/v1/scrub', body))
    const report = job.result as ScrubReport
    context.print(report, () => reportText(report))
    const isLeft = report.unfinished.length > 0 || report.findings.some(({ mended }) => !mended)
    return isLeft ? EXIT.damage : EXIT.ok
  },
}

function reportText({ volumes, chunks, bytes, findings, unfinished }: ScrubReport): string {
  const lines = findings.map(({ volume, node, chunk, what, mended }) => {
    const where = chunk === null ? '' : `chunk ${chunk}: `
    const outcome = mended ? 'mended from another copy' : 'not mended'
    return `${volume} on node ${node}: ${where}${what} (${outcome})`
  })
  const silent = unfinished.map((where) => `${where}: did not answer to the end`)
  const head = `read ${count(volumes.length, 'volume')}: ${count(chunks, 'chunk')} of all copies, ${size(bytes)}`
  const verdict = lines.length + silent.length === 0 ? ['everything is whole'] : []
  return `${[...lines, ...silent, head, ...verdict].map(printable).join('\n')}\n`
}
