import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { agentId, newId, type AgentId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import type { BuiltInAgent } from '../built-in-agent.js';
import { sandboxesOf, type TestExecution } from '../test-execution.js';

/** What every sandbox owes to the words of the operator. */
export function messagesContract(agents: BuiltInAgent): void {
  describe('what the operator writes to a running agent', () => {
    let execution: TestExecution;
    beforeAll(async () => {
      ({ execution } = agents);
      await execution.instance.writePolicy({
        repositories: [`${execution.instance.directory}/*`],
        concurrency: 2,
        sandboxes: sandboxesOf(agents.sandbox.docker()),
        programs: { mute: { kind: 'command', run: ['/bin/sh', '-c', 'echo ready; exec sleep 1000'] } },
      });
    });

    const send = (id: AgentId, text: string, messageId = newId()) =>
      execution.orchestrator.api.messages.send(id, { messageId, text });
    const ready = (id: AgentId) => agents.ready(id);

    async function fatesOf(messageId: string, last: string): Promise<string[]> {
      const fates: string[] = [];
      for await (const event of execution.orchestrator.api.events.read('0', AbortSignal.timeout(60_000))) {
        if (event.kind !== 'message') continue;
        const notice = JSON.parse(event.json) as { messageId: string; state: string };
        if (notice.messageId === messageId) fates.push(notice.state);
        if (fates.includes(last)) break;
      }
      return fates;
    }

    it(
      'is taken up with its next request to the model, told in its stream and its log, and audited without its words',
      proves('ORC-L4', async () => {
        const id = await execution.spawn('Write a file.', { options: { playbook: 'operator' } });
        await ready(id);
        const messageId = newId();
        await send(id, 'Do it, but call it LATER.md.', messageId);
        await send(id, 'Do it, but call it LATER.md.', messageId);
        await expect(send(id, 'Call it OTHER.md.', messageId)).rejects.toMatchObject({ code: 'message-exists' });
        agents.letGo();
        const agent = await execution.agentIn(id, 'completed');
        expect(agent.harvest?.files).toEqual(['LATER.md']);
        expect(await fatesOf(messageId, 'taken')).toEqual(['waiting', 'taken']);
        const text = await execution.textOf(id);
        expect(text.match(/^The operator writes: Do it, but call it LATER\.md\.$/gm)).toHaveLength(1);
        expect(text).not.toContain('OTHER.md');
        const audited = readFileSync(execution.settings.paths.audit, 'utf8');
        expect(audited.split(messageId)).toHaveLength(2);
        expect(audited).toContain(createHash('sha256').update('Do it, but call it LATER.md.').digest('hex'));
        expect(audited).not.toContain('LATER.md');
        await expect(send(id, 'Too late.')).rejects.toMatchObject({ code: 'agent-ended' });
      }),
    );

    it('is refused where nobody is there to read it, and says who has ended without it', async () => {
      await expect(send(agentId('nobody'), 'Hello')).rejects.toMatchObject({ code: 'agent-unknown' });
      const mute = await execution.spawn('Wait.', { runtime: 'mute' });
      await ready(mute);
      await expect(send(mute, 'Hello')).rejects.toMatchObject({ code: 'messages-unsupported' });
      await execution.orchestrator.api.killswitch.kill(mute, 'test');

      agents.holdBack();
      const id = await execution.spawn('Write a file.', { options: { playbook: 'operator' } });
      await ready(id);
      const messageId = newId();
      await send(id, 'Hello', messageId);
      await execution.orchestrator.api.killswitch.kill(id, 'test');
      expect(await fatesOf(messageId, 'missed')).toEqual(['waiting', 'missed']);
      expect(readFileSync(execution.settings.paths.audit, 'utf8').split(messageId)).toHaveLength(2);
    });

    it('is neither audited nor in its log where there is no room for it', async () => {
      agents.holdBack();
      const id = await execution.spawn('Write a file.', { options: { playbook: 'operator' } });
      await ready(id);
      const messageId = newId();
      const texts = Array.from({ length: 25 }, (_, at) => `Message ${String(at)}`);
      await Promise.allSettled(texts.map((text) => send(id, text)));
      await expect(send(id, 'One too many', messageId)).rejects.toMatchObject({ code: 'messages-full' });
      expect(readFileSync(execution.settings.paths.audit, 'utf8')).not.toContain(messageId);
      expect(await execution.textOf(id)).not.toContain('One too many');
      await execution.orchestrator.api.killswitch.kill(id, 'test');
    });
  });
}
