import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError, FsError, limits, type NodeId, ProtocolError } from '../../src/base/index.ts'
import {
  decodeSigned,
  encodeSigned,
  openMember,
  signMember,
} from '../../src/cluster/certificate.ts'
import {
  formatAddress,
  formatDomain,
  nowhere,
  parseAddress,
  parseDomain,
  parseInvite,
} from '../../src/cluster/index.ts'
import { formatInvite } from '../../src/cluster/invite-line.ts'
import { decodeInvite, encodeInvite } from '../../src/cluster/invites.ts'
import {
  decodeJoinAnswer,
  decodeJoinRequest,
  encodeJoinAnswer,
  encodeJoinRequest,
} from '../../src/cluster/join-messages.ts'
import {
  type ClusterId,
  type ClusterRecord,
  decodeRecord,
  decodeWrappedKeys,
  encodeRecord,
} from '../../src/cluster/record.ts'
import { identityFromSeed, inviteKeyPair, nodeIdOf, secretFrom } from '../../src/crypto/index.ts'
import { seeded } from '../support/seeded.ts'

const cluster = '0123456789abcdef0123456789abcdef' as ClusterId
const seedOf = (byte: number) => secretFrom(Buffer.alloc(32, byte))
const node = identityFromSeed(seedOf(1))
const hex = (bytes: Buffer) => bytes.toString('hex')
const signKey = hex(node.sign.publicKey)
const id = nodeIdOf(node.sign.publicKey)
const clusterPair = inviteKeyPair(seedOf(2))
const keys = [{ keyEpoch: 1, publicKey: hex(clusterPair.publicKey) }]
const member = {
  cluster,
  node: id,
  signKey,
  boxKey: hex(node.box.publicKey),
  name: 'node-a',
  domain: parseDomain('region=eu,rack=r1'),
  addresses: [parseAddress('10.0.0.1:4433'), parseAddress('[fd00::1]:4433')],
  joinedAt: '2026-11-28T00:00:00.000Z',
  serial: 1,
}
const certificate = signMember(member, { keyEpoch: 1, secretKey: clusterPair.secretKey })
const record: ClusterRecord = {
  version: 1,
  id: cluster,
  name: 'lab',
  generation: 1,
  signingKey: { keyEpoch: 1, publicKey: hex(clusterPair.publicKey) },
  formerKey: null,
  coordinator: { kind: 'embedded', node: id },
  createdAt: '2026-11-28T00:00:00.000Z',
}
const contact = { signKey, addresses: member.addresses }
const invite = { cluster, seed: seedOf(3), expiresMs: 1_800_000_000_000, contacts: [contact] }

/** Bytes of version 1, made with Python's cryptography and hashlib as well; they stay readable for ever. */
const GOLDEN = {
  line: 'weft1:ASNFZ4mrze8BI0VniavN7wMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDANJJawFf42FCviXYdE1xbnL7aVXurEs6YOqKf7RXoPpi5cghUwIIMTAuMC4wLjFREQdmZDAwOjoxURFC6ryK',
  signature:
    '4830641374212a430629673f9e6e6f6a02798d3c02b17e37444ec6fa050086e8d362c0f0be5745c703a816ff5541de7f73d7dfe42e877343e653c3bc8c305009',
}

function messageOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    assert.instance(error, FsError)
    return (error as FsError).message
  }
  return ''
}

test('an invite is the same line for ever, and is read back as it was', () => {
  const line = formatInvite(invite)
  assert.is(line, GOLDEN.line)
  assert.equal(parseInvite(line), invite)
  assert.equal(parseInvite(` ${line.slice(0, 80)}\n  ${line.slice(80)}\r\n`), invite)
})

test('an invite stays within a line, with as many contacts as fit', () => {
  for (let count = 1; count < 12; count++) {
    const contacts = Array.from({ length: count }, (_, i) => ({
      signKey: hex(identityFromSeed(seedOf(i + 1)).sign.publicKey),
      addresses: ['203.0.113.200', 'fd00:1111:2222:3333:4444:5555:6666:7777', 'n.example'].map(
        (host) => ({ host, port: 65535 }),
      ),
    }))
    const line = formatInvite({ ...invite, contacts })
    assert.ok(line.length <= limits.inviteLineCharsMax, `${line.length}`)
    const read = parseInvite(line).contacts
    assert.ok(read.length >= Math.min(count, 1))
    assert.is(read[0]?.signKey, contacts[0]?.signKey)
    assert.is(read[0]?.addresses.length, 2)
  }
  const three = Array.from({ length: 3 }, () => ({
    signKey,
    addresses: [parseAddress('10.20.30.40:4433')],
  }))
  assert.is(parseInvite(formatInvite({ ...invite, contacts: three })).contacts.length, 3)
  assert.equal(
    parseInvite(formatInvite({ ...invite, contacts: [{ signKey, addresses: [] }] })).contacts,
    [{ signKey, addresses: [] }],
  )
})

test('an invite that was cut, mistyped or is of a newer weft is refused in clear words', () => {
  const line = formatInvite(invite)
  assert.match(
    messageOf(() => parseInvite('hello')),
    /does not begin with weft1: *; copy the whole line/,
  )
  assert.match(
    messageOf(() => parseInvite('')),
    /does not begin with weft1:/,
  )
  assert.match(
    messageOf(() => parseInvite('weft2:AAAA')),
    /made by a newer weft \(version 2/,
  )
  assert.match(
    messageOf(() => parseInvite(`weft1:${'A'.repeat(5000)}`)),
    /too long/,
  )
  for (let at = 6; at < line.length; at++) {
    assert.match(
      messageOf(() => parseInvite(line.slice(0, at))),
      /cut short/,
      `${at}`,
    )
    const other = line[at] === 'A' ? 'B' : 'A'
    const typo = line.slice(0, at) + other + line.slice(at + 1)
    assert.match(
      messageOf(() => parseInvite(typo)),
      /cut short or mistyped/,
      `${at}`,
    )
  }
})

test('records are read back, and damage or a newer build is told apart', () => {
  assert.equal(decodeRecord(encodeRecord(record)), record)
  const newer = Buffer.from(JSON.stringify({ ...record, version: 2 }))
  assert.match(
    messageOf(() => decodeRecord(newer)),
    /cluster record: written by a newer weft/,
  )
  const inviteRecord = {
    version: 1,
    id: 'a'.repeat(32),
    publicKey: signKey,
    usesLeft: 1,
    usedBy: [] as NodeId[],
    createdAt: record.createdAt,
    createdBy: id,
    expiresMs: 1,
    revokedAt: null,
  } as const
  assert.equal(decodeInvite(encodeInvite(inviteRecord)), inviteRecord)
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('{}'),
    Buffer.from('[1]'),
    Buffer.from('null'),
  ]) {
    for (const decode of [decodeRecord, decodeInvite, decodeSigned, decodeWrappedKeys]) {
      assert.throws(
        () => decode(bytes),
        (error: unknown) => error instanceof CorruptError,
      )
    }
  }
})

test('a certificate holds for its cluster and key alone, and not when one character differs', () => {
  const signed = decodeSigned(encodeSigned(certificate.signed))
  assert.equal(openMember(signed, cluster, keys), certificate)
  assert.is(signed.signature, GOLDEN.signature)
  const refused = (change: Partial<typeof signed>, of = cluster, by = keys) =>
    assert.throws(
      () => openMember({ ...signed, ...change }, of, by),
      (error: unknown) => error instanceof CorruptError,
    )
  refused({ text: signed.text.replace('node-a', 'node-b') })
  refused({ keyEpoch: 2 })
  refused({}, 'f'.repeat(32) as ClusterId)
  refused({}, cluster, [{ keyEpoch: 1, publicKey: signKey }])
  refused({ signature: '0'.repeat(128) })
  const other = signMember(
    { ...member, node: 'f'.repeat(32) as NodeId },
    { keyEpoch: 1, secretKey: clusterPair.secretKey },
  )
  assert.throws(
    () => openMember(other.signed, cluster, keys),
    (error: unknown) => error instanceof CorruptError && /contradicts itself/.test(error.message),
  )
})

const request = {
  cluster,
  inviteKey: hex(clusterPair.publicKey),
  node: id,
  signKey,
  boxKey: member.boxKey,
  name: 'node-a',
  domain: nowhere,
  addresses: member.addresses,
  sentMs: 1_790_000_000_000,
  to: 'a'.repeat(64),
}
const view = {
  record,
  members: [certificate.signed],
  removed: [],
  wrapped: '',
  succession: null,
}

test('join messages are read back, and garbage ends in a ProtocolError and nothing else', () => {
  const asked = encodeJoinRequest(request, node.sign, clusterPair)
  assert.equal(decodeJoinRequest(asked), request)
  const answers = [
    encodeJoinAnswer({ result: 'admitted', view }),
    encodeJoinAnswer({ result: 'refused', reason: 'of-a-newer-build', message: 'no' }),
  ]
  assert.equal(decodeJoinAnswer(answers[0] as Buffer), { result: 'admitted', view })
  const random = seeded(3)
  const broken = (bytes: Buffer): Buffer => {
    if (random.below(4) === 0) return random.bytes(random.below(200))
    const copy = Buffer.from(
      bytes.subarray(0, bytes.length - (random.below(2) && random.below(bytes.length))),
    )
    for (let i = random.below(4); i > 0; i--) copy[random.below(copy.length)] = random.below(256)
    return copy
  }
  let refused = 0
  for (let i = 0; i < 3000; i++) {
    for (const [decode, bytes] of [
      [decodeJoinRequest, asked],
      [decodeJoinAnswer, answers[i % 2] as Buffer],
    ] as const) {
      try {
        decode(broken(bytes))
      } catch (error) {
        assert.instance(error, ProtocolError, String(error))
        refused++
      }
    }
  }
  assert.ok(refused > 2500, `${refused}`)
  const tooLong = Buffer.alloc(limits.joinRequestBytesMax + 1, ' ')
  assert.throws(() => decodeJoinRequest(tooLong), /at most 16384 allowed/)
  assert.throws(
    () => decodeJoinAnswer(Buffer.from('{"version":2}')),
    (error: unknown) => error instanceof ProtocolError && /of version 2/.test(error.message),
  )
})

test('a failure domain is read as typed, and a slip is refused in clear words', () => {
  assert.equal(parseDomain('region=eu,zone=1,rack=r1'), {
    region: 'eu',
    zone: '1',
    rack: 'r1',
    enclosure: null,
  })
  assert.equal(parseDomain(''), nowhere)
  assert.equal(parseDomain(' rack=r1 , region=eu '), { ...nowhere, rack: 'r1', region: 'eu' })
  for (const text of ['', 'region=eu', 'region=eu,zone=1,rack=r1,enclosure=e.1_a-b']) {
    assert.is(formatDomain(parseDomain(text)), text)
  }
  const said = (text: string) => messageOf(() => parseDomain(text))
  assert.is(
    said('row=7'),
    'domain: unknown level "row"; the levels are region, zone, rack, enclosure',
  )
  assert.is(
    said('rack'),
    'domain: "rack" has no "="; write level=value, as in region=eu,zone=1,rack=r1',
  )
  assert.is(said('rack=a,rack=b'), 'domain: rack is given twice; give it once')
  assert.match(said('rack=a,,zone=1'), /an empty part/)
  assert.match(said('rack='), /rack is empty; use letters, .* as in rack=r1, or leave it out/)
  assert.match(said('rack=a b'), /rack "a b": " " is not allowed; use letters/)
  assert.match(said('rack=-a'), /begins with "-"; begin with a letter or a digit/)
  assert.match(said(`zone=${'z'.repeat(65)}`), /is 65 characters long; use at most 64/)
})

test('an address is read as typed, and what is none is refused', () => {
  for (const text of ['10.0.0.1:4433', '[fd00::1]:1', 'node-a.example:65535', 'localhost:1']) {
    assert.is(formatAddress(parseAddress(text)), text)
  }
  for (const text of [
    '',
    'host',
    ':1',
    'host:',
    'host:0',
    'host:65536',
    'fd00::1:4433',
    '[host]:1',
  ]) {
    assert.match(
      messageOf(() => parseAddress(text)),
      /^address /,
      text,
    )
  }
  for (const host of ['1.2.3', '1.2.3.400', '-a', 'a-', 'a..b', 'a b', 'fe80::1%eth0', 'ä']) {
    assert.match(
      messageOf(() => parseAddress(`${host}:1`)),
      /^address /,
      host,
    )
  }
})

test.run()
