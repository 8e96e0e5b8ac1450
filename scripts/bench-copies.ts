/**
 * What a volume on three copies costs on this machine: three nodes in processes of their own on loopback, their drives
 * under TMPDIR. fsync: records of 4 KiB, each confirmed durable by all three. Chunks: 4 MiB each, on all three, the own copy
 * having it already. `TMPDIR=/dev/shm node dist/scripts/bench-copies.js [rounds]`
 */
import { CopiesWorld } from '../test/daemon/copies-world.ts'

const rounds = Number(process.argv[2] ?? 5)
const SECONDS = 2
const CHUNKS = 32

const world = new CopiesWorld(3, 3)
try {
  await world.open()
  const [owner] = world.nodes
  if (!owner) throw new Error('there is a first node')
  await owner.call('lead', { deadlineMs: 20_000 })
  for (const atOnce of [1, 16]) {
    await report(`fsync of a 4-KiB record, ${atOnce} at once, per second`, async () => {
      return (await owner.call('benchSync', { seconds: SECONDS, atOnce })).perSecond
    })
  }
  for (const atOnce of [1, 4]) {
    await report(`putChunk of 4 MiB, ${atOnce} at once, MiB/s`, async () => {
      return (await owner.call('benchChunks', { count: CHUNKS, atOnce })).mibPerSecond
    })
  }
} finally {
  await world.close()
}

async function report(what: string, measure: () => Promise<number>): Promise<void> {
  const seen: number[] = []
  for (let round = 0; round < rounds; round++) seen.push(await measure())
  seen.sort((a, b) => a - b)
  const [min, median, max] = [seen[0], seen[seen.length >> 1], seen.at(-1)].map((value) =>
    Math.round(value ?? 0),
  )
  console.log(`${what}: min ${min}, median ${median}, max ${max}`)
}
