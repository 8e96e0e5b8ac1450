import type { FsckFinding, FsckReport, JobInfo } from '../../api/index.ts'
import { usageError } from '../cli-error.ts'
import type { Command } from '../command.ts'
import { EXIT } from '../exit-codes.ts'
import { followJob } from '../jobs.ts'
import { count, printable, size } from '../render.ts'

export const command: Command = {
  positionals: { volume: { type: 'string', describe: 'Name or id; all volumes when left out' } },
  options: {
    repair: {
      type: 'boolean',
      describe: 'Mend what can be mended, put the rest into quarantine; nothing is thrown away',
    },
    'accept-loss': {
      type: 'boolean',
      describe:
        'With a volume and --repair: cut a journal that is needed and damaged, and go on without what it held',
    },
  },
  examples: [
    ['weft fsck', 'Verify every seal of every volume, changing nothing'],
    ['weft fsck mysql_vol --repair', 'Mend one volume'],
    [
      'weft fsck mysql_vol --repair --accept-loss',
      'Open one whose journal is damaged, without the records that were named before',
    ],
  ],
  epilogue: 'Exit code 0 when everything is whole or was mended, 7 when damage is left.',
  async run(context, args) {
    const volume = args.text('volume')
    const acceptLoss = args.flag('accept-loss')
    if (acceptLoss && (volume === undefined || !args.flag('repair'))) {
      throw usageError(
        '--accept-loss wants one volume and --repair: what is lost is lost for good',
        `see first what it would be: weft fsck ${volume ?? 'VOLUME'} --repair`,
      )
    }
    const started = await context.node.post<JobInfo>('/v1/fsck', {
      repair: args.flag('repair'),
      ...(acceptLoss ? { acceptLoss } : {}),
      ...(volume === undefined ? {} : { volume }),
    })
    const job = await followJob(context, started)
    const report = job.result as FsckReport
    context.print(report, () => reportText(report))
    const left = report.findings.some(
      (finding) => finding.severity === 'damage' && finding.outcome !== 'repaired',
    )
    return left ? EXIT.damage : EXIT.ok
  },
}

function reportText(report: FsckReport): string {
  const { inodes, records, chunks, bytes } = report.checked
  const head = `checked ${count(report.volumes.length, 'volume')}: ${count(inodes, 'inode')}, ${count(records, 'record')}, ${count(chunks, 'chunk')}, ${size(bytes)}\n`
  const damage = report.findings.filter((finding) => finding.severity === 'damage')
  const verdict =
    damage.length === 0
      ? 'everything is whole\n'
      : `${damage.length} damaged, ${damage.filter((one) => one.outcome === 'repaired').length} of them repaired\n`
  return report.findings.map(findingText).join('') + head + verdict
}

function findingText(finding: FsckFinding): string {
  const place =
    finding.path === null ? finding.volume : `${finding.volume}/${finding.path.replace(/^\//, '')}`
  const next = finding.next === '' ? '' : `  next: ${printable(finding.next)}\n`
  return `${finding.severity}: ${printable(place)}: ${printable(finding.what)} (${finding.outcome})\n${next}`
}
