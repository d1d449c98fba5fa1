import type { Message } from '../wire/protobuf.ts';

/** The hub that the hostile peer plays. */
export const HUB_ID = 'conformance-hub';

/** What the spoke enrolled with. */
export interface Instance {
  id: string;
  key: Uint8Array;
  reaper: Uint8Array;
  statement: Message;
}
