import { conversationOf } from './conversation.js';
import { jsonReply, streamReply } from './message-reply.js';
import { play } from './play.js';
import type { PlaybookShelf } from './playbook-shelf.js';
import { FREE, priceOf, type Price } from './prices.js';
import type { ModelCall, ModelProvider, ModelReply } from './provider.js';

const BYTES_PER_TOKEN = 4;

/**
 * Answers by playbook, in the real protocol, so that everything but the model itself is real where there is no key.
 * It costs nothing; its tokens are the size of what really travelled.
 */
export class ScriptedProvider implements ModelProvider {
  readonly name = 'scripted';
  readonly defaultModel = 'scripted';

  constructor(private readonly shelf: PlaybookShelf) {}

  priceOf(model: string): Price | undefined {
    return model === this.defaultModel || priceOf(model) !== undefined ? FREE : undefined;
  }

  async call({ endpoint, request, bytes, playbook }: ModelCall): Promise<ModelReply> {
    const inputTokens = Math.ceil(bytes / BYTES_PER_TOKEN);
    if (endpoint === 'count_tokens') return jsonReply({ input_tokens: inputTokens });
    const content = play(await this.shelf.find(playbook), conversationOf(request));
    const outputTokens = Math.ceil(Buffer.byteLength(JSON.stringify(content)) / BYTES_PER_TOKEN);
    const message = { model: request.model, content, inputTokens, outputTokens };
    return request.stream === true ? streamReply(message) : jsonReply(message);
  }
}
