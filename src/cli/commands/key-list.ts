import type { KeyList, VolumeInfo } from '../../api/index.ts'
import { type Command, volumePath } from '../command.ts'
import { keyTable } from '../listings.ts'

export const command: Command = {
  positionals: { volume: { type: 'string', describe: 'Name or id; all volumes when left out' } },
  examples: [
    ['weft key list mysql_vol', 'Slots, epochs, and who can open it'],
    ['weft key list', 'The slots of every volume'],
  ],
  async run(context, args) {
    const volume = args.text('volume')
    if (volume !== undefined) {
      const list = await context.node.get<KeyList>(volumePath(volume, '/keys'))
      context.print(list, () => keyListText(list))
      return undefined
    }
    const { volumes } = await context.node.get<{ volumes: VolumeInfo[] }>('/v1/volumes')
    const lists: KeyList[] = []
    for (const { name } of volumes)
      lists.push(await context.node.get<KeyList>(volumePath(name, '/keys')))
    const keys = lists.flatMap((list) =>
      list.keys.map((key) => ({ ...key, volume: list.volume.name })),
    )
    context.print({ keys }, () =>
      keys.length === 0 ? 'no volume yet: weft volume create NAME --size 100G\n' : keyTable(keys),
    )
    return undefined
  },
}

export function keyListText(list: KeyList): string {
  const { name, locked, newestEpoch, oldestEpoch } = list.volume
  const reseal =
    oldestEpoch < newestEpoch
      ? `, data from epoch ${oldestEpoch} on (weft key rotate ${name} --reseal rewrites it)`
      : ''
  return `volume ${name} is ${locked ? 'locked' : 'open'}, key epoch ${newestEpoch}${reseal}\n${keyTable(list.keys)}`
}
