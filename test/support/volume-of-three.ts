import type { Lab } from './hosts.ts'
import type { SharedLab } from './shared-lab.ts'

/** A new volume in a lab of three hosts, with a copy on each, owned by the second as long as that lives, seen by all. */
export function withVolumeOfThree(
  shared: SharedLab,
  volume: string,
  work: (lab: Lab) => Promise<void>,
): Promise<void> {
  return shared.with(async (lab) => {
    const spec = `owner=stays,name=${volume},size=1G,repl=3`
    await lab.host(2).weft('volume', 'create', spec)
    for (const host of [lab.host(1), lab.host(3)]) await host.weft('volume', 'list')
    await work(lab)
  })
}
