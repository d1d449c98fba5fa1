import type { ContentBlock } from '@anthropic-ai/sdk/resources/messages';
import { Compaction } from './compaction.js';
import { Conversation } from './conversation.js';

const call = (id: number): ContentBlock =>
  ({ type: 'tool_use', id: `call-${String(id)}`, name: 'bash', input: {} }) as ContentBlock;

describe('the compaction of a conversation', () => {
  /** Two replies, of which the model has counted the last one at a thousand tokens, and so much text behind that. */
  function talk(characters: number, summary: string | undefined, contextTokens = 20_000) {
    const conversation = new Conversation('The task');
    for (const at of [1, 2]) {
      conversation.addReply([call(at)], at * 500);
      const content = at === 2 ? 'x'.repeat(characters) : 'ok';
      conversation.tell({ type: 'tool_result', tool_use_id: `call-${String(at)}`, content });
    }
    const asked: number[] = [];
    const compaction = new Compaction({
      conversation,
      limits: { compactAtTokens: 4_000, contextTokens },
      summarise: async (messages) => {
        asked.push(messages.length);
        return summary;
      },
      report: () => undefined,
    });
    return { conversation, compaction, asked };
  }

  it('comes in time where much was said since the model has counted', async () => {
    const { compaction, conversation, asked } = talk(9_000, 'Summary');
    expect(await compaction.makeRoom()).toBe(true);
    expect(asked).toHaveLength(1);
    expect(conversation.messages[0]?.content).toContainEqual({ type: 'text', text: 'Summary' });
  });

  it('does not come before its time', async () => {
    const { compaction, asked } = talk(8_000, 'Summary');
    expect(await compaction.makeRoom()).toBe(true);
    expect(asked).toEqual([]);
  });

  it('ends nobody by what is only reckoned', async () => {
    expect(await talk(90_000, undefined).compaction.makeRoom()).toBe(true);
    expect(await talk(90_000, undefined, 1_000).compaction.makeRoom()).toBe(false);
  });
});
