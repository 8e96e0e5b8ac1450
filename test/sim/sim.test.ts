import { test } from 'uvu'
import { SimCluster } from './cluster.ts'

const usual = { nodes: 3, repl: 3, minimum: 2, seconds: 6, leases: true, plants: {} }

test('no schedule breaks a promise: three copies', async () => {
  for (let seed = 1; seed <= 20; seed++) await new SimCluster(seed, usual).run()
})

test.run()
