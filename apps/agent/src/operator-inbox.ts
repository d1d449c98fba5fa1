import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';

/** What the operator writes to this agent while it runs. */
export class OperatorInbox {
  /** Id of the message that it has had last. */
  private last = '';

  /** @param socketPath where it is asked for; work is submitted there too */
  constructor(private readonly socketPath: string) {}

  /** What is new, the oldest first; nothing where nobody answers. @throws AbortError */
  async take(signal: AbortSignal): Promise<string[]> {
    try {
      const asked = request({ socketPath: this.socketPath, path: `/messages?after=${this.last}`, signal });
      asked.end();
      const [response] = (await once(asked, 'response')) as [IncomingMessage];
      const { messages = [] } = JSON.parse(await text(response)) as {
        messages?: { messageId: string; text: string }[];
      };
      this.last = messages.at(-1)?.messageId ?? this.last;
      return messages.map((message) => operatorPrompt(message.text));
    } catch {
      signal.throwIfAborted();
      // It is asked for again before the next turn.
      return [];
    }
  }
}

function operatorPrompt(words: string): string {
  return `The operator writes:\n\n${words}`;
}
