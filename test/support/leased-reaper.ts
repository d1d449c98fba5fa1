import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keyRecord, KeyRing, makeHeader, saveTrust, signPayload, SigningKey } from '@capstan/identity';
import { create, Direction, encodeEnvelope, LeaseRenewalSchema, type PayloadKind, toBinary } from '@capstan/protocol';
import { ReaperProcess } from './reaper-process.js';

/** What a test changes about a renewal that would be taken. */
export interface RenewalChange {
  sessionEpoch?: bigint;
  counter?: bigint;
  durationMs?: bigint;
  header?: Partial<Parameters<typeof makeHeader>[0]>;
  key?: SigningKey;
  kind?: PayloadKind;
}

/** A real reaper process whose host's clocks jump, and the hub by whose word its agents live. */
export class LeasedReaper implements AsyncDisposable {
  readonly hubKey = SigningKey.generate();
  private shift = { wallMs: 0, bootMs: 0 };
  private counter = 0n;

  private constructor(
    private readonly room: string,
    readonly reaper: ReaperProcess,
    private readonly clockFile: string,
  ) {}

  static async started(): Promise<LeasedReaper> {
    const room = mkdtempSync(join(tmpdir(), 'capstan-lease-'));
    const clockFile = join(room, 'clock.json');
    const program = 'apps/orchestrator/test/clocked-reaper.ts';
    const reaper = await ReaperProcess.create('harbor', room, { program, env: { CAPSTAN_TEST_CLOCK: clockFile } });
    const leased = new LeasedReaper(room, reaper, clockFile);
    leased.move({});
    mkdirSync(join(reaper.directory, 'reaper'), { mode: 0o700 });
    const pin = keyRecord('hub', leased.hubKey.publicKey, ['lease']);
    await saveTrust(join(reaper.directory, 'reaper', 'hub.json'), new KeyRing([pin]));
    expect(await reaper.start()).toBe('reaper-ready');
    return leased;
  }

  /** Moves the reaper's clocks, milliseconds from where they are; a suspend moves both, and no timer of the process. */
  move({ wallMs = 0, bootMs = 0 }: { wallMs?: number; bootMs?: number }): void {
    this.shift = { wallMs: this.shift.wallMs + wallMs, bootMs: this.shift.bootMs + bootMs };
    const fresh = `${this.clockFile}.new`;
    writeFileSync(fresh, JSON.stringify(this.shift));
    renameSync(fresh, this.clockFile);
  }

  /** The hub's next renewal, signed at the time that the reaper's wall clock shows. */
  renewal(change: RenewalChange = {}): Uint8Array {
    const { sessionEpoch = 1n, counter = ++this.counter, durationMs = 3_600_000n, key = this.hubKey } = change;
    const header = makeHeader({
      issuer: 'hub',
      audience: 'harbor',
      direction: Direction.HUB_TO_SPOKE,
      lifetimeMs: 30_000,
      nowMs: Date.now() + this.shift.wallMs,
      ...change.header,
    });
    const payload = create(LeaseRenewalSchema, { header, sessionEpoch, counter, durationMs });
    return encodeEnvelope(signPayload(key, change.kind ?? 'lease', toBinary(LeaseRenewalSchema, payload)));
  }

  /** The code with which the reaper refuses a renewal; undefined where it takes it. */
  async renew(change: RenewalChange = {}): Promise<string | undefined> {
    const answer = await this.reaper.client.renew(this.renewal(change));
    return answer.ok ? undefined : answer.code;
  }

  async restart(): Promise<void> {
    await this.reaper.stop('SIGKILL');
    expect(await this.reaper.start()).toBe('reaper-ready');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.reaper[Symbol.asyncDispose]();
    rmSync(this.room, { recursive: true });
  }
}
