/** hyperdht 6.34.0, only the calls weft makes. Read from its index.js, lib/server.js, lib/connect.js and dht-rpc's index.js. */
declare module 'hyperdht' {
  import type { EventEmitter } from 'node:events'
  import type NoiseSecretStream from '@hyperswarm/secret-stream'

  export interface DhtAddress {
    readonly host: string
    readonly port: number
  }
  export interface DhtServer extends EventEmitter {
    /** True refuses the key, before anything is answered. */
    firewall: (remotePublicKey: Buffer, payload: unknown, address: DhtAddress) => boolean
    /** Announce this node's own key anew within three seconds. */
    refresh(): void
  }
  interface DhtOptions {
    /** "host:port" each; [] = none. Without it the public ones are asked. */
    bootstrap: readonly string[]
    port: number
    /** Address of this machine the sockets are bound to. */
    host: string
    /** False: no other port when this one is taken. */
    anyPort: boolean
  }
  export default class HyperDHT extends EventEmitter {
    constructor(options: DhtOptions)
    /** Not firewalled, not ephemeral, and known to be reached at `host` and `port`: answers others from the start, alone too. */
    static bootstrapper(port: number, host: string, options: DhtOptions): HyperDHT
    /** Rejects when the port is taken. */
    bind(): Promise<void>
    connect(
      remotePublicKey: Buffer,
      options: {
        keyPair: { publicKey: Buffer; secretKey: Buffer }
        relayAddresses: readonly DhtAddress[]
      },
    ): NoiseSecretStream
    /** Those who announced the topic, one batch for each node that answers. `nodes` are asked beside those in the table. */
    lookup(
      topic: Buffer,
      options: { nodes: readonly DhtAddress[] },
    ): AsyncIterable<{
      readonly peers: readonly {
        readonly publicKey: Buffer
        readonly relayAddresses: readonly DhtAddress[]
      }[]
    }>
    destroy(options: { force: boolean }): Promise<void>
  }
}
