/**
 * The replication of one volume under faults, simulated: `npm run sim -- --seed N` replays one schedule bit for bit,
 * without --seed as many as fit into --seconds are run, from a random one on. Ends with 1 at the first broken promise.
 */
import { parseArgs } from 'node:util'
import { SimCluster } from '../test/sim/cluster.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seconds: { type: 'string', default: '60' },
    'no-leases': { type: 'boolean', default: false },
    drives: { type: 'boolean', default: false },
    copies: { type: 'string', default: '3' },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) {
  console.log(`npm run sim -- [--seed N] [--seconds S] [--copies N] [--no-leases] [--drives]

  npm run sim -- --seconds 600              ten minutes of schedules
  npm run sim -- --seed 473                 the same schedule again
  npm run sim -- --seed 473 --no-leases     copies grant nothing: what is acknowledged must not rest on a clock
  npm run sim -- --seed 473 --drives        nodes lose drives that chunks are on, and keep those with journals`)
  process.exit(0)
}

const copies = Number(values.copies)
const options = {
  nodes: copies,
  repl: copies,
  minimum: Math.ceil(copies / 2),
  steps: 600,
  leases: !values['no-leases'],
  drives: values.drives,
  plants: {},
}
const untilMs = performance.now() + 1000 * Number(values.seconds)
const first = values.seed === undefined ? Math.floor(Math.random() * 1e9) : Number(values.seed)
let [runs, acknowledgements, cuts, begun, swept, lost] = [0, 0, 0, 0, 0, 0]
for (let seed = first; ; seed++) {
  const cluster = new SimCluster(seed, options)
  try {
    await cluster.run()
  } catch (error) {
    console.error(`seed ${seed}: ${error instanceof Error ? error.message : error}`)
    process.exit(1)
  }
  runs++
  acknowledgements += cluster.checks.acknowledgements
  cuts += cluster.cuts
  begun += cluster.begun
  swept += cluster.swept
  lost += cluster.lostDrives
  if (values.seed !== undefined || performance.now() > untilMs) break
}
console.log(
  `seeds ${first} to ${first + runs - 1}: ${acknowledgements} acknowledgements, ${cuts} checkpoints on every member, ${begun} copies begun at one, ${swept} chunks swept, ${lost} drives lost; no promise broken`,
)
