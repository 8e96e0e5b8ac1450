import { connect, type NetConnectOpts, type OnReadOpts, Socket } from 'node:net'

/**
 * One buffer for all sockets of this thread, lent for the call. Else Node allocates 64 KiB for each read outside of V8's heap, which
 * V8 answers with marking its whole heap for each 64 MiB: 45 % of a replica's CPU while it took chunks (perf, 2026-11-28).
 */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024)

/** A socket whose bytes are given to one taker, in memory that is the next read's: who keeps some copies them. */
export class TcpSource {
  readonly socket: Socket
  take: (bytes: Buffer) => void = () => {}

  private constructor(make: (onread: OnReadOpts) => Socket) {
    this.socket = make({
      buffer: readBuffer,
      callback: (count) => {
        this.take(readBuffer.subarray(0, count))
        return true
      },
    })
  }

  static connect(to: NetConnectOpts): TcpSource {
    return new TcpSource((onread) => connect({ ...to, onread }))
  }

  /**
   * @param accepted by a server with pauseOnConnect: given up here. Only sockets that one makes can be told where to read to, so
   * its handle gets another socket. Source: node lib/net.js 20.20, onconnection, Socket, initSocketHandle
   */
  static accepted(accepted: Socket): TcpSource {
    const from = accepted as unknown as Inner
    const { _handle: handle, _server: server } = from
    from._handle = null
    from._server = null
    return new TcpSource((onread) => {
      const socket = new Socket({ handle, onread } as ConstructorParameters<typeof Socket>[0])
      // By this it is counted as one of the server's, which waits for it when it closes.
      ;(socket as unknown as Inner)._server = server
      return socket
    })
  }
}

interface Inner {
  _handle: unknown
  _server: unknown
}
