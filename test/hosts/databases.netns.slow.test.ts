// deadline: 7200 s
import { test } from 'uvu'
import { Databases } from '../support/dying-nodes.ts'

test('databases on a volume of three copies lose no commit in fifty deaths of the node under them', () =>
  Databases.with(async (databases) => {
    for (let death = 0; death < 50; death++) {
      await databases.work()
      await databases.die()
    }
    await databases.work()
    await databases.stop()
    await databases.check()
  }))

test.run()
