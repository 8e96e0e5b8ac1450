// deadline: 300 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { calling, enough, untilEnough } from '../support/calling.ts'
import { hosts } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { until } from '../support/node-world.ts'

/** Calls by name alone, one after the other, until it is told; says what fails, and at the end how often it was done. */
const CALLS = `n=0
${untilEnough}; do
  mkdir $1/d-$2 && stat $1/d-$2 >/dev/null && mv $1/d-$2 $1/e-$2 && sync $1 && rmdir $1/e-$2 && n=$((n + 1)) || echo after $n
done 2>&1
echo done $n`

/** A file that is open for writing: the volume does not move before it is closed. */
const HOLD = 'exec 3>/mnt/weft/db/held; sleep 4; exec 3>&-; rm /mnt/weft/db/held'

test('while a volume goes from node to node, no call by name fails on any of them', async () => {
  const lab = await hosts(3)
  try {
    const all = [lab.host(1), lab.host(2), lab.host(3)]
    const [first] = all as [Host]
    await first.weft('volume', 'create', 'db', '--size', '1G', '--repl', '3')
    // Other nodes hear of it a moment later; calls before that rightly find no such name.
    for (const host of all) {
      await until(
        `${host.name} shows it`,
        async () => (await host.tryRun('stat', '/mnt/weft/db')).code === 0,
      )
    }
    const said = all.map((host) => calling(host, CALLS, '/mnt/weft/db', host.name))
    const held = first.run('bash', '-c', HOLD)
    for (const to of ['node2', 'node3', 'node1', 'node3', 'node2', 'node1']) {
      await first.weft('volume', 'move', 'db', to)
      await until(
        `${to} owns it`,
        async () => (await first.weft('volume', 'list')).trimEnd().endsWith(to),
        60_000,
      )
    }
    for (const host of all) await enough(host)
    await held
    for (const words of await Promise.all(said))
      assert.match(words.trim(), /^done [1-9]\d*$/, words)
    assert.is((await first.run('ls', '/mnt/weft/db')).trim(), '')
  } finally {
    await lab.close()
  }
})

test.run()
