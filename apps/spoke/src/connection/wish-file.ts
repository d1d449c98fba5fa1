import { readFile } from 'node:fs/promises';
import { replaceFile } from '@capstan/identity';
import { isId, LocalFault } from '@capstan/protocol';

/** What an owner may wish for his connection. */
export const WISH_STATES = ['ACTIVE', 'SUSPENDED', 'DISCONNECTED'] as const;
export type WishState = (typeof WISH_STATES)[number];

/** The owner's last wish, as it was signed. */
export interface Wish {
  version: 1;
  /** An earlier connection's wish says nothing about this one. */
  connectionId: string;
  state: WishState;
  /** Milliseconds since the epoch; each wish is later than the one before, whatever the clock says. */
  atMs: number;
  /** Base64 of the event's serialized envelope. */
  envelope: string;
}

/** Undefined where nothing was wished yet. @throws LocalFault `wish-malformed`: a suspension must not be lost in silence */
export async function readWish(file: string): Promise<Wish | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return parseWish(JSON.parse(text) as Record<string, unknown>);
  } catch (cause) {
    throw new LocalFault(
      'wish-malformed',
      `${file} cannot be read; remove it and say again what you wish.`,
      undefined,
      {
        cause,
      },
    );
  }
}

export async function writeWish(file: string, wish: Wish): Promise<void> {
  await replaceFile(file, `${JSON.stringify(wish)}\n`, 0o600);
}

function parseWish({ version, connectionId, state, atMs, envelope }: Record<string, unknown>): Wish {
  const known = WISH_STATES.find((each) => each === state);
  const isWhole =
    version === 1 &&
    typeof connectionId === 'string' &&
    isId(connectionId) &&
    Number.isSafeInteger(atMs) &&
    typeof envelope === 'string';
  if (!isWhole || known === undefined) throw new TypeError('no wish');
  return { version: 1, connectionId, state: known, atMs: atMs as number, envelope };
}
