import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { COMMANDS } from '../../src/cli/commands.ts'
import { beforeLastCharacter } from '../../src/cli/terminal.ts'
import { type FakeNode, fakeNode } from '../api/fake-control.ts'
import { mainJs, weft } from './fake-terminal.ts'

const SECRET = 'hunter2-canary'

async function world(): Promise<{ node: FakeNode; dir: string; close(): Promise<void> }> {
  const node = await fakeNode()
  const dir = mkdtempSync(join(tmpdir(), 'weft-secret-'))
  return {
    node,
    dir,
    async close() {
      await node.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

test('a secret on the command line is refused by every command, before anything is sent, and never repeated', async () => {
  const w = await world()
  try {
    const tails = [
      [`--passphrase=${SECRET}`],
      ['--password', SECRET],
      [`--password=${SECRET}`],
      ['--secret', SECRET],
      [`--secret-key=${SECRET}`],
      ['--passwd', SECRET],
      [`-pass=${SECRET}`],
    ]
    for (const row of COMMANDS) {
      for (const tail of tails) {
        const places = (row.places.match(/<[^>]+>/g) ?? []).map(() => 'x')
        const ran = await weft(['--home', w.node.home, ...row.words.split(' '), ...places, ...tail])
        assert.is(ran.exit, 2, `${row.words} ${tail[0]}`)
        assert.not.match(ran.err + ran.out, SECRET)
        assert.match(
          ran.err,
          /a secret on the command line is refused.*\n {2}next: .*--passphrase-file/,
        )
      }
    }
    for (const words of [
      'key add notes',
      'key unlock notes',
      'volume create notes',
      'key drill notes b',
      'key import notes b',
    ]) {
      const ran = await weft(['--home', w.node.home, ...words.split(' '), '--passphrase', SECRET])
      assert.is(ran.exit, 2, words)
      assert.not.match(ran.err + ran.out, SECRET)
    }
    assert.equal(w.node.calls, [])
  } finally {
    await w.close()
  }
})

test('a passphrase comes from a file, its newline left out', async () => {
  const w = await world()
  try {
    const file = join(w.dir, 'pass')
    for (const [content, wanted] of [
      ['right horse\n', 'right horse'],
      ['right horse', 'right horse'],
      ['ends\r\n', 'ends'],
      [' blanks \n\n', ' blanks '],
    ]) {
      writeFileSync(file, content ?? '')
      const ran = await weft([
        '--home',
        w.node.home,
        'key',
        'add',
        'notes',
        '--passphrase-file',
        file,
      ])
      assert.is(ran.exit, 0, ran.err)
      assert.is(
        w.node.calls.at(-1),
        `keys.add ["notes",{"kind":"passphrase","passphrase":${JSON.stringify(wanted)}}]`,
      )
    }
    for (const [content, says] of [
      ['', /is empty/],
      ['\n', /is empty/],
      ['two\nlines\n', /more than one line/],
      ['x'.repeat(1025), /longer than 1024 bytes/],
    ] as const) {
      writeFileSync(file, content)
      const ran = await weft([
        '--home',
        w.node.home,
        'key',
        'add',
        'notes',
        '--passphrase-file',
        file,
      ])
      assert.is(ran.exit, 2)
      assert.match(ran.err, says)
    }
    const none = await weft([
      '--home',
      w.node.home,
      'key',
      'add',
      'notes',
      '--passphrase-file',
      join(w.dir, 'none'),
    ])
    assert.is(none.exit, 4)
  } finally {
    await w.close()
  }
})

test('a passphrase comes from a descriptor', async () => {
  const w = await world()
  const file = join(w.dir, 'pass')
  writeFileSync(file, 'right horse\n')
  const fd = openSync(file, 'r')
  try {
    const ran = await weft([
      '--home',
      w.node.home,
      'key',
      'unlock',
      'notes',
      '--passphrase-fd',
      String(fd),
    ])
    assert.is(ran.exit, 0, ran.err)
    const closed = await weft([
      '--home',
      w.node.home,
      'key',
      'unlock',
      'notes',
      '--passphrase-fd',
      '999',
    ])
    assert.is(closed.exit, 1)
    const word = await weft([
      '--home',
      w.node.home,
      'key',
      'unlock',
      'notes',
      '--passphrase-fd',
      SECRET,
    ])
    assert.is(word.exit, 2)
    assert.not.match(word.err, SECRET)
    const both = await weft([
      '--home',
      w.node.home,
      'key',
      'unlock',
      'notes',
      '--passphrase-fd',
      '3',
      '--passphrase-file',
      file,
    ])
    assert.is(both.exit, 2)
  } finally {
    closeSync(fd)
    await w.close()
  }
})

test('a new passphrase is asked for twice and has to agree, an old one once', async () => {
  const w = await world()
  try {
    const add = (typed: string[]) =>
      weft(['--home', w.node.home, 'key', 'add', 'notes', '--passphrase'], { typed })
    const good = await add(['eight words', 'eight words'])
    assert.is(good.exit, 0, good.err)
    assert.is(good.err, 'New passphrase: Again: ')
    const differ = await add(['eight words', 'eight wrods'])
    assert.is(differ.exit, 2)
    assert.match(differ.err, /the two passphrases differ/)
    assert.is((await add([''])).exit, 2)
    const open = await weft(['--home', w.node.home, 'key', 'unlock', 'notes', '--passphrase'], {
      typed: ['right horse'],
    })
    assert.is(open.exit, 0)
    const create = await weft(
      ['--home', w.node.home, 'volume', 'create', 'notes', '--passphrase'],
      { typed: ['a b', 'a b'] },
    )
    assert.is(create.exit, 0)
    assert.match(w.node.calls.at(-1) ?? '', '"passphrase":"a b"')
    assert.is((await weft(['--home', w.node.home, 'key', 'add', 'notes'])).exit, 2)
  } finally {
    await w.close()
  }
})

test('on a real terminal nothing typed is shown, backspace works, and Ctrl-C ends it', async () => {
  const w = await world()
  try {
    // script(1) gives the program a terminal; what it echoes comes out again. Typing waits for the question.
    const onTerminal = (keys: string) => {
      const inner = `${process.execPath} ${mainJs} --home ${w.node.home} key unlock notes --passphrase; echo "exit $?"`
      const typing = `sleep 1.5; printf '${keys}'; sleep 1`
      return spawnAsync(`(${typing}) | script -qec '${inner}' /dev/null`)
    }
    const opened = await onTerminal('right hX\\177orse\\r')
    assert.match(opened, /Passphrase: /)
    assert.match(opened, /volume notes is open/)
    assert.match(opened, /exit 0/)
    assert.not.match(opened, 'orse')
    const ended = await onTerminal('right\\003')
    assert.match(ended, /ended by Ctrl-C/)
    assert.match(ended, /exit 130/)
  } finally {
    await w.close()
  }
})

test('without a terminal the question is refused with the other ways', async () => {
  const w = await world()
  try {
    // setsid leaves the terminal of the test behind, if it has one.
    const ran = spawnSync(
      'setsid',
      [
        '-w',
        process.execPath,
        mainJs,
        '--home',
        join(w.dir, 'h'),
        'key',
        'unlock',
        'notes',
        '--passphrase',
      ],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        encoding: 'utf8',
      },
    )
    assert.is(ran.status, 2, ran.stderr)
    assert.match(
      ran.stderr,
      /there is no terminal to ask on\n {2}next: give it with --passphrase-file FILE or --passphrase-fd N, a password with --password-file or --password-fd\n$/,
    )
  } finally {
    await w.close()
  }
})

test('backspace takes a whole character', () => {
  const bytes = Buffer.from('aü€')
  assert.is(beforeLastCharacter(bytes, 6), 3)
  assert.is(beforeLastCharacter(bytes, 3), 1)
  assert.is(beforeLastCharacter(bytes, 1), 0)
  assert.is(beforeLastCharacter(bytes, 0), 0)
})

test.run()

/** The node that the command speaks to lives in this process, so this process must not block. */
async function spawnAsync(line: string): Promise<string> {
  const { spawn } = await import('node:child_process')
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', line], { stdio: ['ignore', 'pipe', 'pipe'], timeout: 15_000 })
    let text = ''
    child.stdout.on('data', (bytes: Buffer) => {
      text += bytes.toString()
    })
    child.stderr.on('data', (bytes: Buffer) => {
      text += bytes.toString()
    })
    child.on('error', reject)
    child.on('close', () => resolve(text))
  })
}
