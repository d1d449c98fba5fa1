import { type FaultCode, LocalFault } from '@capstan/protocol';
import type { RawData } from 'ws';

/** WebSocket close status of an end that is not a fault; of one that is. Private range of RFC 6455, section 7.4.2. */
export const CLOSE_STATUS = { closed: 1000, fault: 4000 } as const;

/** The fault in what ws refuses by itself, by the code of its error; undefined where the socket merely broke. */
export function faultOfSocketError(error: Error): FaultCode | undefined {
  if (error instanceof LocalFault && error.code === 'tls-pin-mismatch') return 'handshake-signature';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') return 'frame-too-large';
  if (code === 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH') return 'frame-too-large';
  if (code === 'WS_ERR_TOO_MANY_BUFFERED_PARTS') return 'frame-too-large';
  return code.startsWith('WS_ERR_') ? 'frame-malformed' : undefined;
}

/** What a peer says by the status of its close, where it could not say farewell any more (RFC 6455, section 7.4.1). */
export function faultOfCloseStatus(status: number): FaultCode | undefined {
  if (status === 1009) return 'frame-too-large';
  return [1002, 1003, 1007, 1008].includes(status) ? 'frame-malformed' : undefined;
}

/** The bytes of a message; ws hands out one Buffer as long as binaryType is `nodebuffer`. */
export function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}
