/** `main.ts (--hub URL --invite INVITE… [--token-file FILE] | --spoke [--listen PORT] …) [--only PREFIX] [--json]`; see README. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { parseArgs, promisify } from 'node:util';
import { type Attack, type Need, type Outcome, runAttacks } from './attack.ts';
import { HUB_ATTACKS } from './hub/attacks.ts';
import { HubUnderTest } from './hub/hub-under-test.ts';
import { SPOKE_ATTACKS } from './spoke/attacks.ts';
import { SpokeUnderTest } from './spoke/spoke-under-test.ts';
import { hex } from './wire/protobuf.ts';
import { lineOf, reportOf, summaryOf } from './report.ts';

const { values } = parseArgs({
  options: {
    hub: { type: 'string' },
    invite: { type: 'string', multiple: true },
    'token-file': { type: 'string' },
    only: { type: 'string' },
    spoke: { type: 'boolean', default: false },
    listen: { type: 'string', default: '127.0.0.1:0' },
    'restart-with': { type: 'string' },
    operator: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});

const say = (line: string): void => {
  (values.json ? process.stderr : process.stdout).write(`${line}\n`);
};

const chosen = <T>(attacks: readonly Attack<T>[]): Attack<T>[] =>
  attacks.filter(({ id }) => id.startsWith(values.only ?? ''));

function finish(side: 'hub' | 'spoke', outcomes: readonly Outcome[]): void {
  say(summaryOf(outcomes));
  if (values.json) process.stdout.write(`${JSON.stringify(reportOf(side, outcomes))}\n`);
  if (outcomes.some(({ verdict }) => verdict === 'MISMATCH')) process.exitCode = 1;
}

if (values.hub !== undefined && values.invite !== undefined) {
  const token = values['token-file'] === undefined ? undefined : readFileSync(values['token-file'], 'utf8').trim();
  const hub = new HubUnderTest({ url: values.hub, invites: values.invite, token });
  const has = (need: Need): boolean => need === 'admin' && hub.isAdmin;
  finish('hub', await runAttacks(chosen(HUB_ATTACKS), hub, has, (outcome) => say(lineOf(outcome))));
  await hub.close();
} else if (values.spoke) {
  const program = values['restart-with'];
  const restart = async (): Promise<void> => {
    if (program !== undefined) await promisify(execFile)(program);
  };
  const spoke = new SpokeUnderTest(program === undefined ? undefined : restart);
  const [host, port] = values.listen.split(':');
  await spoke.listen(Number(port ?? host), port === undefined ? undefined : host);
  const { operator } = spoke;
  say(`operator to pin: ${operator.id} ${operator.key.id} ${hex(operator.key.raw)}`);
  say(`waiting for the spoke to join: ${spoke.invite}`);
  say(`${(await spoke.joined()).id} has joined`);
  await spoke.ready();
  const has = (need: Need): boolean =>
    (need === 'restart' && spoke.canRestart) || (need === 'operator' && values.operator);
  finish('spoke', await runAttacks(chosen(SPOKE_ATTACKS), spoke, has, (outcome) => say(lineOf(outcome))));
  await spoke.close();
} else {
  process.stderr.write('say --hub URL with --invite INVITE, or --spoke\n');
  process.exitCode = 2;
}
