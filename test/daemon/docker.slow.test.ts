// deadline: 180 s
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import {
  chownSync,
  cpSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type Ended,
  type NodeWorld,
  run,
  sh,
  sleep,
  startNode,
  until,
} from '../support/node-world.ts'

/**
 * A volume inside containers of Debian's docker.io: bind-mounted, used as root and as uid 1000, through kills of the weft
 * daemon. dockerd runs by hand with everything in the world's own directory and without a network of its own.
 */

const APPLETS = [
  'sh',
  'cat',
  'ls',
  'id',
  'sleep',
  'echo',
  'mkdir',
  'dd',
  'touch',
  'mv',
  'rm',
  'sync',
  'stat',
  'ln',
  'seq',
]

class Docker {
  readonly #dir: string
  readonly #server: ChildProcess
  readonly #socket: string

  private constructor(dir: string) {
    this.#dir = dir
    this.#socket = join(dir, 's')
    writeFileSync(join(dir, 'daemon.json'), '{}')
    const log = openSync(join(dir, 'log'), 'w')
    const args = ['--config-file', join(dir, 'daemon.json'), '--data-root', join(dir, 'd')]
    args.push(
      '--exec-root',
      join(dir, 'e'),
      '--pidfile',
      join(dir, 'pid'),
      '-H',
      `unix://${this.#socket}`,
    )
    args.push('--bridge=none', '--iptables=false', '--ip6tables=false')
    this.#server = spawn('dockerd', args, { stdio: ['ignore', log, log] })
  }

  static async start(world: NodeWorld): Promise<Docker> {
    const docker = new Docker(world.mkdir('k'))
    try {
      await until(
        'dockerd answers (docker.io is installed by scripts/test --all)',
        async () => (await docker.run('version')).code === 0,
        30_000,
      )
      await docker.#import()
      return docker
    } catch (error) {
      const log = readFileSync(join(docker.#dir, 'log'), 'utf8').split('\n').slice(-15).join('\n')
      await docker.close()
      throw new Error(`dockerd does not start:\n${log}`, { cause: error })
    }
  }

  /** Debian's own client: another one in the PATH may be of another age. */
  run(...args: readonly string[]): Promise<Ended> {
    return run('/usr/bin/docker', ['-H', `unix://${this.#socket}`, ...args])
  }

  /** A command in a container of its own; its standard output. @throws Error unless it ends well */
  async in(user: string, volumes: readonly string[], script: string): Promise<string> {
    const mounts = volumes.flatMap((volume) => ['-v', volume])
    const args = [
      'run',
      '--rm',
      '--network=none',
      '-u',
      user,
      ...mounts,
      'busybox',
      '/bin/sh',
      '-ec',
      script,
    ]
    const done = await this.run(...args)
    assert.is(done.code, 0, `${script}\n${done.stderr}${done.stdout}`)
    return done.stdout
  }

  async #import(): Promise<void> {
    const image = join(this.#dir, 'i')
    mkdirSync(join(image, 'bin'), { recursive: true })
    cpSync('/bin/busybox', join(image, 'bin/busybox'), { dereference: true })
    for (const applet of APPLETS) symlinkSync('busybox', join(image, 'bin', applet))
    const line = 'tar -C "$1" -c . | /usr/bin/docker -H "$2" import - busybox'
    await sh('bash', ['-ec', line, 'bash', image, `unix://${this.#socket}`])
  }

  /** Ends it, its containers and its containerd, and takes away what they mounted. */
  async close(): Promise<void> {
    const { stdout } = await this.run('ps', '-aq').catch(() => ({ stdout: '' }))
    for (const id of stdout.split('\n').filter(Boolean)) await this.run('rm', '-f', id)
    const ended = new Promise((resolve) => this.#server.on('exit', resolve))
    if (this.#server.exitCode === null && this.#server.kill('SIGTERM')) {
      await Promise.race([ended, sleep(15_000)])
      this.#server.kill('SIGKILL')
    }
    for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n').reverse()) {
      const point = line.split(' ')[4] ?? ''
      if (point.startsWith(`${this.#dir}/`)) spawnSync('umount', ['-l', point])
    }
  }
}

test('containers use a volume as root and as a user, and see what the host and each other write', async () => {
  const world = await startNode()
  let docker: Docker | null = null
  try {
    docker = await Docker.start(world)
    const notes = join(world.mnt, 'notes')
    mkdirSync(notes)
    const bind = [`${notes}:/data`]

    await docker.in(
      '0',
      bind,
      'echo from root > /data/root; mkdir -m 777 /data/all; ln -s root /data/link',
    )
    assert.is(readFileSync(join(notes, 'link'), 'utf8'), 'from root\n')
    const user =
      'echo mine > /data/all/mine; mv /data/all/mine /data/all/mine2; id -u; cat /data/root'
    assert.is(await docker.in('1000:1000', bind, user), '1000\nfrom root\n')
    const { uid, gid } = statSync(join(notes, 'all/mine2'))
    assert.equal([uid, gid], [1000, 1000])
    const refused = await docker.in(
      '1000:1000',
      bind,
      'touch /data/no 2>&1 || true; rm -f /data/root 2>&1 || true',
    )
    assert.match(refused, /touch: \/data\/no: Permission denied/)
    assert.match(refused, /Permission denied/)

    chownSync(join(notes, 'all'), 1000, 1000)
    writeFileSync(join(notes, 'all/host'), 'from the host\n')
    assert.is(await docker.in('1000:1000', bind, 'cat /data/all/host'), 'from the host\n')
    const readOnly = await docker.in('0', [`${notes}:/data:ro`], 'touch /data/no 2>&1 || true')
    assert.match(readOnly, /Read-only file system/)
    // A directory of a volume, and an exclusive mount, serve as well.
    assert.is(await docker.in('0', [`${notes}/all:/data`], 'ls /data'), 'host\nmine2\n')
    const point = await world.attached('db')
    await docker.in(
      '0',
      [`${point}:/var/lib/db`],
      'dd if=/dev/zero of=/var/lib/db/f bs=64k count=64 conv=fsync 2>/dev/null',
    )
    assert.is(statSync(join(point, 'f')).size, 4 * 1024 * 1024)
    assert.equal(readdirSync(notes).sort(), ['all', 'link', 'root'])
  } finally {
    await docker?.close()
    await world.close()
  }
})

test('containers at work do not notice that the daemon is killed', async () => {
  const world = await startNode()
  let docker: Docker | null = null
  try {
    docker = await Docker.start(world)
    const notes = await world.volume('notes')
    mkdirSync(join(notes, 'user'))
    chownSync(join(notes, 'user'), 1000, 1000)
    // Each turn appends a line, makes, renames and reads a file; anything that fails ends the container.
    const work = `cd /data/$1; i=0
while [ ! -e stop ]; do
  i=$((i+1)); echo $i >> log; echo $i > new; mv new file$((i % 10)); [ $(cat file$((i % 10))) = $i ]
done; sync; echo $i`
    const started: string[] = []
    mkdirSync(join(notes, 'root'))
    for (const [user, dir] of [
      ['0', 'root'],
      ['1000:1000', 'user'],
    ] as const) {
      const args = ['run', '-d', '--network=none', '-u', user, '-v', `${notes}:/data`]
      const done = await docker.run(...args, 'busybox', '/bin/sh', '-ec', work, 'sh', dir)
      assert.is(done.code, 0, done.stderr)
      started.push(done.stdout.trim())
    }
    const lines = (dir: string) =>
      readFileSync(join(notes, dir, 'log'), 'utf8').split('\n').length - 1
    for (let kills = 0; kills < 4; kills++) {
      await sleep(1000)
      const before = lines('root')
      await world.kill9()
      await until('the containers go on', () => lines('root') > before + 5)
    }
    for (const dir of ['root', 'user']) writeFileSync(join(notes, dir, 'stop'), '')
    for (const [at, id] of started.entries()) {
      const dir = at === 0 ? 'root' : 'user'
      const waited = await docker.run('wait', id)
      const logs = await docker.run('logs', id)
      assert.is(waited.stdout.trim(), '0', `a container failed: ${logs.stderr}${logs.stdout}`)
      const turns = Number(logs.stdout.trim())
      assert.ok(turns > 20, `${turns} turns`)
      const log = readFileSync(join(notes, dir, 'log'), 'utf8')
      assert.is(log, Array.from({ length: turns }, (_, n) => `${n + 1}\n`).join(''))
    }
  } finally {
    await docker?.close()
    await world.close()
  }
})

test.run()
