import type { VolumeInfo } from '../../api/index.ts'
import type { Command } from '../command.ts'
import { volumeTable } from '../listings.ts'

export const command: Command = {
  examples: [
    ['weft volume list', 'Name, size, use and state of each'],
    ['weft volume list --json', '{"volumes": […]}'],
  ],
  async run(context) {
    const { volumes } = await context.node.get<{ volumes: VolumeInfo[] }>('/v1/volumes')
    context.print({ volumes }, () =>
      volumes.length === 0
        ? 'no volume yet: weft volume create NAME --size 100G\n'
        : volumeTable(volumes),
    )
    return undefined
  },
}
