import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { agentId } from '@capstan/protocol';
import { Inbox } from './inbox.js';
import { SubmitDesk } from './submit-desk.js';

describe('the desk at which an agent submits', () => {
  let room: string;
  let inbox: Inbox;
  let desk: SubmitDesk;
  beforeEach(async () => {
    room = mkdtempSync(join(tmpdir(), 'capstan-desk-'));
    inbox = new Inbox(agentId('one'), true, () => undefined);
    desk = await SubmitDesk.open(join(room, 's.sock'), 0, async () => ({ accepted: true }), inbox);
  });
  afterEach(async () => {
    await desk.close();
    rmSync(room, { recursive: true });
  });

  const ask = async (method: string, path: string, body?: object): Promise<unknown> => {
    const asked = request({ socketPath: join(room, 's.sock'), method, path });
    asked.end(body === undefined ? undefined : JSON.stringify(body));
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    return json(answer);
  };
  const submit = () => ask('POST', '/submit', { summary: 'Done' });
  const write = (messageId: string) => inbox.add({ messageId, text: messageId });

  it('takes no work while the agent has not read what the operator wrote, and nothing is written to it afterwards', async () => {
    write('first');
    expect(await submit()).toMatchObject({ accepted: false, code: 'message-unread' });
    expect([desk.accepted, desk.refused]).toEqual([undefined, undefined]);
    expect(await ask('GET', '/messages?after=')).toEqual({
      messages: [{ messageId: 'first', text: 'first', sequence: 1 }],
    });
    expect(await submit()).toEqual({ accepted: true });
    expect(desk.accepted).toEqual({ summary: 'Done' });
    expect(() => write('second')).toThrow(expect.objectContaining({ code: 'agent-ended' }));
  });

  it.each(['/messages', '/messages?after=A', '/messages?after=../x', '/submit', '/messages?after=1&after=2'])(
    'does not offer %s',
    async (path) => {
      expect(await ask('GET', path)).toMatchObject({ accepted: false, code: 'validation' });
    },
  );
});
