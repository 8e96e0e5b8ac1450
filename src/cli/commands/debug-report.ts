import { arch, cpus, release, totalmem } from 'node:os'
import type { NodeStatus } from '../../api/index.ts'
import { asCliError } from '../cli-error.ts'
import type { Command } from '../command.ts'
import { examine, systemMachine } from '../doctor-checks.ts'

export const command: Command = {
  examples: [['weft debug report > report.json', 'Machine, state of the node, findings of doctor']],
  epilogue:
    'Volume names and mount points are in it; names of files, their content, and keys are not.',
  async run(context) {
    const machine = {
      kernel: release(),
      arch: arch(),
      cpus: cpus().length,
      memoryBytes: totalmem(),
      node: process.version,
    }
    const findings = await examine(systemMachine(context.terminal.clock), {
      home: context.home,
      target: null,
    })
    let status: unknown
    try {
      status = await context.node.get<NodeStatus>('/v1/status')
    } catch (error) {
      status = { error: asCliError(error).message }
    }
    const report = { machine, findings, status }
    context.print(report, () => `${JSON.stringify(report, null, 2)}\n`)
    return undefined
  },
}
