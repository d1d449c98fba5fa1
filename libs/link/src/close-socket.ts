import { create, FarewellSchema } from '@capstan/protocol';
import type { WebSocket } from 'ws';
import { encodeFrame } from './frames.js';
import type { LinkEnd } from './link.js';
import { CLOSE_STATUS } from './socket-faults.js';

/** Says farewell with a code and closes; a peer that does not close in return within `closeMs` is cut off. */
export function closeSocket(ws: WebSocket, end: LinkEnd, closeMs: number): void {
  if (ws.readyState === ws.OPEN) {
    ws.send(encodeFrame({ case: 'farewell', value: create(FarewellSchema, end) }));
    ws.close(end.code === 'closed' ? CLOSE_STATUS.closed : CLOSE_STATUS.fault, end.code);
  }
  if (ws.readyState === ws.CLOSED) return;
  const cut = setTimeout(() => ws.terminate(), closeMs);
  ws.once('close', () => clearTimeout(cut));
  // A paused socket would never see the peer's close.
  ws.resume();
}
