import type { VolumeDetail } from '../../api/index.ts'
import { followChange } from '../change-words.ts'
import { type Command, volumePath } from '../command.ts'
import { withGrowth } from '../growing.ts'
import { count, printable, size } from '../render.ts'

const CLASSES: Readonly<Record<string, 1 | 2 | 3 | null>> = { 1: 1, 2: 2, 3: 3, any: null }

export const command: Command = {
  positionals: {
    volume: { type: 'string', describe: 'Name or id' },
    class: {
      type: 'string',
      choices: Object.keys(CLASSES),
      describe: '1 low (HDD), 2 medium (SATA SSD), 3 high (SAS SSD, NVMe), any',
    },
  },
  options: {
    'cos-fallback': {
      type: 'boolean',
      describe: 'Move what has room, and the rest when there is more',
    },
    wait: {
      type: 'boolean',
      default: true,
      describe: 'Wait until the copy on this node has moved; --no-wait lets it go on by itself',
    },
  },
  examples: [
    ['weft volume cos mysql_vol 3', 'Move it to drives of class 3, while it is used'],
    ['weft volume cos archive 1 --no-wait', 'The same, in the background'],
  ],
  epilogue:
    'Each node with a copy moves it to its own drives of that class. The journal goes last: the daemon restarts once under its mounts.',
  async run(context, args) {
    const path = volumePath(args.needed('volume'))
    const cos = CLASSES[args.needed('class')] ?? null
    const request = { class: cos, ...(args.flag('cos-fallback') ? { orLower: true } : {}) }
    const set = await withGrowth(context, () =>
      context.node.post<VolumeDetail>(`${path}/class`, request),
    )
    if (args.flag('wait')) {
      await followChange(context, async () => line(await context.node.get<VolumeDetail>(path)))
    }
    const volume = await context.node.get<VolumeDetail>(path)
    context.print(volume, () => {
      const short = volume.classMove?.why ? `\n  note: ${printable(volume.classMove.why)}` : ''
      return `volume ${set.name} is of ${cos === null ? 'any class' : `class ${cos}`}${short}\n`
    })
    return undefined
  },
}

/** Null once it is where it shall be, or has no room to go on. */
function line({ name, classMove }: VolumeDetail): string | null {
  if (classMove === null || classMove.why !== '') return null
  const { chunksMoved, bytesMoved } = classMove
  return `volume ${name}: ${count(chunksMoved, 'chunk')} moved, ${size(bytesMoved)}`
}
