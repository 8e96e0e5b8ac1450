import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLog, systemClock } from '../../src/base/index.ts'
import { openOneView } from '../../src/provision/oneview/index.ts'
import type { Trust } from '../../src/provision/oneview/tls.ts'
import { Transport, type TransportOptions } from '../../src/provision/oneview/transport.ts'
import { thrownBy } from '../support/thrown.ts'
import { fixture } from './fixture.ts'
import { pageOf, running, Script } from './script.ts'
import { Certificates, type Identity, Served } from './served.ts'
import { hurried } from './virtual-clock.ts'

const clock = systemClock()
const GET = {
  method: 'GET',
  path: '/rest/x',
  headers: { auth: 'secret-session' },
  signal: running,
} as const
/** Served raw, for http.Server takes a socket's bytes before anyone can count them. */
const OK_BYTES = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}'
const OK_HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'

interface World {
  readonly served: Served
  readonly certificates: Certificates
  readonly identity: Identity
  /** Closed with the world. */
  transport(trust?: Trust, more?: Partial<TransportOptions>): Transport
}

async function inWorld(work: (world: World) => Promise<void>, san?: string): Promise<void> {
  const certificates = new Certificates()
  const identity = certificates.selfSigned('appliance', san)
  const served = await Served.start(identity)
  const transports: Transport[] = []
  try {
    await work({
      served,
      certificates,
      identity,
      transport(trust = { pin: identity.pin }, more = {}) {
        const made = new Transport({ url: served.url, trust, clock, ...more })
        transports.push(made)
        return made
      },
    })
  } finally {
    for (const transport of transports) await transport.close()
    await served.close()
    certificates.close()
  }
}

test('an appliance is known by its CA or by its own certificate, and told what is to be told', async () => {
  await inWorld(async ({ served, certificates, identity, transport }) => {
    const script = new Script().on('PUT', '/rest/x', { headers: { etag: '7' }, body: { a: 1 } })
    served.answering(script)
    const request = { ...GET, method: 'PUT', path: '/rest/x?q=a b', body: { ä: [1] } } as const
    for (const trust of [
      { ca: identity.cert },
      { pin: identity.pin },
      { pin: identity.pin.toLowerCase().replaceAll(':', '').replace('sha256', 'sha256:') },
    ]) {
      const answer = await transport(trust).send(request)
      assert.equal(
        [answer.status, answer.header('ETag'), answer.header('location'), answer.body],
        [200, '7', '', { a: 1 }],
      )
    }
    const [asked] = script.asked
    assert.equal([asked?.query.get('q'), asked?.body], ['a b', { ä: [1] }])
    assert.is(asked?.headers['content-type'], 'application/json')
    served.show(certificates.signed('signed'))
    assert.is((await transport({ ca: certificates.authority.cert }).send(request)).status, 200)
  })
})

test('another certificate than the pinned one gets not a byte, whoever signed it', async () => {
  await inWorld(async ({ served, certificates, transport }) => {
    served.raw((socket) => socket.write(OK_BYTES))
    const { pin } = certificates.selfSigned('other')
    const post = { ...GET, method: 'POST', body: { password: 'secret' } } as const
    const error = await thrownBy(() => transport({ pin }).send(post))
    assert.equal([error.code, error.retry, error.subject.done], ['EACCES', 'never', 'no'])
    assert.match(error.message, /another certificate \(sha256:.*\) than the one pinned/)
    // Its signer is in the chain that the server sends, and is not what was pinned either.
    served.show(certificates.signed('signed'))
    const { code } = await thrownBy(() => transport({ pin: certificates.authority.pin }).send(post))
    assert.is(code, 'EACCES')
    assert.is(served.receivedBytes, 0)
    assert.is(served.connections, 2)
    await transport({ ca: certificates.authority.cert }).send(post)
    assert.ok(served.receivedBytes > 0, 'a request that is sent is counted')
  })
})

test('a certificate that changes later is looked at again', async () => {
  await inWorld(async ({ served, certificates, transport }) => {
    served.raw((socket) => socket.write(OK_BYTES))
    const wire = transport()
    await wire.send(GET)
    assert.ok(served.receivedBytes > 0)
    served.show(certificates.selfSigned('other'))
    const before = served.receivedBytes
    const codes = new Set<string>()
    // The first may still meet the connection that was cut.
    for (let i = 0; i < 3; i++) codes.add((await thrownBy(() => wire.send(GET))).code)
    assert.ok(codes.has('EACCES'), [...codes].join())
    assert.is(served.receivedBytes, before)
  })
})

test('a certificate that nobody vouches for, or of another name, gets not a byte', async () => {
  await inWorld(async ({ served, identity, transport }) => {
    served.raw((socket) => socket.write(OK_BYTES))
    for (const trust of [{}, { ca: identity.cert }]) {
      const error = await thrownBy(() => transport(trust).send(GET))
      assert.is(error.code, 'EACCES')
      assert.match(error.message, /is not trusted: .*nothing was sent/)
      assert.match(`${error.subject.next}`, /openssl s_client/)
    }
    assert.is(served.receivedBytes, 0)
  }, 'DNS:elsewhere.example')
})

test('what cannot be an appliance is refused before anything is asked', async () => {
  for (const url of [
    'http://host',
    'https://host/rest',
    'https://u:p@host',
    'host',
    'https://host?x',
  ]) {
    const error = await thrownBy(() => new Transport({ url, trust: {}, clock }))
    assert.equal([error.code, error.op], ['EINVAL', 'oneview.connect'], url)
  }
  const pin = `sha256:${'ab'.repeat(32)}`
  for (const trust of [{ pin: 'sha256:abc' }, { pin: 'ab'.repeat(32) }, { pin, ca: 'x' }]) {
    assert.is(
      (await thrownBy(() => new Transport({ url: 'https://host', trust, clock }))).code,
      'EINVAL',
    )
  }
})

test('nobody listening, and a port that speaks no TLS, are told apart', async () => {
  await inWorld(async ({ served, transport }) => {
    const wire = transport()
    await served.close()
    const error = await thrownBy(() => wire.send(GET))
    assert.equal([error.code, error.retry, error.subject.done], ['EHOSTUNREACH', 'later', 'no'])
    assert.match(error.message, /no connection to 127\.0\.0\.1/)
  })
})

test('a link is asked of the appliance, whatever host it names', async () => {
  await inWorld(async ({ served, transport }) => {
    const script = new Script().on('GET', '/rest/x', { body: 1 })
    served.answering(script)
    const wire = transport()
    for (const host of ['https://elsewhere.example', '//elsewhere.example', served.url, '']) {
      assert.is((await wire.send({ ...GET, path: `${host}/rest/x` })).body, 1)
    }
    assert.is(script.asked.length, 4)
    for (const path of ['https://elsewhere.example/', '/rest/../x', 'x']) {
      assert.is((await thrownBy(() => wire.send({ ...GET, path }))).code, 'EPROTO')
    }
  })
})

test('a wire that was closed says so, also to who still waits', async () => {
  await inWorld(async ({ served, transport }) => {
    const wire = transport()
    served.raw(() => void wire.close())
    for (let i = 0; i < 2; i++) {
      assert.is((await thrownBy(() => wire.send(GET))).code, 'ECANCELED')
    }
  })
})

test('answers that are not the REST API are refused in words', async () => {
  await inWorld(async ({ served, transport }) => {
    const wire = transport()
    const cases: readonly (readonly [string, RegExp])[] = [
      [
        'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>',
        /text\/html, not JSON/,
      ],
      ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}', /of no type, not JSON/],
      [`${OK_HEAD}Content-Length: 7\r\n\r\n{"a": 1`, /the answer is not JSON/],
      [
        'HTTP/1.1 302 Found\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\n\r\n',
        /sends us elsewhere/,
      ],
    ]
    for (const [bytes, words] of cases) {
      served.raw((socket) => socket.write(bytes))
      served.cut()
      const error = await thrownBy(() => untilServed(() => wire.send(GET)))
      assert.is(error.code, 'EPROTO', bytes)
      assert.match(error.message, words)
    }
    served.raw((socket) => socket.end('220 smtp.example ESMTP\r\n'))
    served.cut()
    assert.is((await thrownBy(() => untilServed(() => wire.send(GET)))).subject.done, 'maybe')
  })
})

/** The first request after a cut may meet the old connection. */
async function untilServed<T>(send: () => Promise<T>): Promise<T> {
  try {
    return await send()
  } catch (error) {
    if (!`${error}`.includes('connection broke')) throw error
    return send()
  }
}

test('an error with a page for people is an answer without a body', async () => {
  await inWorld(async ({ served, transport }) => {
    served.raw((socket) =>
      socket.write(
        'HTTP/1.1 503 Wait\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nWait.',
      ),
    )
    const answer = await transport().send(GET)
    assert.equal([answer.status, answer.body], [503, null])
  })
})

test('an answer that breaks off is told as such', async () => {
  await inWorld(async ({ served, transport }) => {
    for (const bytes of [
      `${OK_HEAD}Content-Length: 100\r\n\r\n{"a":`,
      `${OK_HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n`,
      OK_HEAD,
      '',
    ]) {
      served.raw((socket) => socket.end(bytes))
      const error = await thrownBy(() => transport().send(GET))
      assert.equal(
        [error.code, error.retry, error.subject.done],
        ['ECONNRESET', 'later', 'maybe'],
        bytes,
      )
      assert.match(error.message, /the connection broke before the whole answer had come/)
    }
  })
})

test('an answer without end is cut at the bound, whatever length it names', async () => {
  await inWorld(async ({ served, transport }) => {
    const block = Buffer.alloc(64 * 1024, ' ')
    let sentBytes = 0
    served.raw((socket) => {
      socket.write(`${OK_HEAD}\r\n`)
      const pour = () => {
        while (!socket.destroyed && socket.write(block)) sentBytes += block.length
      }
      socket.on('drain', pour)
      pour()
    })
    const answerBytesMax = 1024 * 1024
    const error = await thrownBy(() => transport(undefined, { answerBytesMax }).send(GET))
    assert.is(error.code, 'EFBIG')
    assert.ok(sentBytes < 16 * answerBytesMax, `${sentBytes} bytes were poured`)
  })
})

test('an answer that drips, and one that never begins, end at the time limit', async () => {
  await inWorld(async ({ served, transport }) => {
    const drip = (socket: { write(text: string): void; destroyed: boolean }) => {
      socket.write(`${OK_HEAD}\r\n`)
      const timer = setInterval(
        () => (socket.destroyed ? clearInterval(timer) : socket.write(' ')),
        20,
      )
    }
    for (const behaviour of [drip, () => {}]) {
      served.raw(behaviour)
      const begun = performance.now()
      const error = await thrownBy(() => transport(undefined, { limitMs: 300 }).send(GET))
      assert.equal([error.code, error.retry, error.subject.done], ['ETIMEDOUT', 'later', 'maybe'])
      assert.ok(performance.now() - begun < 5000)
    }
  })
})

test('whoever gives up gets ECANCELED at once', async () => {
  await inWorld(async ({ served, transport }) => {
    const giving = new AbortController()
    served.raw(() => giving.abort())
    const error = await thrownBy(() => transport().send({ ...GET, signal: giving.signal }))
    assert.is(error.code, 'ECANCELED')
  })
})

test('the whole way: drives are listed over TLS, and the session is logged out', async () => {
  await inWorld(async ({ served, identity }) => {
    const drives = fixture('DrivesByDriveEnclosure')
    const script = new Script()
      .on('GET', '/rest/server-profiles', pageOf([fixture('ServerProfile')]))
      .on('GET', '/rest/server-hardware', pageOf(fixture('ServerHardwareList')))
      .on('GET', '/rest/drive-enclosures', pageOf(fixture('DriveEnclosureList')))
      .on('GET', '/rest/sas-logical-jbods', pageOf([]))
      .on('GET', '/rest/index/resources', { body: drives })
    served.answering(script)
    const provisioner = openOneView({
      url: served.url,
      user: 'weft',
      password: () => Buffer.from('geheim'),
      pin: identity.pin,
      tagPrefix: 'weft-',
      dmi: { uuid: '', serial: 'VCGU6DA002' },
      clock: hurried(clock),
      log: silentLog,
    })
    const free = await provisioner.free(running)
    const available = drives.members.filter(
      (one: { attributes: { available: string } }) => one.attributes.available === 'yes',
    )
    assert.is(free.length, available.length)
    assert.is(script.of('POST')[0]?.body.password, 'geheim')
    await provisioner.close()
    assert.is(script.of('DELETE', '/rest/login-sessions')[0]?.headers.auth, 'session-1')
  })
})

test.run()
