import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError, limits, type NodeId } from '../../src/base/index.ts'
import {
  checkVolumeName,
  describeBytes,
  formatSize,
  formatVolumeSpec,
  parseSize,
  parseVolumeSpec,
  type VolumeSpec,
  type VolumeSpecRequest,
} from '../../src/volumes/index.ts'

const [a, b, c] = ['a', 'b', 'c'].map((digit) => digit.repeat(32) as NodeId) as [
  NodeId,
  NodeId,
  NodeId,
]
const one = { nodes: [a] }
const three = { nodes: [a, b, c] }
const plain: VolumeSpec = {
  name: 'x',
  sizeBytes: 2 ** 40,
  repl: 1,
  minimum: 1,
  cos: null,
  spread: 'node',
  nodes: null,
  onLoss: 'wait',
}

function messageOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    assert.instance(error, FsError)
    assert.is((error as FsError).code, 'EINVAL')
    return (error as FsError).message
  }
  return 'accepted'
}

test('a spec as text and the same as options are the same volume', () => {
  const wanted: VolumeSpec = { ...plain, name: 'mysql_vol', sizeBytes: 100 * 2 ** 30, cos: 3 }
  const text = 'size=100G,repl=1,cos=3,name=mysql_vol'
  assert.equal(parseVolumeSpec({ spec: text }, one), wanted)
  const fields = { size: '100G', repl: '1', cos: '3', name: 'mysql_vol' }
  assert.equal(parseVolumeSpec(fields, one), wanted)
  assert.equal(parseVolumeSpec({ spec: text, ...fields }, one), wanted)
  assert.equal(
    parseVolumeSpec({ spec: ' size=100G , cos=3,repl=1', name: 'mysql_vol' }, one),
    wanted,
  )
})

test('a name alone gives a thin volume with the default quota and one copy', () => {
  assert.equal(parseVolumeSpec({ name: 'x' }, one), plain)
  assert.is(plain.sizeBytes, limits.volumeBytesDefault)
})

test('every key that has a meaning is accepted', () => {
  const spec = `size=1M,repl=3,cos=auto,min=3,spread=node,aggr=1,on-loss=error,owner=stays,nodes=${c}+${a}+${b},name=x`
  assert.equal(parseVolumeSpec({ spec }, three), {
    ...plain,
    sizeBytes: 2 ** 20,
    repl: 3,
    minimum: 3,
    nodes: [a, b, c],
    onLoss: 'error',
    ownerStays: true,
  })
  assert.is(parseVolumeSpec({ spec: 'repl=3,name=x' }, three).minimum, 2)
  assert.is(parseVolumeSpec({ spec: 'repl=3,name=x', spread: 'rack' }, three).spread, 'rack')
})

test('a spec that is printed reads back as itself', () => {
  const specs = [
    'name=x',
    'size=1M,repl=1,name=a.b-c_d',
    'size=1048577,cos=2,on-loss=error,name=0',
    'owner=stays,name=x',
    'cos=3,cos-fallback=lower,name=x',
    'repl=2,spread=rack,name=x',
    `repl=2,min=2,nodes=${a}+${c},name=x`,
    'size=1536M,repl=3,min=3,cos=1,name=X',
  ]
  for (const spec of specs) {
    const parsed = parseVolumeSpec({ spec }, three)
    assert.equal(parseVolumeSpec({ spec: formatVolumeSpec(parsed) }, three), parsed, spec)
  }
  assert.is(
    formatVolumeSpec(parseVolumeSpec({ spec: 'name=x,cos=3,size=102400M' }, one)),
    'size=100G,repl=1,cos=3,name=x',
  )
})

const NAME_NEXT = 'use letters, digits, ".", "_" and "-", as in name=mysql_vol'
const SIZE_NEXT = 'use K, M, G or T, as in size=100G'
const SPEC_NEXT = 'write key=value, as in size=100G,repl=1,name=mysql_vol'
const KEYS = 'size, repl, cos, cos-fallback, name, aggr, spread, nodes, on-loss, min, owner'

const refusals: readonly [VolumeSpecRequest | string, string][] = [
  [
    'cos-fallback=lower,name=x',
    'cos-fallback: there is no class to fall back from; give cos=2 or cos=3 too',
  ],
  ['cos=2,cos-fallback=up,name=x', 'cos-fallback "up": unknown; use lower or none'],
  ['size=10X,name=x', `size "10X": unknown unit X; ${SIZE_NEXT}`],
  ['size=10GB,name=x', `size "10GB": unknown unit GB; ${SIZE_NEXT}`],
  ['size=10 G,name=x', `size "10 G": unknown unit  G; ${SIZE_NEXT}`],
  ['size=,name=x', `size "": not a number; ${SIZE_NEXT}`],
  ['size=G,name=x', `size "G": not a number; ${SIZE_NEXT}`],
  ['size=-1G,name=x', `size "-1G": not a number; ${SIZE_NEXT}`],
  ['size=1e9,name=x', `size "1e9": unknown unit e9; ${SIZE_NEXT}`],
  ['size=0x10M,name=x', `size "0x10M": unknown unit x10M; ${SIZE_NEXT}`],
  [
    'size=1.5G,name=x',
    'size "1.5G": not a whole number; use a smaller unit, as in size=1536M for 1.5G',
  ],
  ['size=0,name=x', `size "0": too small, a volume has at least 1M; ${SIZE_NEXT}`],
  ['size=1023K,name=x', `size "1023K": too small, a volume has at least 1M; ${SIZE_NEXT}`],
  [
    'size=4097T,name=x',
    'size "4097T": too large, a volume has at most 4096T; make several volumes',
  ],
  [
    'size=99999999999999999999T,name=x',
    'size "99999999999999999999T": too large, a volume has at most 4096T; make several volumes',
  ],
  ['size=1__proto__,name=x', `size "1__proto__": unknown unit __proto__; ${SIZE_NEXT}`],
  ['size=1constructor,name=x', `size "1constructor": unknown unit constructor; ${SIZE_NEXT}`],
  [
    'repl=3,name=x',
    'repl=3: each copy needs a node of its own and the cluster has 1 node; use repl=1, or add 2 nodes first',
  ],
  ['repl=0,name=x', 'repl=0: without a copy nothing is kept; use repl=1'],
  ['repl=two,name=x', 'repl "two": not a whole number; write it as in repl=1'],
  ['repl=-1,name=x', 'repl "-1": not a whole number; write it as in repl=1'],
  ['repl=1.0,name=x', 'repl "1.0": not a whole number; write it as in repl=1'],
  [
    'cos=4,name=x',
    'cos "4": unknown class of service; use 1 (HDD), 2 (SATA SSD), 3 (SAS SSD, NVMe) or auto',
  ],
  [
    'cos=,name=x',
    'cos "": unknown class of service; use 1 (HDD), 2 (SATA SSD), 3 (SAS SSD, NVMe) or auto',
  ],
  ['aggr=4,name=x', 'aggr=4: this build keeps a volume in one replica set; leave aggr out'],
  ['spread=rack,name=x', 'spread=rack: one copy cannot be spread; leave it out, or raise repl'],
  ['spread=node,name=x', 'spread=node: one copy cannot be spread; leave it out, or raise repl'],
  ['spread=galaxy,name=x', 'spread "galaxy": no failure domain; use spread=node'],
  ['min=2,name=x', 'min=2: more copies than repl=1 makes; use min=1 or less'],
  ['min=0,name=x', 'min=0: below half of repl=1; use min=1 or more'],
  ['owner=me,name=x', 'owner "me": unknown; use owner=follows or owner=stays'],
  ['on-loss=panic,name=x', 'on-loss "panic": unknown; use on-loss=wait or on-loss=error'],
  [`nodes=${b},name=x`, `nodes: no node "${b}" in this cluster; it has ${a}`],
  [`nodes=${a}+${a},name=x`, 'nodes: one node is named twice; name it once'],
  ['sze=1G,name=x', `unknown key "sze"; the keys are ${KEYS}`],
  ['__proto__=1,name=x', `unknown key "__proto__"; the keys are ${KEYS}`],
  ['=1G,name=x', `unknown key ""; the keys are ${KEYS}`],
  ['100G,name=x', `"100G": no "="; ${SPEC_NEXT}`],
  ['size=1G,,name=x', `spec "size=1G,,name=x": an empty part; ${SPEC_NEXT}`],
  ['', `spec "": an empty part; ${SPEC_NEXT}`],
  ['size=1G,size=1G,name=x', 'size is given twice; give it once'],
  ['size=1G', 'name missing: every volume has one; add it, as in name=mysql_vol'],
  ['name=', `name "": empty; ${NAME_NEXT}`],
  ['name=a/b', `name "a/b": "/" is not allowed; ${NAME_NEXT}`],
  ['name=mysql_vol:/var/lib', `name "mysql_vol:/var/lib": ":" is not allowed; ${NAME_NEXT}`],
  ['name=a=b', `name "a=b": "=" is not allowed; ${NAME_NEXT}`],
  ['name=a b', `name "a b": " " is not allowed; ${NAME_NEXT}`],
  ['name=käse', `name "käse": "ä" is not allowed; ${NAME_NEXT}`],
  ['name=a\nb', `name "a\\nb": "\\n" is not allowed; ${NAME_NEXT}`],
  ['name=.x', 'name ".x": begins with "."; begin with a letter, a digit or _'],
  ['name=..', 'name "..": begins with "."; begin with a letter, a digit or _'],
  ['name=-x', 'name "-x": begins with "-"; begin with a letter, a digit or _'],
  [`name=${'n'.repeat(65)}`, `name "${'n'.repeat(65)}": 65 bytes long; use at most 64`],
  [
    { spec: 'size=1G,name=x', size: '2G' },
    'size=1G in the text and 2G beside it: they differ; give size once',
  ],
  [
    { spec: 'name=x', name: 'y' },
    'name=x in the text and y beside it: they differ; give name once',
  ],
]

for (const [request, message] of refusals) {
  test(`refused: ${JSON.stringify(request).slice(0, 60)} with ${message.slice(0, 60)}`, () => {
    const asked = typeof request === 'string' ? { spec: request } : request
    assert.is(
      messageOf(() => parseVolumeSpec(asked, one)),
      message,
    )
  })
}

test('refusals that need more than one node count them', () => {
  const of = (spec: string) => messageOf(() => parseVolumeSpec({ spec }, three))
  assert.is(
    of('repl=4,name=x'),
    'repl=4: each copy needs a node of its own and the cluster has 3 nodes; use repl=3, or add 1 node first',
  )
  assert.is(of('repl=3,min=1,name=x'), 'min=1: below half of repl=3; use min=2 or more')
  assert.is(of(`repl=2,nodes=${a},name=x`), 'nodes: 1 named and repl=2; name 2 or more')
})

test('names at the limits are accepted', () => {
  for (const name of ['a', '0', '_', 'A.b-c_d', 'n'.repeat(64), 'a..', 'x.']) {
    assert.is(checkVolumeName(name), name)
  }
})

test('sizes are exact, in both directions', () => {
  const sizes: readonly [string, number, string][] = [
    ['1M', 1_048_576, '1M'],
    ['1024k', 1_048_576, '1M'],
    ['1048577', 1_048_577, '1048577'],
    ['100G', 107_374_182_400, '100G'],
    ['1536M', 1_610_612_736, '1536M'],
    ['2t', 2_199_023_255_552, '2T'],
    ['4096T', 2 ** 52, '4096T'],
    ['0001025K', 1_049_600, '1025K'],
  ]
  for (const [text, bytes, shortest] of sizes) {
    assert.is(parseSize(text), bytes)
    assert.is(formatSize(bytes), shortest)
    assert.is(parseSize(shortest), bytes)
  }
  assert.is(describeBytes(2.5 * 2 ** 30), '2.5 GiB')
  assert.is(describeBytes(12), '12 bytes')
})

test('no text makes the parser fail in any way but EINVAL, or takes long', () => {
  const alphabet = 'size=100GTrepl,cosname.-_+1 \0ä/"\\'
  let state = 1
  const next = (bound: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state % bound
  }
  let accepted = 0
  for (let round = 0; round < 20_000; round++) {
    const spec = Array.from({ length: next(40) }, () => alphabet[next(alphabet.length)]).join('')
    const tail = next(2) === 0 ? ',name=x' : ''
    if (messageOf(() => parseVolumeSpec({ spec: spec + tail }, one)) === 'accepted') accepted++
  }
  assert.ok(accepted < 20_000)
  for (const spec of [
    '='.repeat(1e6),
    ','.repeat(1e6),
    `size=${'9'.repeat(1e6)},name=x`,
    `name=${'n'.repeat(1e6)}`,
  ]) {
    assert.ok(messageOf(() => parseVolumeSpec({ spec }, one)).length < 400)
  }
})

test.run()
