import { type Farewell, isFaultCode, WireFault } from '@capstan/protocol';
import type { WebSocket } from 'ws';
import { decodeFrame, type FrameCase, type FrameOf } from './frames.js';
import { bytesOf, faultOfSocketError } from './socket-faults.js';

/** More would be a peer that talks without waiting for its turn. */
const UNREAD_FRAMES = 4;

/** A frame and its bytes as they travelled; the transcript is made of the latter. */
export interface Received<C extends FrameCase> {
  value: FrameOf<C>;
  bytes: Uint8Array;
}

/** Reads a WebSocket frame by frame, with one deadline for the whole handshake. */
export class HandshakeSocket implements Disposable {
  private readonly unread: Uint8Array[] = [];
  private fault: WireFault | undefined;
  private broken: Error | undefined;
  private wake: () => void = () => undefined;
  private isTrusted = false;
  private readonly deadline: NodeJS.Timeout;

  constructor(
    readonly ws: WebSocket,
    authenticateMs: number,
  ) {
    this.deadline = setTimeout(() => this.fail(new WireFault('handshake-timeout')), authenticateMs);
    ws.on('message', this.onMessage);
    ws.on('error', this.onError);
    ws.on('close', this.onClose);
  }

  /** Resolves once the WebSocket is open. */
  async opened(): Promise<void> {
    while (this.ws.readyState === this.ws.CONNECTING && this.fault === undefined) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        this.ws.once('open', resolve);
      });
    }
    this.check();
  }

  /** The next frame, which must be of this case. Throws WireFault, also with the peer's own code from a Farewell. */
  async receive<C extends FrameCase>(expected: C): Promise<Received<C>> {
    while (this.unread.length === 0 && this.fault === undefined) {
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    const bytes = this.unread.shift();
    if (bytes === undefined) throw this.fault ?? new WireFault('internal', 'no frame');
    const frame = decodeFrame(bytes);
    if (frame.case === 'farewell') throw farewellFault(frame.value);
    if (frame.case !== expected) throw new WireFault('frame-malformed', `${frame.case} where ${expected} is due`);
    return { value: frame.value as FrameOf<C>, bytes };
  }

  /** The peer has proven itself: what comes in one read with its Welcome, say every open command, is not out of turn. */
  trust(): void {
    this.isTrusted = true;
  }

  /** Throws the fault that has ended the handshake meanwhile, if any. */
  check(): void {
    if (this.fault !== undefined) throw this.fault;
  }

  /** Ends the reading by this object; answers with the frames that came early. */
  handOver(): readonly Uint8Array[] {
    this[Symbol.dispose]();
    return this.unread.splice(0);
  }

  /** Stops the clock and the reading; errors of the socket stay caught until it is closed. */
  [Symbol.dispose](): void {
    clearTimeout(this.deadline);
    this.ws.off('message', this.onMessage);
    this.ws.off('close', this.onClose);
  }

  private readonly onMessage = (data: Parameters<typeof bytesOf>[0], isBinary: boolean): void => {
    if (!isBinary) this.fail(new WireFault('frame-malformed', 'text frame'));
    else if (!this.isTrusted && this.unread.length >= UNREAD_FRAMES)
      this.fail(new WireFault('frame-malformed', 'frames out of turn'));
    else {
      this.unread.push(bytesOf(data));
      this.wake();
    }
  };

  private readonly onError = (error: Error): void => {
    const code = faultOfSocketError(error);
    if (code === undefined) this.broken = error;
    else this.fail(new WireFault(code, error.message, { cause: error }));
  };

  private readonly onClose = (): void => {
    const why = this.broken?.message ?? 'closed during the handshake';
    this.fault ??= new WireFault('instance-away', why, { cause: this.broken });
    this.wake();
  };

  /** Unlike a close, behind which a Farewell may stand unread, a fault makes what came before it worthless. */
  private fail(fault: WireFault): void {
    this.fault ??= fault;
    this.unread.length = 0;
    this.wake();
  }
}

function farewellFault({ code }: Farewell): WireFault {
  return isFaultCode(code) ? new WireFault(code, 'said by the peer') : new WireFault('internal', 'unknown farewell');
}
