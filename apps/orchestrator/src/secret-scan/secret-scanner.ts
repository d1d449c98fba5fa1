import { randomBytes } from 'node:crypto';
import type { SecretScanPolicy } from '@capstan/platform';
import { WireFault, type AgentId } from '@capstan/protocol';
import { changesOf, HARVEST_LIMITS, type BareRepository } from '../git/index.js';
import { isAllowed } from './allowance.js';
import { ISSUED_RULE, type SecretFinding } from './finding.js';
import { fingerprintsOf, type Fingerprint } from './fingerprints.js';
import { batches, newContents, readBlobs, type NewContent } from './new-contents.js';
import type { Place } from './scan-content.js';
import { SCAN_PROGRAM, ScanThread, type ScanProgram } from './scan-thread.js';
import { windowsOf } from './windows.js';

const TIMEOUT_MS = 60_000;
/** Unpacked bytes of new files that are scanned; a tree that has more is not committed. */
const MOST_BYTES = 512 * 1024 * 1024;

export interface ScanOrder {
  agentId: AgentId;
  /** The agent was started with sealed secrets. */
  hasSecrets: boolean;
  repository: BareRepository;
  /** Commit that has what is not new. */
  base: string;
  tree: string;
  /** Message, branch and author, by what a finding calls them. */
  texts: Readonly<Record<string, string>>;
  policy: SecretScanPolicy;
}

export interface ScannerOptions {
  /** Secrets of the instance itself, its model key for one. */
  held?: readonly string[];
  program?: ScanProgram;
  /** Milliseconds for one tree. */
  timeoutMs?: number;
}

/**
 * Looks for secrets in what is about to be committed: in the repository's own objects, never in the work tree, so that what
 * is scanned is what is committed. Whatever goes wrong, nothing is let through.
 */
export class SecretScanner {
  private readonly key = randomBytes(32);
  private readonly held: readonly Fingerprint[];
  private readonly issued = new Map<AgentId, readonly Fingerprint[]>();

  constructor(private readonly options: ScannerOptions = {}) {
    this.held = this.fingerprints(options.held ?? []);
  }

  /** Remembers what an agent is given, as fingerprints. */
  issue(agentId: AgentId, secrets: Readonly<Record<string, string>>): void {
    if (Object.keys(secrets).length > 0) this.issued.set(agentId, this.fingerprints(Object.values(secrets)));
  }

  forget(agentId: AgentId): void {
    this.issued.delete(agentId);
  }

  /**
   * @returns what was found and is not excused by the owner; nothing that stood at the same path before.
   * @throws {WireFault} `secret-scan-failed`
   */
  async scan(order: ScanOrder): Promise<SecretFinding[]> {
    try {
      return await this.scanAll(order);
    } catch (error) {
      throw new WireFault('secret-scan-failed', error instanceof Error ? error.message : '', { cause: error });
    }
  }

  private async scanAll(order: ScanOrder): Promise<SecretFinding[]> {
    const { agentId, repository, base, tree, texts, policy } = order;
    const issued = this.issued.get(agentId);
    if (order.hasSecrets && issued === undefined) throw new Error('what the agent was given is not known any more');
    const changes = await changesOf(repository, base, tree, {}, HARVEST_LIMITS.files);
    const files = await newContents(repository, changes);
    if (files.reduce((sum, { size }) => sum + size, 0) > MOST_BYTES) throw new Error('more than can be scanned');
    const { program = SCAN_PROGRAM, timeoutMs = TIMEOUT_MS } = this.options;
    await using thread = new ScanThread(
      program,
      { issued: [...this.held, ...(issued ?? [])], key: this.key },
      timeoutMs,
    );
    const findings = await scanTexts(thread, { ...texts, ...(await namesOf(thread, files)) });
    const isSecretName = new Set(findings.map(({ where }) => where));
    for (const batch of batches(files)) {
      for (const { file, places } of await scanFiles(thread, repository, batch)) {
        const where = isSecretName.has(nameOf(file, files)) ? nameOf(file, files) : file.where;
        for (const { line, rule } of places) {
          if (rule === ISSUED_RULE || !isAllowed(policy, file.path, rule)) findings.push({ where, line, rule });
        }
      }
    }
    return findings;
  }

  private fingerprints(values: readonly string[]): Fingerprint[] {
    return values.flatMap((value) => fingerprintsOf(value, this.key));
  }
}

/** A path can be a secret itself: such a file is called by its number. */
const nameOf = (file: NewContent, files: readonly NewContent[]): string =>
  `the name of changed file ${String(files.indexOf(file) + 1)}`;

async function namesOf(thread: ScanThread, files: readonly NewContent[]): Promise<Record<string, string>> {
  if (files.length === 0) return {};
  const all = await thread.scan([Buffer.concat(files.flatMap(({ path }) => [path, Buffer.from('\n')]))]);
  if ((all[0] ?? []).length === 0) return {};
  return Object.fromEntries(files.map((file) => [nameOf(file, files), file.path.toString('latin1')]));
}

async function scanTexts(thread: ScanThread, texts: Readonly<Record<string, string>>): Promise<SecretFinding[]> {
  const names = Object.keys(texts);
  const found = await thread.scan(Object.values(texts).map((text) => Buffer.from(text, 'utf8')));
  return found.flatMap((places, index) =>
    places.map(({ line, rule }) => ({ where: names[index] ?? 'the commit', line, rule })),
  );
}

async function scanFiles(
  thread: ScanThread,
  repository: BareRepository,
  batch: readonly NewContent[],
): Promise<{ file: NewContent; places: Place[] }[]> {
  const contents = await readBlobs(repository, batch);
  const found: { file: NewContent; places: Place[] }[] = [];
  for (const [index, file] of batch.entries()) {
    const places = await scanBytes(thread, contents[index] ?? Buffer.alloc(0));
    if (places.length === 0) continue;
    const known = new Set((await placesBefore(thread, repository, file)).map(markOf));
    found.push({ file, places: places.filter((place) => !known.has(markOf(place))) });
  }
  return found;
}

const markOf = ({ rule, mark }: Place): string => `${rule} ${mark}`;

async function scanBytes(thread: ScanThread, content: Buffer): Promise<Place[]> {
  const places: Place[] = [];
  for (const { bytes, lines } of windowsOf(content)) {
    const [found = []] = await thread.scan([bytes]);
    places.push(...found.map((place) => ({ ...place, line: place.line + lines })));
  }
  // Two pieces overlap.
  return [...new Map(places.map((place) => [`${String(place.line)} ${markOf(place)}`, place])).values()];
}

/** What stood there before the agent came is not its doing. */
async function placesBefore(thread: ScanThread, repository: BareRepository, file: NewContent): Promise<Place[]> {
  if (file.before === undefined) return [];
  const size = Number(await repository.gitText(['cat-file', '-s', file.before]));
  if (!(size <= HARVEST_LIMITS.fileBytes)) return [];
  const [content = Buffer.alloc(0)] = await readBlobs(repository, [{ id: file.before, size }]);
  return scanBytes(thread, content);
}
