/**
 * The conformance suite on any directory, for looking at one filesystem by hand:
 * `node dist/scripts/posix.js DIR [--no zeroRange,directIo,exactHoles,userXattrs] [NAME…]`. As root. Prints each failing case; exit 1 when there is one.
 */
import { resolve } from 'node:path'
import { posix } from '../test/conformance/posix.ts'

const [dir, ...rest] = process.argv.slice(2)
if (!dir) {
  console.error('usage: posix DIR [--no zeroRange,directIo,exactHoles,userXattrs] [NAME…]')
  process.exit(64)
}
const no = rest[0] === '--no' ? (rest.splice(0, 2)[1]?.split(',') ?? []) : []
const options = Object.fromEntries(no.map((name) => [name, false]))
let passed = 0
let failed = 0
for (const one of posix(resolve(dir), options)) {
  if (rest.length > 0 && !rest.some((name) => one.name.includes(name))) continue
  try {
    await one.run()
    passed++
  } catch (error) {
    failed++
    const text = error instanceof Error ? error.message.trim() : String(error)
    console.log(`✗ ${one.name}\n    ${text.replaceAll('\n', '\n    ')}`)
  }
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
