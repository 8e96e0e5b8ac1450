import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DriveId, NodeId, VolumeId } from '../../src/base/index.ts'
import {
  type Candidate,
  choosePlaces,
  chooseSpare,
  type PlacementWish,
} from '../../src/replication/index.ts'
import { seeded } from '../support/seeded.ts'

const GIB = 2 ** 30
const volume = (n: number) => n.toString(16).padStart(32, '0') as VolumeId

/** Node n of a rack and zone, one drive each. */
function node(n: number, rack: string | null = null, zone: string | null = null): Candidate {
  const id = n.toString(16).padStart(32, '0')
  return {
    node: id as NodeId,
    nodeName: `n${n}`,
    drive: `d${id.slice(1)}` as DriveId,
    class: 2,
    freeBytes: 100 * GIB,
    domain: { region: null, zone, rack, enclosure: null },
  }
}

const wish: PlacementWish = {
  volume: volume(1),
  name: 'db',
  copies: 3,
  spread: 'node',
  class: null,
  bytesMin: GIB,
  home: null,
}

const numbers = (places: readonly { node: NodeId }[]) =>
  places.map((place) => Number.parseInt(place.node, 16)).sort((a, b) => a - b)

test('copies are on nodes of their own, and the same ones whoever asks', () => {
  const nodes = [1, 2, 3, 4, 5, 6].map((n) => node(n))
  const two = { ...node(1), drive: 'e'.repeat(32) as DriveId }
  const places = choosePlaces(wish, [...nodes, two])
  assert.is(new Set(places.map((place) => place.node)).size, 3)
  assert.equal(choosePlaces(wish, [two, ...nodes].reverse()), places)
})

test('the first copy is where the volume is used, also if others have more room', () => {
  const nodes = [1, 2, 3, 4].map((n) => node(n))
  const [home] = nodes as [Candidate]
  const small = { ...home, freeBytes: 2 * GIB }
  assert.is(
    choosePlaces({ ...wish, home: home.node }, [small, ...nodes.slice(1)])[0]?.node,
    home.node,
  )
})

test('a class that is short is taken from below where that was allowed, never from above', () => {
  const [low, medium, high] = [1, 2, 3].map((n) => ({ ...node(n), class: n as 1 | 2 | 3 }))
  const all = [low, medium, high] as Candidate[]
  const two = { ...wish, copies: 2, class: 2 as const }
  assert.throws(() => choosePlaces(two, all), /drives of class 2/)
  assert.equal(numbers(choosePlaces({ ...two, orLower: true }, all)), [1, 2])
  assert.throws(() => choosePlaces({ ...two, copies: 3, orLower: true }, all), /drives of class 2/)
})

test('copies go as far apart as domains allow, and never nearer than was asked', () => {
  const nodes = [node(1, 'r1'), node(2, 'r1'), node(3, 'r2'), node(4, 'r2'), node(5, 'r3')]
  for (let n = 0; n < 50; n++) {
    const racks = choosePlaces({ ...wish, volume: volume(n) }, nodes).map(
      (place) => nodes.find((one) => one.node === place.node)?.domain.rack,
    )
    assert.is(new Set(racks).size, 3, `volume ${n}`)
  }
  const error = refusal({ ...wish, spread: 'rack' }, nodes.slice(0, 4))
  assert.match(
    error.message,
    /volume db: 3 copies, each in a rack of its own.*there are 2: on n1, n2, n3, n4/,
  )
  assert.is(choosePlaces({ ...wish, spread: 'node' }, nodes.slice(0, 4)).length, 3)
})

test('rack 1 of two zones is two racks, and a node that says nothing is a domain of its own', () => {
  const nodes = [node(1, 'r1', 'z1'), node(2, 'r1', 'z2'), node(3)]
  assert.equal(numbers(choosePlaces({ ...wish, spread: 'rack' }, nodes)), [1, 2, 3])
})

test('a class is kept to when asked for, and the best comes first when not', () => {
  const nodes = [1, 2, 3, 4, 5].map((n) => ({ ...node(n), class: n > 2 ? 3 : 1 }) as Candidate)
  assert.equal(numbers(choosePlaces(wish, nodes)), [3, 4, 5])
  assert.equal(numbers(choosePlaces({ ...wish, copies: 2, class: 1 }, nodes)), [1, 2])
  assert.match(
    refusal({ ...wish, class: 1 }, nodes).message,
    /passed over, by class or room: n3, n4, n5/,
  )
})

test('volumes spread over drives as their room does', () => {
  const dice = seeded(3)
  const nodes = [node(1), node(2), { ...node(3), freeBytes: 300 * GIB }]
  const counts = new Map<number, number>()
  for (let n = 0; n < 3000; n++) {
    const id = dice.bytes(16).toString('hex') as VolumeId
    const [place] = choosePlaces({ ...wish, volume: id, copies: 1 }, nodes)
    const number = Number.parseInt(place?.node ?? '', 16)
    counts.set(number, (counts.get(number) ?? 0) + 1)
  }
  assert.ok(Math.abs((counts.get(3) ?? 0) / 3000 - 0.6) < 0.05, `${counts.get(3)} of 3000`)
})

test('a drive without room is passed over', () => {
  const nodes = [node(1), node(2), { ...node(3), freeBytes: GIB - 1 }]
  assert.equal(numbers(choosePlaces({ ...wish, copies: 2 }, nodes)), [1, 2])
  assert.is(refusal(wish, nodes).code, 'ENOSPC')
})

function refusal(
  asked: PlacementWish,
  nodes: readonly Candidate[],
): { code: string; message: string } {
  try {
    choosePlaces(asked, nodes)
  } catch (error) {
    return error as { code: string; message: string }
  }
  throw new Error('nothing was refused')
}

test('a spare stands apart from the copies that stay, as far as it can, and best by class and room', () => {
  const nodes = [node(1, 'r1'), node(2, 'r2'), node(3, 'r1'), node(4, 'r2'), node(5, 'r3')]
  const standing = [nodes[0], nodes[1]] as Candidate[]
  const racks = { ...wish, spread: 'rack' as const }
  assert.equal(numbers([chooseSpare(racks, standing, nodes)]), [5])
  const fast = [...nodes, { ...node(6, 'r4'), class: 3 as const }]
  assert.equal(numbers([chooseSpare(racks, standing, fast)]), [6])
  const full = nodes.map((one) => (one.node === nodes[4]?.node ? { ...one, freeBytes: 1 } : one))
  const near = chooseSpare(racks, standing, full)
  assert.is(near.spread, 'enclosure', 'a copy too near to another is better than none')
  assert.ok([3, 4].includes(numbers([near])[0] as number))
})

test('with no node left a spare is refused with what would help', () => {
  const nodes = [node(1), node(2)]
  const refused = () => chooseSpare(wish, nodes, nodes)
  assert.throws(refused, (error: { code: string; subject: { next: string } }) => {
    return error.code === 'ENOSPC' && /add a node/.test(error.subject.next)
  })
})

test.run()
