/** One event of a text/event-stream. */
export interface ServerSentEvent {
  id: string;
  event: string;
  data: string;
}

const MOST_CHARACTERS = 4 * 1_048_576;

/** Reads a text/event-stream (WHATWG HTML, section 9.2). Throws RangeError where an event has no end. */
export async function* serverSentEvents(source: AsyncIterable<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  let event: ServerSentEvent = { id: '', event: '', data: '' };
  for await (const chunk of source) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    if (rest.length + event.data.length > MOST_CHARACTERS) throw new RangeError('an event without end');
    for (const line of lines) {
      if (line !== '') event = withField(event, line);
      else {
        if (event.data !== '') yield event;
        event = { id: event.id, event: '', data: '' };
      }
    }
  }
}

function withField(event: ServerSentEvent, line: string): ServerSentEvent {
  const colon = line.indexOf(':');
  const name = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
  switch (name) {
    case 'id':
      return { ...event, id: value };
    case 'event':
      return { ...event, event: value };
    case 'data':
      return { ...event, data: event.data === '' ? value : `${event.data}\n${value}` };
    default:
      // Comments keep the connection alive; other fields mean nothing here.
      return event;
  }
}
