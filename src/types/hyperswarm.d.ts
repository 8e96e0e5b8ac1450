/** hyperswarm 4.17.2, only the calls weft makes. Read from its index.js and lib/peer-discovery.js, which ship no types. */
declare module 'hyperswarm' {
  import type HyperDHT from 'hyperdht'
  import type { DhtServer } from 'hyperdht'

  export interface TopicSession {
    /** Announce anew. False when nobody answered. */
    refresh(options: { server: boolean; client: boolean }): Promise<boolean>
  }
  export default class Hyperswarm {
    constructor(options: { dht: HyperDHT; keyPair: { publicKey: Buffer; secretKey: Buffer } })
    readonly server: DhtServer
    join(topic: Buffer, options: { server: boolean; client: boolean }): TopicSession
    /** Takes the announcement back, then ends the DHT node. Takes seconds when the others do not answer. */
    destroy(): Promise<void>
  }
}
