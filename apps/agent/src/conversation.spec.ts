import type { ContentBlock, MessageParam, ToolResultBlockParam } from '@anthropic-ai/sdk/resources/messages';
import { Conversation } from './conversation.js';

const call = (id: number): ContentBlock =>
  ({ type: 'tool_use', id: `call-${String(id)}`, name: 'bash', input: {} }) as ContentBlock;
const result = (id: number): ToolResultBlockParam => ({
  type: 'tool_result',
  tool_use_id: `call-${String(id)}`,
  content: 'ok',
});
const idsOf = (messages: readonly MessageParam[], type: string): string[] =>
  messages.flatMap(({ content }) =>
    typeof content === 'string'
      ? []
      : content.flatMap((block) => {
          if (block.type !== type) return [];
          return block.type === 'tool_use' ? [block.id] : block.type === 'tool_result' ? [block.tool_use_id] : [];
        }),
  );

describe('a conversation', () => {
  /** So many replies with a call each; every reply and its result take a thousand tokens. */
  function talk(replies: number): Conversation {
    const conversation = new Conversation('The task');
    for (let at = 1; at <= replies; at += 1) {
      conversation.addReply([call(at)], at * 1_000);
      conversation.tell(result(at));
    }
    return conversation;
  }

  it.each([
    [10, 2_500, 8],
    [10, 1_000, 9],
    [10, 0, 9],
    [10, 1_000_000, 1],
    [2, 0, 1],
  ])('of %i replies keeps the last of at most %i tokens, and never none', (replies, keep, given) => {
    const older = talk(replies).olderPart(keep);
    expect(older?.replies).toBe(given);
    expect(older?.messages.at(-1)?.role).toBe('user');
  });

  it('of one reply has nothing older', () => {
    expect(talk(1).olderPart(0)).toBeUndefined();
    expect(new Conversation('The task').olderPart(0)).toBeUndefined();
  });

  it('keeps every call that is left with its result, however often it is summed up', () => {
    const conversation = talk(6);
    for (let at = 7; at < 40; at += 1) {
      if (at % 4 === 0) {
        const older = conversation.olderPart(2_000);
        if (older !== undefined) conversation.replace(older, `Summary ${String(at)}`);
      }
      conversation.addReply([call(at)], at * 1_000);
      conversation.tell(result(at));
      const { messages } = conversation;
      expect(idsOf(messages, 'tool_result')).toEqual(idsOf(messages, 'tool_use'));
      expect(messages.map(({ role }) => role)).toEqual(messages.map((_, i) => (i % 2 === 0 ? 'user' : 'assistant')));
    }
    expect(conversation.messages[0]?.content).toEqual([
      { type: 'text', text: 'The task' },
      { type: 'text', text: 'Summary 36' },
    ]);
    expect(conversation.messages.length).toBeLessThan(20);
  });

  it('keeps the task and the operator’s words as they were said', () => {
    const conversation = talk(3);
    conversation.hear(['Leave the tests alone.']);
    conversation.addReply([call(4)], 4_000);
    conversation.tell(result(4));
    for (const summary of ['First', 'Second']) {
      const older = conversation.olderPart(0);
      if (older === undefined) throw new Error('nothing is older');
      conversation.replace(older, summary);
      conversation.addReply([call(5)], 5_000);
      conversation.tell(result(5));
      expect(conversation.messages[0]?.content).toEqual([
        { type: 'text', text: 'The task' },
        { type: 'text', text: 'Leave the tests alone.' },
        { type: 'text', text: summary },
      ]);
    }
  });

  it('tells what was told twice in a row in one message', () => {
    const conversation = new Conversation('The task');
    conversation.hear(['One more thing.']);
    expect(conversation.messages).toEqual([
      {
        role: 'user',
        content: [
          { type: 'text', text: 'The task' },
          { type: 'text', text: 'One more thing.' },
        ],
      },
    ]);
  });
});
