import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { VolumeProbe } from '../../src/api/index.ts'
import {
  keyFileText,
  newKeyPair,
  readKeyFile,
  readShareFile,
  shareFileText,
  writeSecretFile,
} from '../../src/cli/key-files.ts'
import { probeText } from '../../src/cli/listings.ts'
import { fromMountHelper, parseMountOptions } from '../../src/cli/mount-options.ts'
import { duration, fields, printable, size, table } from '../../src/cli/render.ts'

test('sizes have three digits and a unit', () => {
  const cases: [number, string][] = [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [100 * 1024 ** 3, '100 GiB'],
    [1024 ** 2 - 1, '1.0 MiB'],
    [1.5 * 1024 ** 4, '1.5 TiB'],
    [5000 * 1024 ** 5, '5000 PiB'],
    [-2048, '-2 KiB'],
  ]
  for (const [bytes, text] of cases) assert.is(size(bytes), text)
})

test('durations have their two largest parts', () => {
  const cases: [number, string][] = [
    [0, '0 s'],
    [59.9, '59 s'],
    [61, '1 min 1 s'],
    [3600, '1 h'],
    [90_061, '1 d 1 h'],
    [86_400, '1 d'],
  ]
  for (const [seconds, text] of cases) assert.is(duration(seconds), text)
})

test('what came of a probe is a few words', () => {
  const probe: VolumeProbe = {
    state: 'ok',
    kind: 'commit',
    ms: 1.84,
    succeededAt: '2026-11-29T00:00:00.000Z',
    succeededSeconds: 14,
    forSeconds: 0,
    waitsFor: '',
    code: '',
    why: '',
  }
  const waitsFor = 'copy on node-b'
  const cases: [VolumeProbe | undefined, string][] = [
    [probe, 'ok 1.8 ms'],
    [{ ...probe, ms: 141.3 }, 'ok 141 ms'],
    [{ ...probe, succeededSeconds: 75 }, 'ok 1.8 ms, 1 min 15 s ago'],
    [{ ...probe, ms: null }, 'ok'],
    [{ ...probe, state: 'silent', forSeconds: 12, waitsFor }, 'no answer for 12 s: copy on node-b'],
    [{ ...probe, state: 'failed', code: 'ENOSPC' }, 'failed: ENOSPC'],
    [{ ...probe, state: 'locked' }, 'locked'],
    [{ ...probe, state: 'closed' }, '-'],
    [{ ...probe, state: 'unused' }, 'not used here'],
    [{ ...probe, state: 'unknown' }, 'none yet'],
    [undefined, '-'],
  ]
  for (const [one, text] of cases) assert.is(probeText(one), text)
})

test('tables are aligned, numbers to the right, and control characters shown', () => {
  assert.is(
    table(
      [{ title: 'A' }, { title: 'N', right: true }],
      [
        ['long', '1'],
        ['ü', '234'],
        ['x\n', ''],
      ],
    ),
    'A        N\nlong     1\nü      234\nx\\x0a\n',
  )
  assert.is(table([{ title: 'A' }], [], '  '), '  A\n')
  assert.is(
    fields([
      ['a', '1'],
      ['long', '2'],
    ]),
    'a     1\nlong  2\n',
  )
  assert.is(printable('\x1b[31mred\x7f'), '\\x1b[31mred\\x7f')
})

test('mount options: words of mount(8) are let through, ours are read, others are refused', () => {
  assert.equal(parseMountOptions(['defaults,_netdev,nofail,x-systemd.automount,rw']), {
    readOnly: false,
    nonempty: false,
    driver: undefined,
    home: undefined,
    volume: undefined,
    flags: [],
  })
  assert.equal(
    parseMountOptions(['ro,noexec', 'nosuid,home=/srv/w,volume=db,driver=kernel,nonempty']),
    {
      readOnly: true,
      nonempty: true,
      driver: 'kernel',
      home: '/srv/w',
      volume: 'db',
      flags: ['noexec', 'nosuid'],
    },
  )
  assert.is(parseMountOptions(['ro,rw']).readOnly, false)
  assert.is(parseMountOptions(['rw', 'ro']).readOnly, true)
  for (const word of ['compress', 'home=relative', 'driver=other', 'volume=', 'remount']) {
    assert.throws(
      () => parseMountOptions([word]),
      (error: Error) => error.message.includes(`"${word}"`),
    )
  }
})

test('a mount helper line becomes a command line', () => {
  assert.equal(fromMountHelper(['weft', '/mnt/weft', '-o', 'rw,nosuid']), [
    'mount',
    '/mnt/weft',
    '-o',
    'rw,nosuid',
  ])
  assert.equal(fromMountHelper(['weft', '/mnt/weft', '-nv', '-t', 'fuse.weft', '-N', '12', '-r']), [
    'mount',
    '/mnt/weft',
    '-o',
    'ro',
  ])
  assert.is(fromMountHelper(['-f', 'weft', '/mnt/weft']), null)
  assert.throws(() => fromMountHelper(['weft']))
  assert.throws(() => fromMountHelper(['weft', '/a', '/b']))
})

test('key and share files read back what was written, and every changed line is noticed', () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-keys-'))
  try {
    const path = join(dir, 'k')
    const pair = newKeyPair()
    assert.is.not(newKeyPair().secretKey, pair.secretKey)
    writeSecretFile(path, keyFileText(pair))
    assert.equal(readKeyFile(path), pair)
    assert.throws(() => writeSecretFile(path, 'x'), /it exists already/)
    const share = {
      volume: 'notes',
      slot: '3',
      number: 1,
      shares: 5,
      threshold: 3,
      data: 'AAECAw==',
    }
    const text = shareFileText(share)
    const other = join(dir, 's')
    writeFileSync(other, `\n  ${text.replaceAll('\n', '\r\n')}\n`)
    assert.equal(readShareFile(other), share, 'blank lines and line ends do not matter')
    text.split('\n').forEach((line, at, lines) => {
      if (line === '') return
      writeFileSync(other, [...lines.slice(0, at), ...lines.slice(at + 1)].join('\n'))
      assert.throws(() => readShareFile(other), undefined, `without "${line}"`)
      writeFileSync(
        other,
        [...lines.slice(0, at), line.replace(/.$/, '#'), ...lines.slice(at + 1)].join('\n'),
      )
      assert.throws(() => readShareFile(other), undefined, `with "${line}" changed`)
    })
    assert.throws(() => readShareFile(path), /is not a "WEFT KEY SHARE" file/)
    assert.throws(() => readShareFile(join(dir, 'none')), /no such file/)
  } finally {
    rmSync(dir, { recursive: true })
  }
})

test.run()
