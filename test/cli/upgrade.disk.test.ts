import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type FakeNode, fakeNode } from '../api/fake-control.ts'
import { mainJs, type Ran, weft } from './fake-terminal.ts'

interface World {
  readonly node: FakeNode
  readonly dir: string
  upgrade(...words: string[]): Promise<Ran>
  /** What `upgrade` makes the node run: a new pid, and the program named here. */
  becomes(program: string | undefined, version?: string): void
}

async function world(run: (world: World) => Promise<void>): Promise<void> {
  const node = await fakeNode()
  const dir = mkdtempSync(join(tmpdir(), 'weft-upgrade-'))
  const { status, upgrade } = node.control
  try {
    await run({
      node,
      dir,
      upgrade: (...words) =>
        weft(['--home', node.home, 'upgrade', ...words], { cwd: dir, program: mainJs }),
      becomes(program, version = '0.1.0') {
        Object.assign(node.control, {
          upgrade: async (request: { program?: string }) => {
            const answer = await upgrade(request)
            node.control.status = async () => {
              const now = await status()
              return {
                ...now,
                version,
                daemon: { ...now.daemon, pid: 7, program: program as string },
              }
            }
            return answer
          },
        })
      },
    })
  } finally {
    await node.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

const asked = ({ node }: World) => node.calls.filter((call) => call.startsWith('upgrade'))

test('a program that is missing, no program, or not weft is refused before anything is restarted', () =>
  world(async (w) => {
    const other = join(w.dir, 'other.cjs')
    writeFileSync(other, "console.log('hello')")
    const cases: [string, number, RegExp][] = [
      ['/nope.js', 4, /cannot use the program \/nope\.js: there is no such file/],
      ['/etc/passwd', 2, /\/etc\/passwd is not a weft program: .*prints no version \(SyntaxError/],
      [w.dir, 2, /is not a file/],
      ['other.cjs', 2, /other\.cjs is not a weft program: .*prints no version/],
    ]
    for (const [program, exit, says] of cases) {
      const ran = await w.upgrade('--program', program)
      assert.is(ran.exit, exit, ran.err)
      assert.match(ran.err, says)
      assert.match(ran.err, /\n {2}next: name another build's dist\/main\.js, as in: weft upgrade/)
      assert.is(ran.out, '')
    }
    assert.equal(asked(w), [])
  }))

test('a program that starts is said with its version, also by another name', () =>
  world(async (w) => {
    symlinkSync(mainJs, join(w.dir, 'link.js'))
    w.becomes(mainJs)
    const ran = await w.upgrade('--program', 'link.js')
    assert.is(ran.exit, 0, ran.err)
    assert.match(ran.out, /^weft 0\.1\.0 runs, daemon pid 7 \(before: 0\.1\.0\)\n$/)
    assert.equal(asked(w), [`upgrade {"program":"${mainJs}"}`])
  }))

test('a keeper that went back to the program before is a failure', () =>
  world(async (w) => {
    w.becomes('/opt/weft/dist/main.js')
    const ran = await w.upgrade()
    assert.is(ran.exit, 1)
    assert.match(
      ran.err,
      /main\.js\) did not start, and the keeper went back: weft 0\.1\.0 \(\/opt\//,
    )
    assert.match(ran.err, /\n {2}next: see .*keeper\.log/)
    assert.is(ran.out, '')
  }))

test('an older build, which does not say what it runs, is known by its version', () =>
  world(async (w) => {
    w.becomes(undefined, '0.0.9')
    assert.is((await w.upgrade()).exit, 1)
  }))

test.run()
