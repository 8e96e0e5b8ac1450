// deadline: 300 s
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { hosts } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { sh, until } from '../support/node-world.ts'

/** Words that stand nowhere else; each is used in one way only, so that a find says what leaked. */
const WORDS = {
  content: 'zx91contentquokkaflute',
  'large content': 'zx92largemarmotgravel',
  'file name': 'zx93nametapirlantern',
  'directory name': 'zx94dirokapithimble',
  'attribute name': 'zx95attrnameibexpewter',
  'attribute value': 'zx96attrvaluenarwhalcobalt',
  'symlink target': 'zx97symlinkwombatsaffron',
  renamed: 'zx98renamedpangolinquartz',
} as const

/** Sent in clear on purpose, and written beside the volume: what does not find it sees nothing. */
const ALARM = 'zx99alarmlemurbasalt'

/** Every frame of a host's link until its input ends; then what was found, as JSON. Source: man 7 packet. */
const LISTENER = `import json, os, select, socket, struct, sys
words = [w.encode() for w in sys.argv[1:]]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)
print('listening', flush=True)
found, size, tails = set(), 0, {}
while True:
    ready, _, _ = select.select([s, sys.stdin], [], [], 1)
    if s in ready:
        frame = s.recv(1 << 17)
        size += len(frame)
        # A word may lie over two frames of one connection.
        flow, body = frame[26:38], frame[54:]
        text = tails.get(flow, b'') + frame
        for word in words:
            if word in text or word.decode().encode('utf-16le') in text: found.add(word.decode())
        tails[flow] = body[-60:]
    elif sys.stdin in ready:
        break
dropped = struct.unpack('II', s.getsockopt(263, 6, 8))[1]
print(json.dumps({'bytes': size, 'dropped': dropped, 'found': sorted(found)}))`

/** What is in a file, holes passed over. */
const SEARCHER = `import json, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
words, found, at, tail, size = [w.encode() for w in sys.argv[2:]], set(), 0, b'', 0
while True:
    try: at = os.lseek(fd, at, os.SEEK_DATA)
    except OSError: break
    data = os.read(fd, 1 << 22)
    at += len(data)
    size += len(data)
    text = tail + data
    for word in words:
        if word in text or word.decode().encode('utf-16le') in text: found.add(word.decode())
    tail = text[-100:]
print(json.dumps({'bytes': size, 'found': sorted(found)}))`

interface Found {
  readonly bytes: number
  readonly found: readonly string[]
  readonly dropped?: number
}

const all = [...Object.values(WORDS), ALARM]

class Listener {
  readonly #child: ReturnType<Host['spawn']>
  #said = ''

  constructor(host: Host) {
    this.#child = host.spawn(['python3', '-c', LISTENER, ...all], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text
    })
  }

  async listens(): Promise<void> {
    await until('it listens', () => this.#said.startsWith('listening'))
  }

  async found(): Promise<Found> {
    const closed = new Promise((resolve) => this.#child.once('close', resolve))
    this.#child.stdin?.end()
    await closed
    return JSON.parse(this.#said.split('\n')[1] ?? '') as Found
  }
}

/** Every way in which a word can enter a volume. */
function use(host: Host, dir: string): Promise<string> {
  return host.run(
    'bash',
    '-ec',
    `cd ${dir}
     echo ${WORDS.content} >small
     yes ${WORDS['large content']} | head -c 8000000 >large
     touch ${WORDS['file name']}
     mkdir '${WORDS['directory name']}'; echo x >'${WORDS['directory name']}/inside'
     ln -s ${WORDS['symlink target']} link
     setfattr -n user.${WORDS['attribute name']} -v v small
     setfattr -n user.a -v ${WORDS['attribute value']} small
     touch before; mv before ${WORDS.renamed}
     sync -f .`,
  )
}

test('no word of a volume of three copies is on the wire or on a drive', async () => {
  const point = mkdtempSync(join(tmpdir(), 'weft-canary-'))
  const lab = await hosts(3)
  try {
    const [first, a, b] = [lab.host(1), lab.host(2), lab.host(3)]
    // Two of three see every pair; the third is going to lose its power.
    const listeners = [first, a].map((host) => new Listener(host))
    for (const listener of listeners) await listener.listens()
    await a.weft('volume', 'create', 'v', '--size', '1G', '--repl', '3')
    await a.weft('volume', 'create', 'w', '--size', '1G', '--repl', '3')
    await a.weft('attach', 'w', point)
    for (const dir of ['/mnt/weft/v', point]) await use(a, dir)
    // Also what a take-over and a copy that comes back make flow.
    await b.powerCut()
    await a.run('bash', '-ec', `cp ${point}/large ${point}/again; sync ${point}/again`)
    await b.start()
    await until(
      'the copy is whole again',
      async () => {
        const { copies } = await a.ask<{ copies: { inSync: boolean }[] }>('/v1/volumes/w')
        return copies.every(({ inSync }) => inSync)
      },
      90_000,
    )
    await a.weft('detach', point)
    await b.weft('attach', 'w', point)
    assert.is((await b.run('cat', `${point}/small`)).trim(), WORDS.content)
    await b.weft('detach', point)

    // The alarm: one word in clear, on the wire and on each drive.
    const script = `import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for host in sys.argv[2:]: s.sendto(sys.argv[1].encode(), (host, 9))`
    for (const host of lab.hosts) {
      const others = lab.hosts.filter((one) => one !== host).map(({ ip }) => ip)
      await host.run('python3', '-c', script, ALARM, ...others)
      await host.run('bash', '-ec', `echo ${ALARM} >/mnt/drive1/alarm; sync -f /mnt/drive1/alarm`)
    }
    for (const listener of listeners) {
      const { bytes, found, dropped } = await listener.found()
      assert.equal(found, [ALARM])
      assert.ok(bytes > 5_000_000, `${bytes} bytes were seen`)
      assert.is(dropped, 0, 'the listener missed nothing')
    }
    await first.run('sync')
    for (const name of readdirSync(lab.images)) {
      const words = ['-c', SEARCHER, join(lab.images, name), ...all]
      const { bytes, found } = JSON.parse(await sh('python3', words)) as Found
      assert.equal(found, [ALARM], name)
      assert.ok(bytes > 5_000_000, `${bytes} bytes in ${name}`)
    }
  } finally {
    await lab.close()
    rmSync(point, { recursive: true })
  }
})

test.run()
