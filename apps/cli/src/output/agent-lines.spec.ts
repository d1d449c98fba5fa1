import { agentView, AgentSnapshotSchema, AgentState, create } from '@capstan/protocol';
import { agentLines } from './agent-lines.js';

describe('an agent, for people', () => {
  const linesOf = (warnings: { code: string; sentence: string }[]): string[] => {
    const view = agentView(create(AgentSnapshotSchema, { agentId: 'wren', state: AgentState.RUNNING, warnings }));
    return agentLines({ ...view, instance: 'quay', asOf: '2030-01-01T00:00:00Z', leaseEndsAt: null });
  };

  it('is shown with what it was not given', () => {
    const sentence = 'Submodules are not fetched, their directories are empty here: vendor/a.';
    expect(linesOf([{ code: 'repository-submodules', sentence }])).toContain(`  note: ${sentence}`);
    expect(linesOf([]).join('\n')).not.toContain('note');
  });
});
