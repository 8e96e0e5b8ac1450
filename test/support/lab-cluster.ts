import type { Host } from './lab-host.ts'

/**
 * One cluster of hosts whose nodes run and are in none: the first makes it and has its coordinator, the others join all at
 * once, each by an invite of its own; racks are those of the hosts.
 */
export async function joinCluster(
  hosts: readonly Host[],
  progress: (line: string) => void = () => {},
): Promise<void> {
  const [first, ...others] = hosts
  if (first === undefined) return
  await first.weft('cluster', 'create', 'lab', ...placeOf(first))
  progress(`${first.name} has made the cluster lab`)
  const done = await Promise.allSettled(
    others.map(async (host) => {
      const invite = await first.weft('cluster', 'invite')
      await host.weft('cluster', 'join', invite, ...placeOf(host))
      progress(`${host.name} has joined`)
    }),
  )
  for (const result of done) if (result.status === 'rejected') throw result.reason
}

function placeOf({ rack }: Host): string[] {
  return ['--domain', `region=lab,zone=1,rack=${rack}`]
}
