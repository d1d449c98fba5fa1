import { outageOf } from './model-outage.js';

/** The first event is short; an upstream that never ends it is not waited for. */
const LONGEST_FIRST_EVENT = 64 * 1024;
/** An overloaded upstream may say so after it has said 200 (https://platform.claude.com/docs/en/build-with-claude/streaming). */
const STATUS_OF_ERROR: Readonly<Record<string, number>> = {
  overloaded_error: 529,
  rate_limit_error: 429,
  api_error: 500,
};

/**
 * A stream whose first event has come, with all its bytes.
 *
 * @throws ModelOutage where that event says that the model is away: nothing was begun, and it may be asked again
 */
export async function openStream(body: AsyncGenerator<Uint8Array>): Promise<AsyncIterable<Uint8Array>> {
  const first: Uint8Array[] = [];
  let text = '';
  while (!/\r?\n\r?\n/.test(text) && text.length < LONGEST_FIRST_EVENT) {
    const next = await body.next();
    if (next.done === true) break;
    first.push(next.value);
    text += Buffer.from(next.value).toString('latin1');
  }
  const status = errorOf(text);
  const outage = status === undefined ? undefined : outageOf(status, new Headers());
  if (outage !== undefined) {
    await body.return(undefined);
    throw outage;
  }
  return joined(first, body);
}

function errorOf(text: string): number | undefined {
  if (!/^event: ?error\r?\n/.test(text)) return undefined;
  const type = /"type":\s*"([a-z_]+_error)"/.exec(text)?.[1] ?? '';
  return Object.hasOwn(STATUS_OF_ERROR, type) ? STATUS_OF_ERROR[type] : undefined;
}

async function* joined(first: readonly Uint8Array[], rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* first;
    yield* rest;
  } finally {
    await rest.return(undefined);
  }
}
