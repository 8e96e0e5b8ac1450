import { absolute, type Command } from '../command.ts'
import { examine, systemMachine } from '../doctor-checks.ts'
import { EXIT } from '../exit-codes.ts'
import { printable, table } from '../render.ts'

export const command: Command = {
  options: {
    target: {
      type: 'string',
      requiresArg: true,
      describe: 'Where weft shall be mounted; checked as seen from containers',
    },
  },
  examples: [
    ['weft doctor', 'Needs no running node'],
    ['weft doctor --target /mnt/weft --json', 'For scripts: findings with level ok, warn or fail'],
  ],
  epilogue: 'Exit code 1 when a finding is "fail".',
  async run(context, args) {
    const given = args.text('target')
    const target = given === undefined ? null : absolute(context, given)
    const findings = await examine(systemMachine(context.terminal.clock), {
      home: context.home,
      target,
    })
    const failed = findings.filter((finding) => finding.level === 'fail')
    context.print({ ok: failed.length === 0, findings }, () => {
      const list = table(
        [{ title: 'CHECK' }, { title: 'RESULT' }, { title: 'FOUND' }],
        findings.map((finding) => [finding.name, finding.level, finding.what]),
      )
      const mends = findings
        .filter((finding) => finding.level !== 'ok')
        .map(
          (finding) =>
            `${finding.level}: ${finding.name}: ${printable(finding.why)}\n  next: ${printable(finding.next)}\n`,
        )
      return [list, ...mends].join('\n')
    })
    return failed.length === 0 ? EXIT.ok : EXIT.failed
  },
}
