// deadline: 500 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ClusterInfo, InviteMade, NodeStatus, VolumeInfo } from '../../src/api/index.ts'
import { hosts, type Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { type Ended, until } from '../support/node-world.ts'

const SIZE = '500M'
/** Of exit-codes.ts: refused, timeout. */
const REFUSED = 5
const TIMEOUT = 9

async function json<T>(host: Host, ...words: string[]): Promise<T> {
  return JSON.parse(await host.weft(...words, '--json')) as T
}

const volumesOf = async (host: Host) =>
  (await json<{ volumes: VolumeInfo[] }>(host, 'volume', 'list')).volumes

const problemsOf = async (host: Host) =>
  (await json<NodeStatus>(host, 'status')).problems.map(({ what, why }) => `${what}: ${why}`)

const keeperLog = (host: Host) => host.run('cat', `${host.home}/log/keeper.log`)

/** As a person does it, one command after the other. */
async function invited(from: Host, ...hosts: Host[]): Promise<void> {
  const { line } = await json<InviteMade>(from, 'cluster', 'invite', '--uses', `${hosts.length}`)
  for (const host of hosts) await join(host, line)
}

async function join(host: Host, line: string): Promise<void> {
  const done = await tryJoin(host, line)
  assert.is(done.code, 0, done.stderr)
}

function tryJoin(host: Host, line: string): Promise<Ended> {
  const script = `printf '%s\\n' "$0" | weft cluster join - --domain rack=${host.rack}`
  return host.tryRun('sh', '-c', script, line)
}

function refused(done: Ended, code: number, words: RegExp): void {
  assert.is(done.code, code, done.stderr)
  assert.match(done.stderr, words)
  assert.match(done.stderr, /next: /)
}

/** Whoever else looks after the coordinator was away sees it within a poll of the watch. */
async function eventually(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 40; tries++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
  assert.unreachable(`not within 10 s: ${what}`)
}

async function whole(lab: Lab): Promise<void> {
  for (const host of lab.hosts) await host.weft('fsck')
}

test('three machines without a route out become one cluster, and what one writes another reads, within 30 seconds', async () => {
  const lab = await hosts(3, { size: SIZE, cluster: false })
  try {
    const [a, b, c] = [lab.host(1), lab.host(2), lab.host(3)]
    await a.run('mkdir', '/mnt/weft/before')
    await a.run('sh', '-c', 'echo kept >/mnt/weft/before/file')

    const startedMs = performance.now()
    await a.weft('cluster', 'create', 'lab', '--domain', 'region=eu,zone=1,rack=r1')
    await invited(a, b, c)
    await b.weft('volume', 'create', 'db', '--size', '1G')
    assert.is(await b.run('sh', '-c', 'cd /mnt/weft/db; echo x >f; cat f'), 'x\n')
    assert.is(await c.run('cat', '/mnt/weft/db/f'), 'x\n', 'what one writes another reads')
    const seconds = (performance.now() - startedMs) / 1000
    assert.ok(seconds < 30, `${seconds} s`)
    const seen = await volumesOf(c)

    const owners = Object.fromEntries(seen.map(({ name, owner, state }) => [name, [owner, state]]))
    assert.equal(owners, { before: ['node1', 'elsewhere'], db: ['node2', 'elsewhere'] })
    assert.is(await a.run('cat', '/mnt/weft/before/file'), 'kept\n', 'its volumes stay')
    assert.is(await c.run('cat', '/mnt/weft/before/file'), 'kept\n', 'volumes of one copy, too')

    await eventually('all roots show all volumes', async () => {
      const roots = await Promise.all(lab.hosts.map((host) => host.run('ls', '/mnt/weft')))
      return roots.every((root) => root === 'before\ndb\n')
    })
    refused(await c.tryWeft('volume', 'delete', 'db', '--force'), REFUSED, /node node2 owns it/)
    refused(await c.tryWeft('volume', 'create', 'db'), REFUSED, /taken|exists/)

    const { nodes } = await json<ClusterInfo>(c, 'cluster', 'status')
    const shown = nodes.map(({ name, connection, domain }) => [name, connection, domain])
    assert.equal(shown, [
      ['node1', 'up', 'region=eu,zone=1,rack=r1'],
      ['node2', 'up', 'rack=r2'],
      ['node3', 'self', 'rack=r3'],
    ])
    await b.weft('volume', 'delete', 'db', '--force')
    await eventually('it is gone everywhere', async () => {
      return (await c.run('ls', '/mnt/weft')) === 'before\n'
    })
    await whole(lab)
  } finally {
    await lab.close()
  }
})

test('with the host of the coordinator killed the others go on and come up, say what is wrong, and work again when it is back', async () => {
  const lab = await hosts(3, { size: SIZE })
  try {
    const [a, b, c] = [lab.host(1), lab.host(2), lab.host(3)]
    for (const host of [b, c]) {
      await host.run('mkdir', `/mnt/weft/of-${host.name}`)
      await host.run('sh', '-c', `echo first >/mnt/weft/of-${host.name}/file`)
    }
    await a.kill9()
    await eventually('the others see that it is away', async () =>
      (await problemsOf(b)).some((text) => text.startsWith('the coordinator (node node1)')),
    )
    await b.run('sh', '-c', 'cd /mnt/weft/of-node2; echo second >>file; sync file')
    assert.is(await b.run('cat', '/mnt/weft/of-node2/file'), 'first\nsecond\n')
    refused(
      await b.tryWeft('volume', 'create', 'new'),
      TIMEOUT,
      /coordinator \(node node1\) does not answer: node node1 is not reachable: /,
    )

    await c.kill9()
    await c.start()
    const startedMs = performance.now()
    assert.is(await c.run('ls', '/mnt/weft'), 'of-node2\nof-node3\n', 'as last known')
    assert.ok(performance.now() - startedMs < 1000)
    assert.match(
      (await c.tryRun('cat', '/mnt/weft/of-node3/file')).stderr,
      /Resource temporarily unavailable/,
    )
    const problems = (await problemsOf(c)).join('\n')
    assert.match(problems, /the coordinator \(node node1\) does not answer/)
    assert.match(problems, /volume of-node3 is not open yet/)

    await a.start()
    await until('node 1 runs', () => a.state === 'up')
    await eventually('the volume is open', async () => {
      return (await c.tryRun('cat', '/mnt/weft/of-node3/file')).stdout === 'first\n'
    })
    await eventually('no problem is left', async () => (await problemsOf(c)).length === 0)
    await c.weft('volume', 'create', 'new')
    assert.is((await volumesOf(b)).length, 3)
    await whole(lab)
  } finally {
    await lab.close()
  }
})

test('used-up and revoked invites, strangers and removed nodes are refused in the handshake and logged', async () => {
  const lab = await hosts(3, { size: SIZE, cluster: false })
  try {
    const [a, b, c] = [lab.host(1), lab.host(2), lab.host(3)]
    refused(await a.tryWeft('cluster', 'invite'), 4, /in no cluster/)
    await a.weft('cluster', 'create', 'lab')
    const used = await json<InviteMade>(a, 'cluster', 'invite')
    await join(b, used.line)
    const revoked = await json<InviteMade>(b, 'cluster', 'invite')
    await a.weft('cluster', 'invites', '--revoke', revoked.id)

    await c.run('mkdir', '/mnt/weft/own')
    const third = await json<InviteMade>(b, 'cluster', 'invite')
    refused(await tryJoin(c, third.line), REFUSED, /a volume of its own \(own\)/)
    await c.run('rmdir', '/mnt/weft/own')
    for (const { line } of [used, revoked]) {
      refused(await tryJoin(c, line), TIMEOUT, /no node of the invite admitted this one/)
    }
    refused(await tryJoin(c, `${third.line.slice(0, -4)}AAAA`), 2, /cut short or mistyped/)
    const garbage = `const s = require('net').connect(9338, '${a.ip}', () => s.write(Buffer.alloc(4096, 7))); s.on('close', () => console.log('closed')); s.on('error', () => {})`
    assert.is((await c.run(process.execPath, '-e', garbage)).trim(), 'closed')
    const ofA = await keeperLog(a)
    assert.match(ofA, new RegExp(`invite ${used.id}, used up`))
    assert.match(await keeperLog(b), new RegExp(`invite ${revoked.id}, revoked`))

    await join(c, third.line)
    refused(await c.tryWeft('node', 'remove', 'node1'), REFUSED, /serves the cluster's coordinator/)
    await c.run('mkdir', '/mnt/weft/own')
    refused(await a.tryWeft('node', 'remove', 'node3'), REFUSED, /holds a volume \(own\)/)
    await c.run('rmdir', '/mnt/weft/own')
    await a.weft('node', 'remove', 'node3', '--reason', 'sold')
    assert.match(
      (await problemsOf(c)).join(),
      /this node was removed .*node node1 did it .*\(sold\)/,
    )
    refused(await c.tryWeft('volume', 'create', 'x'), 6, /this node was removed/)
    await eventually('its channels are refused and logged', async () =>
      /refused a peer in the handshake/.test(
        (await keeperLog(a))
          .split('\n')
          .filter((line) => /removed at/.test(line))
          .join(),
      ),
    )
    const fourth = await json<InviteMade>(a, 'cluster', 'invite')
    refused(await tryJoin(c, fourth.line), 6, /this node was removed/)
    assert.is((await json<ClusterInfo>(b, 'cluster', 'status')).members.count, 2)
    await whole(lab)
  } finally {
    await lab.close()
  }
})

test('a cluster in use moves its coordinator to etcd, a node that was down meanwhile finds it, and the old node is not needed', async () => {
  const lab = await hosts(3, { size: SIZE })
  try {
    const [a, b, c] = [lab.host(1), lab.host(2), lab.host(3)]
    await b.run('mkdir', '/mnt/weft/of-node2')
    const url = `http://${c.ip}:2379`
    const urls = ['--listen-client-urls', url, '--advertise-client-urls', url]
    // It ends with its host.
    c.spawn(['etcd', '--data-dir', '/run/etcd', ...urls], { stdio: 'ignore' })
    const to = `etcd://${c.ip}:2379`
    await eventually('etcd answers', async () => {
      return (await c.tryRun('curl', '-sf', `${url}/health`)).code === 0
    })
    refused(await b.tryWeft('cluster', 'coordinator', 'migrate', to), REFUSED, /on node node1/)
    await b.kill9()
    const moved = await a.weft('cluster', 'coordinator', 'migrate', to)
    assert.is(moved, `the coordinator is at ${to}, generation 2\n`)
    const place = async (host: Host) =>
      (await json<ClusterInfo>(host, 'cluster', 'status')).coordinatorState.place
    for (const host of [a, c])
      await eventually(`${host.name} knows`, async () => (await place(host)) === to)
    await b.start()
    await eventually('node2 knows', async () => (await place(b)) === to)

    await a.kill9()
    await b.weft('volume', 'create', 'new')
    assert.equal(
      (await volumesOf(c)).map(({ name, owner }) => [name, owner]),
      [
        ['of-node2', 'node2'],
        ['new', 'node2'],
      ],
    )
    await a.start()
    assert.is((await volumesOf(a)).length, 2)
    await whole(lab)
  } finally {
    await lab.close()
  }
})

test('a cluster is made with its coordinator in an etcd over TLS with a user; who joins can open it, a change of the password is followed', async () => {
  const lab = await hosts(2, { size: SIZE, cluster: false })
  try {
    const [a, b] = [lab.host(1), lab.host(2)]
    await a.run('mkdir', '/mnt/weft/before')
    const url = `https://${b.ip}:2379`
    await b.run(
      'bash',
      '-ec',
      `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=weft-test \
        -addext subjectAltName=IP:${b.ip} -keyout /run/key.pem -out /run/ca.pem 2>/dev/null`,
    )
    const ca = await b.run('cat', '/run/ca.pem')
    await a.run(
      'bash',
      '-ec',
      'echo "$0" >/run/ca.pem; echo first-password >/run/pw1; echo second-password >/run/pw2',
      ca,
    )
    const urls = ['--listen-client-urls', url, '--advertise-client-urls', url]
    const tls = ['--cert-file', '/run/ca.pem', '--key-file', '/run/key.pem']
    b.spawn(['etcd', '--data-dir', '/run/etcd', ...urls, ...tls], { stdio: 'ignore' })
    let token = ''
    /** The gateway of etcd's own API: Debian's etcd-server brings no etcdctl. */
    const ask = async (path: string, body: object) => {
      const words = ['-sf', '--cacert', '/run/ca.pem', '-H', `Authorization: ${token}`]
      const done = await b.tryRun('curl', ...words, '-d', JSON.stringify(body), `${url}/v3/${path}`)
      return done.code === 0 ? (JSON.parse(done.stdout) as { token?: string }) : null
    }
    await eventually('etcd answers', async () => (await ask('kv/range', { key: 'eA==' })) !== null)
    assert.ok(await ask('auth/user/add', { name: 'root', password: 'first-password' }))
    assert.ok(await ask('auth/role/add', { name: 'root' }))
    assert.ok(await ask('auth/user/grant', { user: 'root', role: 'root' }))
    assert.ok(await ask('auth/enable', {}))

    const to = ['--coordinator', `etcd://${b.ip}:2379`, '--ca', '/run/ca.pem']
    const wrong = await a.tryWeft(
      ...['cluster', 'create', 'lab'],
      ...to,
      '--user',
      'root',
      '--password-file',
      '/run/pw2',
    )
    refused(wrong, 6, /check user and password/)
    refused(await a.tryWeft('cluster', 'create', 'b@d'), 2, /is not allowed/)
    assert.is(
      (await a.tryRun('test', '-e', `${a.home}/network.json`)).code,
      1,
      'nothing was written down',
    )
    await a.weft(
      ...['cluster', 'create', 'lab'],
      ...to,
      '--user',
      'root',
      '--password-file',
      '/run/pw1',
    )
    const place = async (host: Host) =>
      (await json<ClusterInfo>(host, 'cluster', 'status')).coordinatorState
    assert.equal(await place(a), { ...(await place(a)), place: `etcds://${b.ip}:2379`, why: '' })
    await invited(a, b)
    await b.weft('volume', 'create', 'of-node2')
    assert.equal((await volumesOf(a)).map(({ name }) => name).sort(), ['before', 'of-node2'])

    const kept = await a.run('bash', '-ec', `cat ${a.home}/*.json; cat ${a.home}/coordinator/*`)
    assert.is(kept.includes('first-password'), false, 'the password is nowhere in clear')
    assert.is(kept.includes('BEGIN CERTIFICATE'), false)

    // What is kept is enough for a start.
    await b.kill9()
    await b.start()
    await b.weft('volume', 'create', 'second')
    token =
      (await ask('auth/authenticate', { name: 'root', password: 'first-password' }))?.token ?? ''
    assert.ok(await ask('auth/user/changepw', { name: 'root', password: 'second-password' }))
    // Nobody can read it any more, so each node is told.
    const again = ['cluster', 'coordinator', 'migrate', ...to.slice(1)]
    for (const host of [a, b]) {
      await host.run('bash', '-ec', 'echo "$0" >/run/ca.pem; echo second-password >/run/pw2', ca)
      await host.weft(...again, '--user', 'root', '--password-file', '/run/pw2')
    }
    for (const host of [a, b]) {
      await eventually(`${host.name} opens it anew`, async () => {
        return (await host.tryWeft('volume', 'create', `new-${host.name}`)).code === 0
      })
    }
    await whole(lab)
  } finally {
    await lab.close()
  }
})

test.run()
