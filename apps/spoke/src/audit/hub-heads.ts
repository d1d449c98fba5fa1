import { open, readFile } from 'node:fs/promises';
import { headLine, parseHeads, type TreeState, verifyTreeHead } from '@capstan/evidence';
import { type KeyRing, replaceFile } from '@capstan/identity';
import { decodeEnvelope } from '@capstan/protocol';

/** One in each hour stays for ever: proofs tie those between to these. */
const HOUR_MS = 3_600_000;

export interface HubHeadFiles {
  /** The newest head. */
  newest: string;
  /** One head of each hour, oldest first. */
  hourly: string;
}

/** The heads of the hub's log on disk, in the form in which `capstan verify --witness` takes them. */
export class HubHeads {
  private hourlyAtMs = -Infinity;

  constructor(private readonly files: HubHeadFiles) {}

  /**
   * The newest head that is kept; undefined before the first.
   *
   * @throws LocalFault `heads-malformed`; WireFault where the hub has not signed it
   */
  async load(keys: KeyRing): Promise<TreeState | undefined> {
    const hourly = parseHeads(await textOf(this.files.hourly));
    this.hourlyAtMs = hourly.at(-1)?.receivedAtMs ?? -Infinity;
    const newest = parseHeads(await textOf(this.files.newest)).at(-1);
    return newest === undefined ? undefined : verifyTreeHead(newest.envelope, { keys, owner: 'hub' });
  }

  /** Resolves once the head is on disk. */
  async keep(bytes: Uint8Array, nowMs: number): Promise<void> {
    const line = headLine(decodeEnvelope(bytes), nowMs);
    if (nowMs - this.hourlyAtMs >= HOUR_MS) {
      await append(this.files.hourly, line);
      this.hourlyAtMs = nowMs;
    }
    await replaceFile(this.files.newest, line, 0o600);
  }
}

async function append(file: string, line: string): Promise<void> {
  await using handle = await open(file, 'a', 0o600);
  await handle.appendFile(line);
  await handle.datasync();
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
