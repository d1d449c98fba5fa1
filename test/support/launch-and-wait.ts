import { BubblewrapDriver, type SandboxSpec } from '@capstan/sandbox';

/** A process that starts a sandbox, gives GO if it is told to, prints the handle, and then only lives. */
async function main(): Promise<void> {
  const [word, spec = ''] = process.argv.slice(2);
  const sandbox = await new BubblewrapDriver().prepare(JSON.parse(spec) as SandboxSpec);
  if (word === 'GO') await sandbox.go();
  const plain = JSON.stringify(sandbox.handle, (_key, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  );
  process.stdout.write(`${plain}\n`);
  setInterval(() => undefined, 1000);
}

void main();
