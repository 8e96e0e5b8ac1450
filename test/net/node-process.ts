/** A node in a process of its own: seed in hex, the member it lets in, port. Prints the port it listens on. */
import { silentLog, systemClock, systemRandom } from '../../src/base/index.ts'
import { identityFromSeed, secretFrom } from '../../src/crypto/index.ts'
import { Net } from '../../src/net/index.ts'

const [seed = '', member = '', port = '0'] = process.argv.slice(2)
const net = new Net({
  keyPair: identityFromSeed(secretFrom(Buffer.from(seed, 'hex'))).sign,
  listen: { host: '127.0.0.1', port: Number(port) },
  advertise: [],
  topic: null,
  bootstrap: [],
  admit: (key) => (key === member ? 'member' : null),
  clock: systemClock(),
  random: systemRandom,
  log: silentLog,
})
net.serve('echo', async ({ body }) => Buffer.from(body), { lane: 'control' })
net.serve('hang', () => new Promise(() => {}), { lane: 'control' })
await net.open()
console.log(net.port)
