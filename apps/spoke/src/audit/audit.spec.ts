import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AuditLog } from '@capstan/evidence';
import { Audit } from './audit.js';

test('what a peer can repeat for nothing does not fill the log, and does not hide what is of another kind', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'capstan-audit-'));
  const file = join(dir, 'spoke.log');
  const audit = new Audit(await AuditLog.open(file));
  for (let time = 0; time < 1_000; time++) audit.noteSome({ kind: 'command.rejected', subject: 'noise', detail: {} });
  audit.noteSome({ kind: 'command.duplicate', subject: 'a-command', detail: {} });
  await audit.onApplicationShutdown();
  const text = await readFile(file, 'utf8');
  expect(text.match(/command\.rejected/g)).toHaveLength(60);
  expect(text.match(/command\.duplicate/g)).toHaveLength(1);
  await rm(dir, { recursive: true });
});
