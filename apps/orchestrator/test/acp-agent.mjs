/** An agent that speaks the Agent Client Protocol and does what its task says: asks for permission, and writes a file if it may. */
import { writeFileSync } from 'node:fs';
import { Readable, Writable } from 'node:stream';
import { AgentSideConnection, ndJsonStream, PROTOCOL_VERSION } from '@agentclientprotocol/sdk';

class WritingAgent {
  constructor(connection) {
    this.connection = connection;
  }
  initialize() {
    return Promise.resolve({ protocolVersion: PROTOCOL_VERSION, agentCapabilities: {} });
  }
  newSession({ cwd }) {
    this.directory = cwd;
    return Promise.resolve({ sessionId: 'one' });
  }
  cancel() {
    return Promise.resolve();
  }
  async prompt({ sessionId, prompt }) {
    const text = prompt.map((block) => block.text).join('\n');
    if (text.includes('Give up')) process.exit(7);
    if (text.includes('Refuse')) return { stopReason: 'refusal' };
    const toolCall = { toolCallId: 'call_1', title: 'Write LOG.md', kind: 'edit', status: 'pending' };
    const options = [
      { kind: 'allow_always', name: 'Always', optionId: 'always' },
      { kind: 'allow_once', name: 'Once', optionId: 'once' },
      { kind: 'reject_once', name: 'No', optionId: 'no' },
    ];
    const { outcome } = await this.connection.requestPermission({ sessionId, toolCall, options });
    writeFileSync(`${this.directory}/LOG.md`, `${outcome.optionId ?? outcome.outcome}\n${text}\n`);
    for (const piece of ['Keep ', 'a log']) {
      const update = { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text: piece } };
      await this.connection.sessionUpdate({ sessionId, update });
    }
    return { stopReason: 'end_turn' };
  }
}

new AgentSideConnection(
  (connection) => new WritingAgent(connection),
  ndJsonStream(Writable.toWeb(process.stdout), Readable.toWeb(process.stdin)),
);
