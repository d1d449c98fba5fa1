import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Output } from '../output/output.js';
import { message } from './agents-message.js';

describe('capstan agents message', () => {
  const directory = mkdtempSync(join(tmpdir(), 'capstan-message-'));
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  const send = (id: string): Promise<void> => {
    const nothing = { write: () => true };
    return message(new Output({ isJson: true, streams: { out: nothing, err: nothing } }), directory, id, 'Hello');
  };

  it('names no path by an id that is none', async () => {
    await expect(send('../queue/pause')).rejects.toMatchObject({ code: 'id-malformed' });
  });

  it('says that nobody answers where no orchestrator is', async () => {
    await expect(send('agent-1')).rejects.toMatchObject({ code: 'orchestrator-away' });
  });
});
