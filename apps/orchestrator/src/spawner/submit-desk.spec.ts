import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { agentId } from '@capstan/protocol';
import { Inbox } from './inbox.js';
import { SubmitDesk, type Judge } from './submit-desk.js';

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
    expect(desk.refused).toBeUndefined();
    expect(await ask('GET', '/messages?after=')).toEqual({
      messages: [{ messageId: 'first', text: 'first', sequence: 1 }],
    });
    expect(await submit()).toEqual({ accepted: true });
    expect(() => write('second')).toThrow(expect.objectContaining({ code: 'agent-ended' }));
  });

  it('remembers where work stands that is sent back for another reason than a conflict, and what it stood on before', async () => {
    await desk.close();
    const answers = ['repository-unavailable', 'merge-conflict', 'internal'];
    let asked: AbortSignal | undefined;
    const judged = Promise.withResolvers<undefined>();
    const judge: Judge = async (_, { signal }) => {
      const code = answers.shift() ?? '';
      if (code === 'internal') {
        asked = signal;
        judged.resolve(undefined);
        await once(signal, 'abort');
      }
      return { accepted: false, code, sentence: code, text: '', mendable: false };
    };
    const [before, onto] = [{ onto: 'a'.repeat(40) }, 'b'.repeat(40)];
    desk = await SubmitDesk.open(join(room, 's.sock'), 0, judge, inbox, { stand: before });
    expect(desk.stand).toEqual(before);
    await ask('POST', '/submit', { summary: 'Done', onto, by: 'merge' });
    expect(desk.stand).toEqual({ onto, by: 'merge' });
    await ask('POST', '/submit', { summary: 'Done', onto });
    expect(desk.stand).toEqual({});
    const refused = desk.refused;
    const last = ask('POST', '/submit', { summary: 'Done', onto }).catch(() => undefined);
    await judged.promise;
    await desk.close();
    await last;
    expect([asked?.aborted, desk.stand, desk.refused]).toEqual([true, { onto }, refused]);
    expect(() => write('too-late')).toThrow(expect.objectContaining({ code: 'agent-ended' }));
  });

  (process.getuid?.() === 0 ? it : it.skip)('is not open where its socket cannot be given to the agent', async () => {
    const path = join(room, 'other.sock');
    await expect(SubmitDesk.open(path, 2 ** 33, async () => ({ accepted: true }), inbox)).rejects.toThrow();
    const tried = connect(path);
    const connected = await once(tried, 'connect').then(
      () => true,
      () => false,
    );
    tried.destroy();
    expect(connected).toBe(false);
  });

  it.each(['/messages', '/messages?after=A', '/messages?after=../x', '/submit', '/messages?after=1&after=2'])(
    'does not offer %s',
    async (path) => {
      expect(await ask('GET', path)).toMatchObject({ accepted: false, code: 'validation' });
    },
  );
});
