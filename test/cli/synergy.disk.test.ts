import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'
import { EXIT } from '../../src/cli/exit-codes.ts'
import { fakeNode } from '../api/fake-control.ts'
import { frameDrive, frameStatus, TAG } from '../api/fake-frame-control.ts'
import { type CallOptions, weft } from './fake-terminal.ts'

const PIN = `sha256:${'ab'.repeat(32)}`

async function world() {
  const node = await fakeNode()
  const dir = mkdtempSync(join(tmpdir(), 'weft-cli-'))
  writeFileSync(join(dir, 'pw'), 'open sesame\n')
  writeFileSync(join(dir, 'ca.pem'), 'PEM')
  return {
    node,
    run: (line: string, options?: CallOptions) =>
      weft(['--home', node.home, ...line.split(' ')], { cwd: dir, ...options }),
    asked: (op: string) => node.calls.filter((call) => call.startsWith(`${op} `)),
    async close() {
      await node.close()
      rmSync(dir, { recursive: true })
    },
  }
}

/** As after a restart of the daemon: it knows no job of before. */
function forgotten(): FsError {
  return new FsError('ENOENT', 'job', { message: 'there is no job' })
}

test('connect sends the password from its file, shows what was found, and nobody keeps the password', async () => {
  const w = await world()
  try {
    const ran = await w.run(
      'synergy connect https://composer --user weft --password-file pw --ca ca.pem',
    )
    assert.is(
      ran.out,
      'connected to https://composer as weft\n  class high: 1 drive free, 745 GiB\n  class medium: 1 drive free, 745 GiB\n  nodes of this cluster have 1 drive already\n',
    )
    assert.equal(w.asked('synergy.connect'), [
      'synergy.connect {"url":"https://composer","user":"weft","ca":"PEM","password":"open sesame"}',
    ])
    assert.ok(w.node.lent.length > 0)
    assert.ok(w.node.lent.every((lent) => lent.every((byte) => byte === 0)))
  } finally {
    await w.close()
  }
})

test('connect asks for the password when no file is named, takes a pin, and no password on the command line', async () => {
  const w = await world()
  try {
    const ran = await w.run(`synergy connect https://composer --user weft --pin ${PIN}`, {
      typed: ['from the keyboard'],
    })
    assert.is(ran.exit, EXIT.ok, ran.err)
    assert.match(w.asked('synergy.connect')[0] ?? '', /"pin":"sha256:.*"from the keyboard"/)
    assert.is(
      (await w.run(`synergy connect https://c --user w --pin=${PIN} --password-file pw`)).exit,
      0,
    )
    for (const wrong of [
      'synergy connect https://c --user w --password secret1',
      'synergy connect https://c --user w --pin 1234',
      'synergy connect https://c --user w --pin=1234',
    ]) {
      const refused = await w.run(wrong)
      assert.is(refused.exit, EXIT.usage)
      assert.not.match(refused.err, /secret1|1234/)
      assert.match(refused.err, /--password-file/)
    }
    const both = await w.run(`synergy connect https://c --user w --ca ca.pem --pin ${PIN}`)
    assert.match(both.err, /--ca and --pin are both given/)
    assert.match(
      (await w.run('synergy connect https://c --password-file pw')).err,
      /USER is missing/,
    )
    assert.match(
      (await w.run('synergy connect https://c --user w --ca no.pem')).err,
      /cannot read no.pem/,
    )
    assert.is(w.asked('synergy.connect').length, 2)
  } finally {
    await w.close()
  }
})

test('status, free and check are tables for people and arrays with id and name for scripts', async () => {
  const w = await world()
  try {
    w.node.frame.status = frameStatus({
      drives: [
        frameDrive(),
        frameDrive({ id: `${TAG}b`, step: 'needs-power-off', trouble: 'switch it off' }),
      ],
    })
    const status = await w.run('synergy status')
    assert.match(status.out, /^appliance +https:\/\/composer, as weft, known by a CA$/m)
    assert.match(status.out, /Frame1, bay 3, drive 12 +medium +745 GiB +in use +S3RIAL12$/m)
    assert.match(status.out, /needs power off/)
    assert.match(status.out, /b: switch it off\n/)
    const free = await w.run('synergy free --class 3')
    assert.match(free.out, /^NAME .*\nFrame1, bay 3, drive 13 +high +745 GiB +B\n$/)
    const lists = [
      'synergy free',
      'synergy status',
      'synergy status --check',
      'policy plan',
      'policy log',
    ]
    for (const line of lists) {
      const answer = (await w.run(`${line} --json`)).json() as Record<string, unknown>
      const list = Object.values(answer).find(Array.isArray) as { id: string; name: string }[]
      assert.ok(list.length > 0 && list.every(({ id, name }) => id && name), line)
    }
    assert.match((await w.run('synergy status --check')).out, /ok +API version +800 is spoken/)
    w.node.frame.status = frameStatus({ connection: null })
    assert.match(
      (await w.run('synergy status')).out,
      /^no frame is connected: weft synergy connect/,
    )
  } finally {
    await w.close()
  }
})

test('allocate with --plan changes nothing, and without it shows the drives that were taken', async () => {
  const w = await world()
  try {
    const planned = await w.run('synergy allocate --class 2 --drives 1 --plan')
    assert.is(planned.out, 'take Frame1, bay 3, drive 12, 745 GiB\n')
    w.node.frame.onJob = () => {
      w.node.frame.status = frameStatus({ drives: [frameDrive()] })
    }
    const ran = await w.run('synergy allocate --class 2 --drives 1')
    assert.is(ran.exit, EXIT.ok, ran.err)
    assert.match(ran.out, /in use/)
    assert.equal(w.asked('synergy.allocate'), [
      'synergy.allocate {"class":2,"drives":1,"plan":true}',
      'synergy.allocate {"class":2,"drives":1,"plan":false}',
    ])
    assert.match((await w.run('synergy allocate --class 2')).err, /--drives is missing/)
    assert.match((await w.run('synergy allocate --class 2 --drives 41')).err, /from 1 to 40/)
  } finally {
    await w.close()
  }
})

test('a restart of the daemon in the middle is lived through: what is missing is asked for again', async () => {
  const w = await world()
  try {
    w.node.frame.onJob = () => {
      const { drives } = w.node.frame.status
      w.node.frame.status = frameStatus({
        drives: [...drives, frameDrive({ id: `${TAG}${drives.length}` })],
      })
      w.node.failNext = drives.length === 0 ? forgotten() : undefined
    }
    const ran = await w.run('synergy allocate --class 2 --drives 2 --json')
    assert.is(ran.exit, EXIT.ok, ran.err)
    assert.is((ran.json() as { drives: unknown[] }).drives.length, 2)
    assert.equal(w.asked('synergy.allocate'), [
      'synergy.allocate {"class":2,"drives":2,"plan":false}',
      'synergy.allocate {"class":2,"drives":1,"plan":false}',
    ])
  } finally {
    await w.close()
  }
})

test('an allocate waits for its own drives, and not for one that is given back for hours', async () => {
  const w = await world()
  try {
    w.node.frame.onJob = () => {
      const leaving = frameDrive({ id: `${TAG}9`, towards: 'out', step: 'release' })
      w.node.frame.status = frameStatus({
        drives: [leaving, frameDrive({ id: `${TAG}1` })],
        reconciled: null,
        underWay: { what: 'reconcile', since: '', words: 'the appliance erases the drive' },
      })
      w.node.failNext = forgotten()
    }
    const ran = await w.run('synergy allocate --class 2 --drives 1 --json')
    assert.is(ran.exit, EXIT.ok, ran.err)
    assert.equal(
      (ran.json() as { drives: { id: string }[] }).drives.map(({ id }) => id),
      [`${TAG}1`],
    )
  } finally {
    await w.close()
  }
})

test('a release whose disk is lost is asked for as that', async () => {
  const w = await world()
  try {
    await w.run('synergy release S3RIAL12 --lost')
    assert.equal(w.asked('synergy.release'), [
      'synergy.release ["S3RIAL12",{"plan":false,"lost":true}]',
    ])
  } finally {
    await w.close()
  }
})

test('a drive that does not go on behind a restart is an error with its words, and so is a job that fails', async () => {
  const w = await world()
  try {
    w.node.frame.onJob = () => {
      const stuck = frameDrive({ step: 'needs-power-off', trouble: 'only with the server off' })
      w.node.frame.status = frameStatus({ drives: [stuck] })
      w.node.failNext = forgotten()
    }
    const ran = await w.run('synergy allocate --class 2 --drives 1')
    assert.is(ran.exit, EXIT.permission)
    assert.match(ran.err, /only with the server off\n {2}next: .*weft synergy release/)
    w.node.frame.onJob = () => {}
    w.node.jobFails = { code: 'ENOSPC', message: 'no free drive of class 2', next: '' }
    const failed = await w.run('synergy allocate --class 2 --drives 1')
    assert.is(failed.exit, EXIT.full)
    assert.match(failed.err, /no free drive of class 2\n {2}next: weft synergy status/)
  } finally {
    await w.close()
  }
})

test('a release whose job is forgotten is done when the drive is nobody’s any more, and told by its tag until then', async () => {
  const w = await world()
  try {
    assert.is((await w.run('synergy release S3RIAL12 --plan')).out, 'move 3 GiB\n')
    let lives = 0
    w.node.frame.onJob = () => {
      lives++
      const drives = lives === 1 ? [frameDrive({ towards: 'out', step: 'takeOut' })] : []
      w.node.frame.status = frameStatus({ drives })
      w.node.failNext = forgotten()
    }
    const ran = await w.run('synergy release S3RIAL12')
    assert.is(ran.out, 'Frame1, bay 3, drive 12 is free again\n', ran.err)
    assert.equal(w.asked('synergy.release').slice(1), [
      'synergy.release ["S3RIAL12",{"plan":false,"lost":false}]',
      `synergy.release ["${TAG}",{"plan":false,"lost":false}]`,
    ])
  } finally {
    await w.close()
  }
})

test('reconcile says what it found, and is asked again when the daemon restarted under it', async () => {
  const w = await world()
  try {
    w.node.failNext = undefined
    let lives = 0
    w.node.frame.onJob = () => {
      if (++lives === 1) w.node.failNext = forgotten()
    }
    const ran = await w.run('synergy reconcile --release-orphans')
    assert.is(ran.out, 'orphan: drive 12 is of nobody\n')
    const once = 'synergy.reconcile {"releaseOrphans":true,"retryPower":false}'
    assert.equal(w.asked('synergy.reconcile'), [once, once])
  } finally {
    await w.close()
  }
})

test('logout says what it leaves behind when it is forced', async () => {
  const w = await world()
  try {
    assert.is((await w.run('synergy logout')).out, 'no frame is connected any more\n')
    const forced = await w.run('synergy logout --force')
    assert.match(forced.out, /left before this server, in use: Frame1, bay 3, drive 12\n$/)
    assert.is(w.asked('synergy.logout').at(-1), 'synergy.logout {"force":true}')
  } finally {
    await w.close()
  }
})

test('policy set switches it on, but for --off, and sends what was said alone', async () => {
  const w = await world()
  try {
    assert.is((await w.run('policy set --grow-at 75% --budget 4/day')).out, 'policy on: as said\n')
    await w.run('policy set --off --cool-down 30m')
    await w.run('policy set --no-dry-run')
    assert.equal(w.asked('policy.set'), [
      'policy.set {"enabled":true,"growAt":"75%","budget":"4/day"}',
      'policy.set {"enabled":false,"coolDown":"30m"}',
      'policy.set {"enabled":true,"dryRun":false}',
    ])
    assert.is((await w.run('policy set')).exit, EXIT.usage)
    assert.match((await w.run('policy set --on --off')).err, /both given/)
    assert.is((await w.run('policy plan')).out, 'class medium: take: 80 % used, grow-at is 75 %\n')
    assert.match(
      (await w.run('policy log')).out,
      /grow ended, class medium, 1 min 30 s a drive: 80 % used/,
    )
  } finally {
    await w.close()
  }
})

test('a volume for which drives are taken first is created when they are there', async () => {
  const w = await world()
  try {
    const growing = { id: '1', kind: 'grow', startedAt: 'of another life' }
    w.node.failNext = new FsError('EAGAIN', 'volume.create', {
      growing,
      message: 'does not fit yet',
    })
    const ran = await w.run('volume create db --size 2T')
    assert.is(ran.exit, EXIT.ok, ran.err)
    assert.match(ran.out, /^volume db is created/)
    assert.is(w.asked('volumes.create').length, 2)
    // Whatever else is to be tried again is said, as ever.
    w.node.failNext = new FsError('EAGAIN', 'volume.create', { message: 'the coordinator is away' })
    assert.match((await w.run('volume create db2')).err, /coordinator is away/)
  } finally {
    await w.close()
  }
})

test('a class or a size for which drives are taken first is set when they are there', async () => {
  const w = await world()
  try {
    const growing = { id: '1', kind: 'grow', startedAt: 'of another life' }
    const short = () => new FsError('EAGAIN', 'volume', { growing, message: 'does not fit yet' })
    await w.run('volume create db')
    w.node.failNext = short()
    const resized = await w.run('volume resize db 200G')
    assert.is(resized.exit, EXIT.ok, resized.err)
    assert.match(resized.out, /^volume db has 200 GiB now/)
    assert.is(w.asked('volumes.resize').length, 2)
    w.node.failNext = short()
    const set = await w.run('volume cos db 3 --no-wait')
    assert.is(set.exit, EXIT.ok, set.err)
    assert.match(set.out, /^volume db is of class 3/)
    assert.is(w.asked('volumes.setClass').length, 2)
    w.node.failNext = new FsError('EAGAIN', 'volume.cos', { message: 'the coordinator is away' })
    assert.match((await w.run('volume cos db 3')).err, /coordinator is away/)
  } finally {
    await w.close()
  }
})

test('weft status has a section of the frame when one is connected', async () => {
  const w = await world()
  try {
    assert.not.match((await w.run('status')).out, /frame behind/)
    const before = w.node.control.status
    const synergy = frameStatus({ drives: [frameDrive()] })
    Object.assign(w.node.control, { status: async () => ({ ...(await before()), synergy }) })
    const { out } = await w.run('status')
    assert.match(out, /^frame behind https:\/\/composer: policy off$/m)
    assert.match(out, /^ {2}weft-aaaaaaaaaaaa.* in use +S3RIAL12$/m)
  } finally {
    await w.close()
  }
})

test.run()
