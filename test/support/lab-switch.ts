import { hold, holderOf, inNetworkOf, type Process } from './namespaces.ts'

/** The wire of a lab, in documentation and tests always the same: no route leads to it or out of it. */
const SUBNET = '10.87.0'
export const HOSTS_MAX = 250
/** Its place on the wire, behind the last host. */
export const APPLIANCE_NUMBER = 254

export function ipOf(host: number): string {
  return `${SUBNET}.${host}`
}

/**
 * The bridge between the hosts of a lab, in a network namespace of its own that none of them sees. A cut is made here and
 * not in the hosts: a frame between the two is dropped, of whatever protocol, and nobody is told.
 */
export class Switch {
  readonly #place: string

  /** @param place names its namespaces; nothing is made */
  constructor(place: string) {
    this.#place = place
  }

  get isUp(): boolean {
    return holderOf(this.#place) !== null
  }

  async make(): Promise<void> {
    await hold(this.#place, false)
    await this.#run('ip', 'link', 'add', 'lab', 'type', 'bridge', 'mcast_snooping', '0')
    await this.#run('ip', 'link', 'set', 'lab', 'up')
    await this.#nft(
      'add table bridge lab',
      'add set bridge lab cut { type ifname . ifname; }',
      'add chain bridge lab forward { type filter hook forward priority 0; }',
      'add rule bridge lab forward iifname . oifname @cut drop',
    )
  }

  /** A cable to a host whose namespaces are made anew: eth0 with its address. Cuts stay as they are. */
  async connect(host: number, holder: Process): Promise<void> {
    const port = portOf(host)
    const mac = `02:57:45:46:54:${host.toString(16).padStart(2, '0')}`
    // The end of a host takes its cable away, but later, in a kernel thread.
    await this.#run('sh', '-c', `! ip link show ${port} 2>/dev/null || ip link del ${port}`)
    const peer = ['peer', 'name', 'eth0', 'address', mac, 'netns', `${holder.pid}`]
    await this.#run('ip', 'link', 'add', port, 'type', 'veth', ...peer)
    await this.#run('ip', 'link', 'set', port, 'master', 'lab', 'up')
    await inNetworkOf(holder, ['ip', 'link', 'set', 'lo', 'up'])
    await inNetworkOf(holder, ['ip', 'address', 'add', `${ipOf(host)}/24`, 'dev', 'eth0'])
    await inNetworkOf(holder, ['ip', 'link', 'set', 'eth0', 'up'])
  }

  /** Nothing leaves or reaches the host from now on, until it is connected again. */
  async unplug(host: number): Promise<void> {
    await this.#run('ip', 'link', 'set', portOf(host), 'down')
  }

  /** No packet between the two of each pair, in both directions. */
  async cut(pairs: readonly (readonly [number, number])[]): Promise<void> {
    if (pairs.length > 0) await this.#nft(`add element bridge lab cut { ${elements(pairs)} }`)
  }

  /** Undo the cuts that `isMeant` says. */
  async heal(isMeant: (a: number, b: number) => boolean): Promise<void> {
    const pairs = (await this.cuts()).filter(([a, b]) => isMeant(a, b))
    if (pairs.length > 0) await this.#nft(`delete element bridge lab cut { ${elements(pairs)} }`)
  }

  /** Each pair once, the smaller number first. */
  async cuts(): Promise<[number, number][]> {
    const listing = await this.#run('nft', '--json', 'list', 'set', 'bridge', 'lab', 'cut')
    const { nftables } = JSON.parse(listing) as {
      nftables: { set?: { elem?: { concat: [string, string] }[] } }[]
    }
    return nftables
      .flatMap(({ set }) => set?.elem ?? [])
      .map(({ concat }): [number, number] => [hostOf(concat[0]), hostOf(concat[1])])
      .filter(([a, b]) => a < b)
      .sort(([a, b], [c, d]) => a - c || b - d)
  }

  #nft(...commands: string[]): Promise<string> {
    return this.#run('nft', commands.join('; '))
  }

  #run(...words: string[]): Promise<string> {
    const holder = holderOf(this.#place)
    if (holder === null)
      throw new Error(`the switch ${this.#place} is gone: scripts/lab down, then up`)
    return inNetworkOf(holder, words)
  }
}

function portOf(host: number): string {
  return `port${host}`
}

function hostOf(port: string): number {
  return Number(port.slice('port'.length))
}

function elements(pairs: readonly (readonly [number, number])[]): string {
  return pairs
    .flatMap(([a, b]) => [`${portOf(a)} . ${portOf(b)}`, `${portOf(b)} . ${portOf(a)}`])
    .join(', ')
}
