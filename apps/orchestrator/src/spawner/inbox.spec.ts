import { agentId } from '@capstan/protocol';
import { Inbox, type MessageNotice } from './inbox.js';

describe('the inbox of an agent', () => {
  let told: string[];
  const inboxOf = (takesMessages = true): Inbox => {
    told = [];
    return new Inbox(agentId('one'), takesMessages, ({ messageId, state }: MessageNotice) =>
      told.push(`${messageId} ${state}`),
    );
  };
  const add = (inbox: Inbox, ...ids: string[]): void =>
    ids.forEach((messageId) => inbox.add({ messageId, text: `Do ${messageId}` }));

  it('hands out each message until the agent has asked behind it, and tells of it once', () => {
    const inbox = inboxOf();
    add(inbox, 'a', 'b');
    expect(inbox.takeAfter('').map(({ text }) => text)).toEqual(['Do a', 'Do b']);
    // An answer that was lost on its way.
    expect(inbox.takeAfter('')).toHaveLength(2);
    expect(inbox.takeAfter('a')).toEqual([{ messageId: 'b', text: 'Do b', sequence: 2 }]);
    expect(inbox.takeAfter('b')).toEqual([]);
    expect(told).toEqual(['a waiting', 'b waiting', 'a taken', 'b taken']);
  });

  it('hands out everything to an agent that has had its last message from an earlier life of the orchestrator', () => {
    const inbox = inboxOf();
    add(inbox, 'a', 'b');
    expect(inbox.takeAfter('of-before')).toHaveLength(2);
  });

  it('delivers a message that comes again once', () => {
    const inbox = inboxOf();
    add(inbox, 'a', 'a');
    expect(inbox.takeAfter('')).toHaveLength(1);
    add(inbox, 'a');
    expect(inbox.hasWaiting).toBe(false);
  });

  it('says whether a message is new, and takes no other text under the same id', () => {
    const inbox = inboxOf();
    expect([1, 2].map(() => inbox.add({ messageId: 'a', text: 'One' }))).toEqual([true, false]);
    const other = { messageId: 'a', text: 'Two' };
    expect(() => inbox.add(other)).toThrow(expect.objectContaining({ code: 'message-exists' }));
    inbox.end();
    expect(() => inbox.add(other)).toThrow(expect.objectContaining({ code: 'message-exists' }));
  });

  it.each([
    ['of which none is taken', 20, false],
    ['in all', 200, true],
  ])('takes so many %s, and no more', (_, most, isRead) => {
    const inbox = inboxOf();
    for (let count = 1; count <= most; count += 1) {
      add(inbox, `m-${String(count)}`);
      if (isRead) inbox.takeAfter(`m-${String(count)}`);
    }
    expect(() => add(inbox, 'one-more')).toThrow(expect.objectContaining({ code: 'messages-full' }));
  });

  it('says what was missed by an agent that has ended, and takes nothing more', () => {
    const inbox = inboxOf();
    add(inbox, 'a');
    inbox.takeAfter('');
    add(inbox, 'b');
    inbox.end();
    inbox.end();
    expect(told.slice(2)).toEqual(['b waiting', 'b missed']);
    expect(() => add(inbox, 'c')).toThrow(expect.objectContaining({ code: 'agent-ended' }));
  });

  it('takes nothing more once the agent is gone, also where its work is sent back only then', () => {
    const inbox = inboxOf();
    inbox.end();
    inbox.setClosed(false);
    expect(() => add(inbox, 'a')).toThrow(expect.objectContaining({ code: 'agent-ended' }));
    expect(told).toEqual([]);
  });

  it('is none where the runtime never asks', () => {
    expect(() => add(inboxOf(false), 'a')).toThrow(expect.objectContaining({ code: 'messages-unsupported' }));
  });
});
