// deadline: 900 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { hosts } from '../support/hosts.ts'
import { posixOn } from '../support/posix-on.ts'

test('every case of the posix suite holds where a volume is used through its owner, and on the owner meanwhile', async () => {
  const lab = await hosts(3)
  try {
    const [owner, other] = [lab.host(2), lab.host(3)]
    await owner.weft('volume', 'create', 'owner=stays,name=db,size=2G,repl=3')
    for (const host of [other, owner]) {
      assert.match(await posixOn(host, '/mnt/weft/db'), /^1\d\d passed, 0 failed$/m)
    }
  } finally {
    await lab.close()
  }
})

test.run()
