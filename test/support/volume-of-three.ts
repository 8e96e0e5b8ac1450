import { hosts, type Lab } from './hosts.ts'

/** Three hosts, and a volume with a copy on each, owned by the second, seen by all. */
export async function withVolumeOfThree(
  volume: string,
  work: (lab: Lab) => Promise<void>,
): Promise<void> {
  const lab = await hosts(3)
  try {
    await lab.host(2).weft('volume', 'create', volume, '--size', '1G', '--repl', '3')
    for (const host of [lab.host(1), lab.host(3)]) await host.weft('volume', 'list')
    await work(lab)
  } finally {
    await lab.close()
  }
}
