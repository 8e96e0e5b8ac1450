/**
 * The smallest daemon that a keeper can keep: a root directory and one file per name that begins with 'f'. The
 * FUSE bytes are written by hand, so that a fault in fuse/wire cannot hide one in the keeper.
 * Obeys JSON lines on <home>/tiny.sock: {verb, …} → {result} or {code, message}.
 * Files in the home steer it: 'pause' delays the start; 'crash-at-start' ends it with code 9, 'crash-when-ready'
 * kills it as soon as the keeper knows that it is ready; the first LOOKUP of
 * 'f-slow' is never answered and leaves 'saw-slow' behind; a second one is; 'through-clone' serves a mount
 * through the second descriptor of its slot alone.
 */
import { existsSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { codeOf, messageOf } from '../../src/base/index.ts'
import { KeeperClient } from '../../src/fuse/keeper-client.ts'
import { keeperFd, type SlotState } from '../../src/fuse/keeper-protocol.ts'

interface Job {
  readonly fd: number
  readonly home: string
  readonly resend: boolean
}

if (isMainThread) await serve(process.argv[process.argv.indexOf('--home') + 1] ?? '')
else loop(workerData as Job)

async function serve(home: string): Promise<void> {
  const keeper = KeeperClient.connect()
  if (keeper === null) throw new Error('no keeper')
  if (existsSync(join(home, 'crash-at-start'))) process.exit(9)
  keeper.onPleaseStop(leave)
  keeper.onLost(leave)
  const state = await keeper.state
  while (existsSync(join(home, 'pause'))) await sleep(20)

  const start = ({ slot, fd: blocking, polledFd = -1 }: SlotState, resend: boolean) => {
    const fd = existsSync(join(home, 'through-clone')) ? polledFd : blocking
    const worker = new Worker(new URL(import.meta.url), {
      workerData: { fd, home, resend } satisfies Job,
    })
    worker.on('message', (message: string) => {
      if (message === 'init') {
        keeper.saveState(slot, { slot, words: 'of the last life' }).catch(() => {})
      } else {
        keeper.ended(slot).catch(() => {})
      }
    })
  }
  for (const slot of state.slots) if (slot.used) start(slot, true)

  const verbs: Record<string, (fields: Record<string, string>) => Promise<unknown>> = {
    mount: async ({ target }) => {
      const slot = keeper.takeSlot()
      start(slot, false)
      return { ...(await keeper.mount(slot.slot, target ?? '')), slot: slot.slot }
    },
    unmount: ({ slot, lazy }) => keeper.unmount(Number(slot), lazy === 'yes'),
    bind: ({ slot, target, options }) =>
      keeper.bind(Number(slot), target ?? '', options?.split(',')),
    unbind: ({ target }) => keeper.unbind(target ?? ''),
    restart: async ({ program }) => {
      await keeper.restart(program ?? null)
      setTimeout(leave, 20)
    },
    shutdown: () => keeper.shutdown(),
    state: () => Promise.resolve(state),
    garbage: async ({ bytes }) => {
      writeSync(keeperFd, bytes ?? '')
    },
    endless: async () => {
      for (let left = 2_000_000; left > 0; ) {
        try {
          left -= writeSync(keeperFd, 'x'.repeat(10_000))
        } catch (error) {
          if (codeOf(error) !== 'EAGAIN') throw error
          pause(1)
        }
      }
    },
  }
  const path = join(home, 'tiny.sock')
  rmSync(path, { force: true })
  createServer((socket) => {
    socket.setEncoding('utf8').on('data', (text: string) => {
      const { verb, ...fields } = JSON.parse(text) as Record<string, string>
      const call = verbs[verb ?? '']
      if (call === undefined) throw new Error(`no verb ${verb}`)
      call(fields).then(
        (result) => socket.end(JSON.stringify({ result })),
        (error: unknown) => {
          socket.end(JSON.stringify({ code: codeOf(error), message: messageOf(error) }))
        },
      )
    })
  }).listen(path, () => {
    keeper.ready().then(
      () => existsSync(join(home, 'crash-when-ready')) && leave(),
      () => {},
    )
  })
}

/** Not process.exit: it joins the workers, and one that blocks in read of a live mount cannot be joined (measured). */
function leave(): void {
  process.kill(process.pid, 'SIGKILL')
}

/** The blocking loop: opcode numbers and structures from linux/fuse.h. */
function loop({ fd, home, resend }: Job): void {
  const FORGET = 2
  const BATCH_FORGET = 42
  const INTERRUPT = 36
  const request = Buffer.alloc(1024 * 1024 + 65536)
  const reply = Buffer.alloc(4096)
  const answer = (bytes: number, error = 0) => {
    reply.writeUInt32LE(16 + bytes, 0)
    reply.writeInt32LE(error, 4)
    request.copy(reply, 8, 8, 16) // unique, the resend bit included
    try {
      writeSync(fd, reply, 0, 16 + bytes)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error // answered before, or interrupted
    }
    reply.fill(0)
  }
  const attr = (at: number, ino: number) => {
    reply.writeUInt32LE(ino, at)
    reply.writeUInt32LE(ino === 1 ? 0o040755 : 0o100644, at + 60)
    reply.writeUInt32LE(ino === 1 ? 2 : 1, at + 64)
    reply.writeUInt32LE(4096, at + 80)
  }
  if (resend) {
    const notice = Buffer.alloc(16)
    notice.writeUInt32LE(16, 0)
    notice.writeInt32LE(7, 4) // FUSE_NOTIFY_RESEND
    try {
      writeSync(fd, notice)
    } catch (error) {
      if (codeOf(error) !== 'EPERM') throw error
    }
  }
  for (;;) {
    try {
      readSync(fd, request)
    } catch (error) {
      const code = codeOf(error)
      if (code === 'ENODEV') {
        parentPort?.postMessage('ended')
        return
      }
      if (code === 'EPERM' || code === 'EAGAIN') pause(2)
      else if (code !== 'EINTR' && code !== 'ENOENT') throw error
      continue
    }
    const opcode = request.readUInt32LE(4)
    const nodeid = request.readUInt32LE(16)
    switch (opcode) {
      case 26: // INIT: state is saved before the answer
        parentPort?.postMessage('init')
        // A moment is enough for a test; a real daemon waits until the keeper has it.
        pause(100)
        reply.writeUInt32LE(7, 16)
        reply.writeUInt32LE(Math.min(45, request.readUInt32LE(44)), 20)
        reply.writeUInt32LE(128 * 1024, 24)
        reply.writeUInt32LE((1 << 30) >>> 0, 28) // FUSE_INIT_EXT
        reply.writeUInt16LE(16, 32)
        reply.writeUInt16LE(12, 34)
        reply.writeUInt32LE(128 * 1024, 36)
        reply.writeUInt32LE(1, 40)
        reply.writeUInt32LE(1 << 7, 48) // FUSE_HAS_RESEND
        answer(64)
        break
      case 1: {
        const name = request.toString('latin1', 40, request.indexOf(0, 40))
        if (name === 'f-slow' && !existsSync(join(home, 'saw-slow'))) {
          writeFileSync(join(home, 'saw-slow'), '')
          pause(3_600_000)
        }
        if (!name.startsWith('f')) {
          answer(0, -2)
          break
        }
        reply.writeUInt32LE(7, 16)
        attr(56, 7)
        answer(128)
        break
      }
      case 3:
        attr(32, nodeid)
        answer(104)
        break
      case 17:
        reply.writeUInt32LE(4096, 16 + 40)
        reply.writeUInt32LE(255, 16 + 44)
        reply.writeUInt32LE(4096, 16 + 48)
        answer(80)
        break
      case 14: // OPEN, OPENDIR
      case 27:
        answer(16)
        break
      case 15: // READ, READDIR, RELEASE, RELEASEDIR, FLUSH, DESTROY: nothing to give
      case 28:
      case 18:
      case 29:
      case 25:
      case 38:
        answer(0)
        break
      case FORGET:
      case BATCH_FORGET:
      case INTERRUPT:
        break
      default:
        answer(0, -38)
    }
  }
}

function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
