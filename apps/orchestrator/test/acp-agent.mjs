/** An agent that speaks the Agent Client Protocol and does what its task says: asks for permission, and writes a file if it may. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { AgentSideConnection, ndJsonStream, PROTOCOL_VERSION } from '@agentclientprotocol/sdk';

class WritingAgent {
  constructor(connection) {
    this.connection = connection;
    this.prompts = 0;
    this.style = [];
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
    this.prompts += 1;
    if (text.includes('wait')) await this.waitForLeave(sessionId);
    const toolCall = { toolCallId: 'call_1', title: 'Write LOG.md', kind: 'edit', status: 'pending' };
    const options = [
      { kind: 'allow_always', name: 'Always', optionId: 'always' },
      { kind: 'allow_once', name: 'Once', optionId: 'once' },
      { kind: 'reject_once', name: 'No', optionId: 'no' },
    ];
    const { outcome } = await this.connection.requestPermission({ sessionId, toolCall, options });
    if (text.includes('capitals')) this.style = ['capitals'];
    const first = this.prompts === 1 ? [] : [`prompt ${this.prompts}`];
    const lines = [...first, outcome.optionId ?? outcome.outcome, ...this.style, text];
    // What looks like a key, until it is told that it stands there.
    if (this.prompts === 2) lines.push(`const key = "sk-${'ant'}-api03-${'k'.repeat(60)}";`);
    writeFileSync(`${this.directory}/LOG.md`, `${lines.join('\n')}\n`);
    for (const piece of ['Keep ', 'a log']) await this.say(sessionId, piece);
    return { stopReason: 'end_turn' };
  }
  async waitForLeave(sessionId) {
    await this.say(sessionId, 'I wait');
    await this.connection.sessionUpdate({ sessionId, update: { sessionUpdate: 'plan', entries: [] } });
    const isThere = () =>
      spawnSync('git', ['rev-parse', '--quiet', '--verify', 'refs/capstan/test-go'], { cwd: this.directory }).status ===
      0;
    while (!isThere()) await delay(100);
  }
  async say(sessionId, text) {
    const update = { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text } };
    await this.connection.sessionUpdate({ sessionId, update });
  }
}

new AgentSideConnection(
  (connection) => new WritingAgent(connection),
  ndJsonStream(Writable.toWeb(process.stdout), Readable.toWeb(process.stdin)),
);
