import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { type NetworkInterfaceInfo, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError, FsError } from '../../src/base/index.ts'
import {
  addressesOf,
  mustBeFree,
  ownAddresses,
  PORT,
  parseNetwork,
  readNetwork,
  writeNetwork,
} from '../../src/daemon/cluster-network.ts'
import { systemDisk } from '../../src/disk/index.ts'

function inHome<T>(work: (home: string) => T): T {
  const home = mkdtempSync(join(tmpdir(), 'weft-network-'))
  try {
    return work(home)
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

function codeOfThrown(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (error instanceof FsError) return error.code
    if (error instanceof CorruptError) return 'corrupt'
    throw error
  }
  return 'nothing'
}

test('what was said of the network is read back as it was, and a home that says nothing has the default', () =>
  inHome((home) => {
    assert.equal(readNetwork(home, systemDisk), { listen: { port: PORT }, advertise: null })
    const given = { listen: '10.0.0.1:9000', advertise: ['node1.example:9000', '[fd00::1]:9000'] }
    const network = parseNetwork(given)
    writeNetwork(home, systemDisk, network)
    assert.equal(readNetwork(home, systemDisk), network)
    assert.equal(addressesOf(network), given.advertise)
    assert.equal(addressesOf(parseNetwork({ listen: '10.0.0.1:9000' })), ['10.0.0.1:9000'])
  }))

test('every address is listened on for a port alone, and for the addresses that stand for all', () => {
  for (const listen of [':9000', '0.0.0.0:9000', '[::]:9000'])
    assert.equal(parseNetwork({ listen }).listen, { port: 9000 })
  for (const listen of ['9000', 'host', 'host:0', 'host:70000', ''])
    assert.is(
      codeOfThrown(() => parseNetwork({ listen })),
      'EINVAL',
      listen,
    )
  const many = Array.from({ length: 9 }, (_, index) => `10.0.0.${index}:1`)
  assert.is(
    codeOfThrown(() => parseNetwork({ advertise: many })),
    'EINVAL',
  )
})

test('a damaged file and one of a newer build are told apart', () =>
  inHome((home) => {
    const write = (text: string) => writeFileSync(join(home, 'network.json'), text)
    write('{"version":2,"listen":"what a newer build knows"}')
    assert.is(
      codeOfThrown(() => readNetwork(home, systemDisk)),
      'ENOTSUP',
    )
    for (const text of ['', '{', '{"version":1}', 'null']) {
      write(text)
      assert.is(
        codeOfThrown(() => readNetwork(home, systemDisk)),
        'corrupt',
        text,
      )
    }
  }))

test('a machine says the addresses that another one can use, IPv4 first', () => {
  const of = (address: string, family: 'IPv4' | 'IPv6', internal = false) =>
    ({ address, family, internal }) as NetworkInterfaceInfo
  const found = ownAddresses({
    lo: [of('127.0.0.1', 'IPv4', true), of('::1', 'IPv6', true)],
    eth0: [of('fe80::1', 'IPv6'), of('fd00::5', 'IPv6'), of('10.0.0.5', 'IPv4')],
    eth1: [of('169.254.3.4', 'IPv4'), of('192.0.2.7', 'IPv4')],
  })
  assert.equal(found, ['10.0.0.5', '192.0.2.7', 'fd00::5'])
})

test('a port that somebody has is refused in words before anything is changed for it', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const { port } = server.address() as { port: number }
    const network = parseNetwork({ listen: `127.0.0.1:${port}` })
    const error = await mustBeFree(network).catch((thrown: unknown) => thrown)
    assert.instance(error, FsError)
    assert.is((error as FsError).code, 'EADDRINUSE')
    assert.match((error as FsError).message, new RegExp(`cannot listen on 127.0.0.1:${port}`))
    await new Promise((resolve) => server.close(resolve))
    await mustBeFree(network)
  } finally {
    server.close()
  }
})

test.run()
