import type { ClusterInfo } from '../../src/api/index.ts'
import { hosts, type Lab, type LabOptions } from './hosts.ts'
import type { Host } from './lab-host.ts'
import { until } from './node-world.ts'

/** A node that was off finds the others, and they it, within seconds. */
const WHOLE_MS_MAX = 60_000

/**
 * One lab for the tests of a file: three hosts cost some fifteen seconds of a processor to make, which is most of what a short test costs. Each
 * test makes a volume of its own name (`name`) and may cut, kill and power off as it likes: behind it the lab is made whole again. A test that
 * fails takes the lab with it, and the next one gets another. The last test of the file is `end`; without it the lab is left behind, which the runner finds.
 */
export class SharedLab {
  readonly #count: number
  readonly #options: Omit<LabOptions, 'name'>
  #lab: Lab | null = null
  #names = 0

  constructor(count: number, options: Omit<LabOptions, 'name'> = {}) {
    this.#count = count
    this.#options = options
  }

  /** A name that no volume of this lab has had. */
  name(beginning: string): string {
    this.#names += 1
    return `${beginning}${this.#names}`
  }

  async with(work: (lab: Lab) => Promise<void>): Promise<void> {
    const lab = this.#lab ?? (await hosts(this.#count, this.#options))
    this.#lab = lab
    try {
      await work(lab)
      await makeWhole(lab)
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** What the tests have left is sound on every host, and ends. Behind a test that failed there is none. */
  async end(): Promise<void> {
    try {
      if (this.#lab) for (const host of await members(this.#lab)) await host.weft('fsck')
    } finally {
      await this.close()
    }
  }

  /** As `end`, of a lab in which not everything is sound. The next test gets another. */
  async close(): Promise<void> {
    const lab = this.#lab
    this.#lab = null
    await lab?.close()
  }
}

/** No cuts and no delays, every host up, and each that was not removed from the cluster sees the others and the coordinator. */
async function makeWhole(lab: Lab): Promise<void> {
  await lab.heal()
  for (const host of lab.hosts) if (host.state !== 'up') await host.start()
  for (const host of await members(lab)) {
    await until(`${host.name} sees all others`, () => seesAll(host), WHOLE_MS_MAX)
  }
}

/** As the first says, which no test removes. */
async function members(lab: Lab): Promise<Host[]> {
  const { nodes } = await lab.host(1).ask<ClusterInfo>('/v1/cluster')
  const isMember = ({ name }: Host) =>
    nodes.some((node) => node.name === name && node.connection !== 'removed')
  return lab.hosts.filter(isMember)
}

async function seesAll(host: Host): Promise<boolean> {
  const { nodes, coordinatorState } = await host.ask<ClusterInfo>('/v1/cluster')
  return coordinatorState.why === '' && nodes.every(({ connection }) => connection !== 'down')
}
