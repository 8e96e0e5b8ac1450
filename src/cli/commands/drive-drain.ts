import type { DriveDrainPlan, DriveInfo } from '../../api/index.ts'
import { followChange } from '../change-words.ts'
import type { Command } from '../command.ts'
import { driveDrainLine } from '../listings.ts'
import { count, printable, size } from '../render.ts'

export const command: Command = {
  positionals: { drive: { type: 'string', describe: 'Id, or directory' } },
  options: {
    plan: { type: 'boolean', describe: 'Show what would be moved; change nothing' },
    stop: {
      type: 'boolean',
      describe: 'Let it take data again; what has gone stays where it is',
    },
    wait: {
      type: 'boolean',
      default: true,
      describe: 'Wait until it is empty; --no-wait lets it go on by itself',
    },
  },
  examples: [
    ['weft drive drain das1 --plan', 'What would be moved, and whether there is room for it'],
    ['weft drive drain das1', 'Move everything to the other drives; then: weft drive remove das1'],
    ['weft drive drain das1 --stop', 'Not after all'],
  ],
  epilogue:
    'Files stay in use meanwhile. It goes on when this command is ended, and after restarts.',
  async run(context, args) {
    const path = `/v1/drives/${encodeURIComponent(args.needed('drive'))}`
    const stop = args.flag('stop')
    const body = { plan: args.flag('plan'), stop }
    const plan = await context.node.post<DriveDrainPlan>(`${path}/drain`, body)
    if (plan.accepted && !stop && args.flag('wait')) {
      let isBegun = false
      await followChange(context, async () => {
        const drive = await context.node.get<DriveInfo>(path)
        isBegun ||= drive.drain !== null
        return isBegun ? driveDrainLine(drive) : `drive ${drive.name}: the daemon restarts`
      })
    }
    context.print(plan, () => planText(plan, stop))
    return undefined
  },
}

function planText({ what, chunks, journals, bytes, freeBytes }: DriveDrainPlan, stop: boolean) {
  if (stop) return `${printable(what)}\n`
  const moved = `${count(chunks, 'chunk')} and ${count(journals, 'journal')}, ${size(bytes)}; the others have ${size(freeBytes)} free`
  return `${printable(what)}\n  ${moved}\n`
}
