import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
} from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Registry } from 'prom-client'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { startApi } from '../../src/api/index.ts'
import { ROUTES } from '../../src/api/routes.ts'
import { FsError, type Log, silentLog } from '../../src/base/index.ts'
import { type FakeNode, fakeNode } from './fake-control.ts'

interface Answer {
  readonly status: number
  readonly text: string
  readonly json: () => unknown
}

test('the socket is for its owner alone, and nothing is left of the directory it was made in', async () => {
  const node = await fakeNode()
  try {
    const { mode } = statSync(node.server.socketPath)
    assert.is(mode & 0o777, 0o600)
    assert.is(statSync(node.home).mode & 0o777, 0o700)
    assert.equal(readdirSync(node.home), ['control.sock'])
  } finally {
    await node.close()
  }
  assert.not(existsSync(node.server.socketPath))
})

test('a home that does not exist is made with rights for its owner alone', async () => {
  const node = await fakeNode()
  const home = join(node.home, 'deep/home')
  const server = await startApi({ ...apiOptions(node), home })
  try {
    assert.is(statSync(home).mode & 0o777, 0o700)
  } finally {
    await server.close()
    await node.close()
  }
})

test('a home others may write into is refused with the command that mends it', async () => {
  const node = await fakeNode()
  const home = mkdtempSync(join(tmpdir(), 'weft-wide-'))
  try {
    mkdirSync(join(home, 'h'), { mode: 0o777 })
    chmodSync(join(home, 'h'), 0o777)
    const error = await thrown(startApi({ ...apiOptions(node), home: join(home, 'h') }))
    assert.is(error.code, 'EPERM')
    assert.is(error.subject.next, `chmod 700 ${join(home, 'h')}`)
  } finally {
    rmSync(home, { recursive: true })
    await node.close()
  }
})

test('a second daemon on the same home is refused, a socket left by a dead one is replaced', async () => {
  const node = await fakeNode()
  try {
    const error = await thrown(startApi(apiOptions(node)))
    assert.is(error.code, 'EBUSY')
    assert.is((await call(node, 'GET', '/v1/status')).status, 200)

    const stale = join(node.home, 'stale')
    mkdirSync(stale, { mode: 0o700 })
    // Killed in the middle, a listener leaves its file behind.
    spawnSync(process.execPath, [
      '-e',
      `require('node:net').createServer().listen('${stale}/control.sock', () => process.kill(process.pid, 'SIGKILL'))`,
    ])
    assert.ok(existsSync(join(stale, 'control.sock')))
    const server = await startApi({ ...apiOptions(node), home: stale })
    await server.close()
  } finally {
    await node.close()
  }
})

test('a home whose socket path would not fit is refused before anything is made', async () => {
  const node = await fakeNode()
  try {
    const home = join(node.home, 'x'.repeat(120))
    const error = await thrown(startApi({ ...apiOptions(node), home }))
    assert.is(error.code, 'ENAMETOOLONG')
    assert.not(existsSync(home))
  } finally {
    await node.close()
  }
})

test('closing leaves the socket of a later daemon in place', async () => {
  const node = await fakeNode()
  try {
    rmSync(node.server.socketPath)
    const later = await startApi(apiOptions(node))
    await node.server.close()
    assert.is((await call(node, 'GET', '/v1/status')).status, 200)
    await later.close()
  } finally {
    await node.close()
  }
})

test('the OpenAPI document lists every route, with its body and its parameters', async () => {
  const node = await fakeNode()
  try {
    const document = (await call(node, 'GET', '/openapi.json')).json() as {
      openapi: string
      paths: Record<
        string,
        Record<
          string,
          { operationId: string; requestBody?: unknown; parameters?: { name: string }[] }
        >
      >
    }
    assert.is(document.openapi, '3.1.0')
    for (const route of ROUTES) {
      const path = route.url.replaceAll(/:(\w+)/g, '{$1}')
      const operation = document.paths[path]?.[route.method.toLowerCase()]
      assert.ok(operation, `${route.method} ${path} is not in the document`)
      assert.is(operation.operationId, route.op.replaceAll(' ', '-'))
      assert.is(operation.requestBody !== undefined, route.body !== null, `${path}: body`)
      for (const [, name] of route.url.matchAll(/:(\w+)/g)) {
        assert.ok(
          operation.parameters?.some((parameter) => parameter.name === name),
          `${path}: ${name}`,
        )
      }
    }
    assert.ok(document.paths['/metrics'])
    const names = ROUTES.map((route) => route.op)
    assert.is(new Set(names).size, names.length, 'operation names are unique')
  } finally {
    await node.close()
  }
})

test('metrics come from the registry that was passed in', async () => {
  const node = await fakeNode()
  const registry = new Registry()
  const { Counter } = await import('prom-client')
  new Counter({ name: 'weft_canary_total', help: 'x', registers: [registry] }).inc(3)
  const home = join(node.home, 'second')
  const server = await startApi({ ...apiOptions(node), home, registry })
  try {
    const answer = await call({ server }, 'GET', '/metrics')
    assert.is(answer.status, 200)
    assert.match(answer.text, /^weft_canary_total 3$/m)
  } finally {
    await server.close()
    await node.close()
  }
})

test('each code has its status, and the body says what, why and what next', async () => {
  const node = await fakeNode()
  try {
    const table: [FsError, number][] = [
      [new FsError('ENOENT', 'op', {}), 404],
      [new FsError('EBUSY', 'op', {}), 409],
      [new FsError('EINVAL', 'op', {}), 400],
      [new FsError('EPERM', 'op', {}), 403],
      [new FsError('ENOKEY', 'op', {}), 403],
      [new FsError('ENOSPC', 'op', {}), 507],
      [new FsError('EIO', 'op', {}), 500],
      [new FsError('ELOOP', 'op', {}), 500],
    ]
    for (const [error, status] of table) {
      node.failNext = error
      const answer = await call(node, 'GET', '/v1/status')
      assert.is(answer.status, status, error.code)
      const body = (answer.json() as { error: Record<string, string> }).error
      assert.is(body.code, error.code)
      assert.is(body.op, 'op')
      assert.ok(body.message && body.next, error.code)
    }
    const subject = { name: Buffer.from('x'), size: 7, message: 'words', next: 'do this' }
    node.failNext = new FsError('EIO', 'read', subject)
    const answer = await call(node, 'GET', '/v1/status')
    assert.equal((answer.json() as { error: unknown }).error, {
      code: 'EIO',
      message: 'words',
      next: 'do this',
      op: 'read',
      subject: { name: 'x', size: 7 },
    })
  } finally {
    await node.close()
  }
})

test('an unexpected error is logged with its stack and answered without its words', async () => {
  const node = await fakeNode()
  const lines: object[] = []
  const log: Log = { ...silentLog, error: (fields) => void lines.push(fields) }
  const home = join(node.home, 'second')
  const server = await startApi({ ...apiOptions(node), home, log })
  try {
    node.failNext = new TypeError('cannot read secret hunter2')
    const answer = await call({ server }, 'GET', '/v1/status')
    assert.is(answer.status, 500)
    assert.not.match(answer.text, 'hunter2')
    assert.is((answer.json() as { error: { code: string } }).error.code, 'INTERNAL')
    assert.is(lines.length, 1)
    assert.match(JSON.stringify(lines[0]), 'hunter2')
  } finally {
    await server.close()
    await node.close()
  }
})

test('secrets reach the node as bytes and are zero once it has answered, also when it failed', async () => {
  const node = await fakeNode()
  try {
    const passphrase = Buffer.from('right horse').toString('base64')
    await call(node, 'POST', '/v1/volumes/notes/keys/unlock', {
      opener: { kind: 'passphrase', passphrase },
    })
    assert.match(node.calls.at(-1)!, '"passphrase":"right horse"')
    const wrong = Buffer.from('wrong').toString('base64')
    const refused = await call(node, 'POST', '/v1/volumes/notes/keys/unlock', {
      opener: { kind: 'passphrase', passphrase: wrong },
    })
    assert.is(refused.status, 403)
    await call(node, 'POST', '/v1/volumes/notes/keys/split', { shares: 5, threshold: 3 })
    assert.is(node.lent.length, 7)
    for (const secret of node.lent) assert.ok(secret.every((byte) => byte === 0))
  } finally {
    await node.close()
  }
})

test('a refused request calls nothing and never quotes what was sent', async () => {
  const node = await fakeNode()
  try {
    const bodies: [string, unknown][] = [
      ['/v1/volumes/notes/keys', { kind: 'passphrase', passphrase: 'hunter2 is not base64' }],
      ['/v1/volumes/notes/keys', { kind: 'passphrase', passphrase: ['hunter2'] }],
      ['/v1/volumes/notes/keys', { kind: 'hunter2' }],
      [
        '/v1/volumes/notes/keys/unlock',
        { opener: { kind: 'passphrase', passphrase: 'aHVudGVyMg==', hunter3: 'hunter2' } },
      ],
      ['/v1/volumes', { passphrase: 7, name: 'x' }],
    ]
    for (const [url, body] of bodies) {
      const answer = await call(node, 'POST', url, body)
      assert.is(answer.status, 400, url)
      assert.not.match(answer.text, 'hunter2')
    }
    const broken = await raw(node, 'POST', '/v1/volumes', '{"passphrase": "hunter2')
    assert.is(broken.status, 400)
    assert.not.match(broken.text, 'hunter2')
    assert.equal(node.calls, [])
  } finally {
    await node.close()
  }
})

test('garbage in bodies, paths and queries is answered 4xx with an error body, by seed', async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  console.log(`seed ${seed}`)
  const random = lcg(seed)
  const node = await fakeNode()
  try {
    let refused = 0
    for (let round = 0; round < 600; round++) {
      const route = ROUTES[Math.floor(random() * ROUTES.length)]!
      // Its empty body is the right one, and ends the fake node.
      if (route.op === 'shutdown') continue
      const url = route.url.replaceAll(
        /:\w+/g,
        () => encodeURIComponent(garbageText(random, 80)) || 'x',
      )
      const body =
        random() < 0.3 ? garbageText(random, 200) : JSON.stringify(garbageValue(random, 3))
      const answer = await raw(node, route.method, url, route.method === 'POST' ? body : undefined)
      if (answer.status === 200) continue
      refused++
      const error = (answer.json() as { error?: { code?: string; next?: string } }).error
      assert.ok(
        answer.status >= 400 && answer.status < 500,
        `${route.method} ${url} ${body} → ${answer.status}`,
      )
      assert.ok(error?.code && error.next, answer.text)
    }
    assert.ok(refused > 300)
    assert.is((await call(node, 'GET', '/v1/status')).status, 200)
  } finally {
    await node.close()
  }
})

test('a body above the bound, a wrong content type and bytes that are not HTTP end at once', async () => {
  const node = await fakeNode()
  try {
    const large = await raw(
      node,
      'POST',
      '/v1/volumes',
      JSON.stringify({ spec: 'x'.repeat(2_000_000) }),
    )
    assert.is(large.status, 413)
    assert.is((large.json() as { error: { code: string } }).error.code, 'E2BIG')
    const plain = await raw(node, 'POST', '/v1/volumes', 'spec', 'text/plain')
    assert.is(plain.status, 415)
    assert.ok((plain.json() as { error: { next: string } }).error.next)
    const text = await new Promise<string>((resolve, reject) => {
      const socket = connect(node.server.socketPath)
      let got = ''
      socket.on('data', (bytes) => {
        got += bytes.toString()
      })
      socket.on('close', () => resolve(got))
      socket.on('error', reject)
      socket.write('\x00\x01\x02 nonsense\r\n\r\n')
    })
    assert.match(text, /^HTTP\/1.1 400 /)
    assert.match(text, '"code":"EINVAL"')
  } finally {
    await node.close()
  }
})

test('a frame is connected with a password that is wiped, and quoted in no answer', async () => {
  const node = await fakeNode()
  try {
    const password = Buffer.from('open sesame').toString('base64')
    const body = { url: 'https://composer', user: 'weft', password }
    const answer = await call(node, 'POST', '/v1/synergy/connect', body)
    assert.is(answer.status, 200, answer.text)
    assert.ok(node.lent.length === 1 && node.lent.every((one) => one.every((byte) => byte === 0)))
    const wrong = [
      { ...body, password: 'no base64!' },
      { ...body, unknown: 1 },
      { url: 'https://composer', password },
    ]
    for (const bad of wrong) {
      const refused = await call(node, 'POST', '/v1/synergy/connect', bad)
      assert.is(refused.status, 400)
      assert.not(refused.text.includes(bad.password))
    }
    const classes = await call(node, 'POST', '/v1/synergy/allocate', { class: 4, drives: 1 })
    assert.is(classes.status, 400)
    assert.is((await call(node, 'GET', '/v1/synergy/free?class=9')).status, 400)
    assert.is((await call(node, 'GET', '/v1/synergy/free?class=3')).status, 200)
  } finally {
    await node.close()
  }
})

test('an answer outlives a client that hangs up, and closing does not wait for an idle one', async () => {
  const node = await fakeNode()
  try {
    const idle = connect(node.server.socketPath)
    await new Promise((resolve) => idle.once('connect', resolve))
    idle.on('error', () => {})
    const half = connect(node.server.socketPath)
    half.write('POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{')
    half.destroy()
    assert.is((await call(node, 'GET', '/v1/status')).status, 200)
    const before = performance.now()
    await node.server.close()
    assert.ok(performance.now() - before < 2000)
    idle.destroy()
  } finally {
    rmSync(node.home, { recursive: true, force: true })
  }
})

test.run()

function apiOptions(node: FakeNode) {
  return {
    home: node.home,
    control: node.control,
    registry: new Registry(),
    log: silentLog,
    version: '0.1.0',
  }
}

async function thrown(promise: Promise<unknown>): Promise<FsError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof FsError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

function call(
  node: Pick<FakeNode, 'server'>,
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer> {
  return raw(node, method, path, body === undefined ? undefined : JSON.stringify(body))
}

function raw(
  node: Pick<FakeNode, 'server'>,
  method: string,
  path: string,
  body?: string,
  type = 'application/json',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers =
      body === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(body) }
    const sent = request(
      { socketPath: node.server.socketPath, method, path, headers, agent: false, timeout: 5000 },
      (answer: IncomingMessage) => {
        const parts: Buffer[] = []
        answer.on('data', (part: Buffer) => parts.push(part))
        answer.on('end', () => {
          const text = Buffer.concat(parts).toString()
          resolve({ status: answer.statusCode ?? 0, text, json: () => JSON.parse(text) })
        })
      },
    )
    sent.on('timeout', () => sent.destroy(new Error(`${method} ${path} hangs`)))
    sent.on('error', (error) =>
      reject(new Error(`${method} ${path} ${body?.length}: ${error.message}`)),
    )
    sent.end(body)
  })
}

function lcg(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

function garbageText(random: () => number, lengthMax: number): string {
  const length = Math.floor(random() * lengthMax)
  return Array.from({ length }, () => String.fromCharCode(1 + Math.floor(random() * 0x2000))).join(
    '',
  )
}

function garbageValue(random: () => number, depth: number): unknown {
  const fields = [
    'target',
    'volume',
    'spec',
    'name',
    'size',
    'kind',
    'opener',
    'shares',
    'threshold',
    'backup',
    'passphrase',
    'dir',
    'repair',
  ]
  const pick = Math.floor(random() * (depth > 0 ? 8 : 5))
  if (pick === 0) return null
  if (pick === 1) return random() < 0.5
  if (pick === 2) return (random() - 0.5) * 10 ** Math.floor(random() * 300)
  if (pick < 5) return garbageText(random, 40)
  if (pick === 5)
    return Array.from({ length: Math.floor(random() * 4) }, () => garbageValue(random, depth - 1))
  const entries = Array.from({ length: Math.floor(random() * 5) }, () => [
    fields[Math.floor(random() * fields.length)]!,
    garbageValue(random, depth - 1),
  ])
  return Object.fromEntries(entries)
}
