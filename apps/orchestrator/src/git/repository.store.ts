import { createHash, createHmac, randomUUID } from 'node:crypto';
import { access, chmod, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tenantId, WireFault } from '@capstan/protocol';
import { BareRepository, metadataTurn } from './bare-repository.js';
import { ASK_PASS, credentialEnv } from './credentials.js';
import { diskFaultAt } from './disk-fault.js';
import { KeyedMutex } from './keyed-mutex.js';
import { repositorySource, type RepositorySource } from './repository-source.js';
import { gitText, runGit } from './safe-git.js';
import { sourceFault } from './source-fault.js';
import { loadOrMakeKey } from './store-key.js';
import { removeTornPacks } from './torn-packs.js';

const CONNECT_TIMEOUT_MS = 60_000;
const FETCH_TIMEOUT_MS = 15 * 60_000;
const REFSPEC = '+refs/heads/*:refs/remotes/origin/*';
const HEAD_REF = 'refs/capstan/upstream/HEAD';

/** What the remote says it has. */
interface Advertised {
  /** Commit of its HEAD; undefined where HEAD names nothing. */
  head: string | undefined;
  /** Branch that HEAD is on. */
  branch: string | undefined;
  /** SHA-256 of all that it said: every branch, and the commit that it is on. */
  digest: string;
  /** What `heldRefs` tells where just that was fetched. */
  refs: string;
}

/**
 * One bare repository per (tenant, repository), kept between agents and brought up to date before each.
 *
 * Made by `init --bare` and our own refspec, never by `--mirror`: a mirror's pruning would delete salvage and task refs.
 */
export class RepositoryStore {
  private readonly root: string;
  private readonly credentialsFile: string | undefined;
  private readonly turns = new KeyedMutex();
  /** Digests of what each source said when its branches were last fetched; nothing else moves those branches here. */
  private readonly fetched = new Map<string, string>();
  private secret: Promise<Buffer> | undefined;
  private askPass: Promise<string> | undefined;

  /**
   * @param options.root directory of the store, made where it is missing; its parents must be traversable by agents.
   * @param options.credentialsFile the owner's `git-credentials.yaml`
   */
  constructor(options: { root: string; credentialsFile?: string }) {
    this.root = options.root;
    this.credentialsFile = options.credentialsFile;
  }

  /**
   * The repository, with the branches that its source has now.
   *
   * @throws {WireFault} `repository-missing`, `repository-empty`
   * @throws LocalFault `repository-unavailable`, where a later try may succeed
   */
  async open(tenant: string, repository: string): Promise<BareRepository> {
    const source = repositorySource(repository);
    const directory = await this.placeOf(tenantId(tenant), source.url);
    return this.turns.run(directory, async () => {
      // Of a former life's: first of all, as it may be what leaves no room for anything else.
      await removeTornPacks(`${directory}.git`);
      const config = await writeConfig(directory, source);
      const env = await this.envOf(source);
      const advertised = await ask(source, config, env);
      const gitDir = `${directory}.git`;
      const isNew = await provide(gitDir, config);
      if (isNew || this.fetched.get(gitDir) !== advertised.digest) {
        this.fetched.delete(gitDir);
        await this.turns.run(metadataTurn(gitDir), () => update(gitDir, source, config, env, advertised));
        // A source that was moved while it was fetched may be moved back to what it said before.
        if ((await heldRefs(gitDir, config)) === advertised.refs) this.fetched.set(gitDir, advertised.digest);
      }
      return this.repositoryAt(directory, source, advertised.branch);
    });
  }

  /**
   * The repository as it was when it was last opened, without a question to its source: what a crash left is cleaned up
   * whether or not the source can be reached. undefined where it was never opened, or is gone.
   *
   * @throws {WireFault} `repository-missing` where no repository can have this name
   */
  async recall(tenant: string, repository: string): Promise<BareRepository | undefined> {
    const source = repositorySource(repository);
    const directory = await this.placeOf(tenantId(tenant), source.url);
    return (await isThere(`${directory}.git`)) ? this.repositoryAt(directory, source, undefined) : undefined;
  }

  private repositoryAt(directory: string, source: RepositorySource, defaultBranch: string | undefined): BareRepository {
    return new BareRepository({
      dir: `${directory}.git`,
      source,
      configFile: configFileOf(directory),
      defaultBranch,
      remoteEnv: () => this.envOf(source),
      headRef: HEAD_REF,
      turns: this.turns,
    });
  }

  /** What git needs to reach the source. @throws LocalFault `git-credentials` */
  private async envOf({ url, path }: RepositorySource): Promise<Record<string, string>> {
    if (path !== undefined || this.credentialsFile === undefined) return {};
    return credentialEnv(this.credentialsFile, await this.askPassFile(), url);
  }

  /** Written once: pushes and fetches of several repositories ask for it at the same moment. */
  private askPassFile(): Promise<string> {
    this.askPass ??= writeAskPass(join(this.root, 'askpass')).catch((error: unknown) => {
      this.askPass = undefined;
      throw error;
    });
    return this.askPass;
  }

  /**
   * The path holds a keyed digest: agents run with uids of their own, so that the directories above must be
   * traversable, and nobody on the host may guess the name of another tenant's repository.
   */
  private async placeOf(tenant: string, url: string): Promise<string> {
    const digest = createHmac('sha256', await this.key())
      .update(`${tenant}\0${url}`)
      .digest('hex')
      .slice(0, 32);
    return join(this.root, digest);
  }

  private key(): Promise<Buffer> {
    this.secret ??= loadSecret(this.root).catch((error: unknown) => {
      this.secret = undefined;
      throw error;
    });
    return this.secret;
  }
}

async function writeAskPass(file: string): Promise<string> {
  const fresh = `${file}.${randomUUID()}`;
  await writeFile(fresh, ASK_PASS, { mode: 0o700 });
  await rename(fresh, file);
  return file;
}

async function loadSecret(root: string): Promise<Buffer> {
  await mkdir(root, { recursive: true });
  await chmod(root, 0o711);
  return loadOrMakeKey(join(root, 'secret'));
}

function configFileOf(directory: string): string {
  return `${directory}.gitconfig`;
}

/**
 * A source on this machine may belong to somebody else; that its owner's policy names it is the trust that git asks
 * for. It must come by file: git-upload-pack and git-receive-pack, which git starts, do not get `-c`.
 */
async function writeConfig(directory: string, source: RepositorySource): Promise<string> {
  const file = configFileOf(directory);
  const { path } = source;
  const trusted = path === undefined ? [] : [path, `${path.replace(/\/$/, '')}/.git`];
  const lines = trusted.map((each) => `\tdirectory = "${each.replace(/["\\]/g, '\\$&')}"\n`);
  await writeFile(`${file}.new`, lines.length === 0 ? '' : `[safe]\n${lines.join('')}`, { mode: 0o600 });
  await rename(`${file}.new`, file);
  return file;
}

async function ask(source: RepositorySource, configFile: string, env: Record<string, string>): Promise<Advertised> {
  let text: string;
  try {
    text = await gitText(['ls-remote', '--symref', '--end-of-options', source.url, 'HEAD', 'refs/heads/*'], {
      configFile,
      env,
      timeoutMs: CONNECT_TIMEOUT_MS,
      talks: true,
    });
  } catch (error) {
    throw sourceFault(error);
  }
  const lines = text.split('\n').filter((line) => line !== '');
  if (lines.length === 0) throw new WireFault('repository-empty', source.url);
  const head = /^([0-9a-f]{40,64})\tHEAD$/m.exec(text)?.[1];
  const branch = /^ref: refs\/heads\/(.+)\tHEAD$/m.exec(text)?.[1];
  return { head, branch, digest: createHash('sha256').update(text).digest('hex'), refs: refsOf(lines) };
}

/** @param lines of `ls-remote`, whose patterns also match refs that are not fetched */
function refsOf(lines: readonly string[]): string {
  const refs = lines.flatMap((line) => {
    const [, id = '', name = ''] = /^([0-9a-f]{40,64})\t(HEAD|refs\/heads\/.+)$/.exec(line) ?? [];
    if (name === '') return [];
    return [`${id} ${name === 'HEAD' ? 'upstream/HEAD' : name.replace('refs/heads/', 'origin/')}`];
  });
  return refs.sort().join('\n');
}

/** The source's branches and HEAD as they are here, each with its commit, sorted. @throws GitFault */
async function heldRefs(gitDir: string, configFile: string): Promise<string> {
  const format = '--format=%(objectname) %(refname:lstrip=2)';
  const text = await gitText(['for-each-ref', format, 'refs/remotes/origin/', HEAD_REF], { gitDir, configFile });
  return text.split('\n').sort().join('\n');
}

/** @returns whether it was made now, and is empty */
async function provide(gitDir: string, configFile: string): Promise<boolean> {
  if (await isThere(gitDir)) return false;
  const fresh = `${gitDir}.new`;
  await rm(fresh, { recursive: true, force: true });
  await runGit(
    ['init', '--quiet', '--bare', '--template=', '--initial-branch=main', '--shared=0644', '--end-of-options', fresh],
    { configFile },
  );
  // Read by git inside the sandbox and by a person who looks; the settings that protect us are on the command line.
  const settings = {
    'gc.auto': '0',
    'core.logAllRefUpdates': 'always',
    'receive.denyCurrentBranch': 'refuse',
    // A work tree gets its owner after its index was written: with owner and ctime compared every file would look changed, and
    // each `git status` of its agent would read them all. Only the agent's git goes by this: a harvest has an index of its own.
    'core.checkStat': 'minimal',
    'core.trustctime': 'false',
  };
  for (const [name, value] of Object.entries(settings)) {
    await runGit(['config', '--local', name, value], { gitDir: fresh, configFile });
  }
  await rename(fresh, gitDir);
  return true;
}

/** It is made elsewhere and renamed, so that half of one is never there. */
async function isThere(gitDir: string): Promise<boolean> {
  return access(join(gitDir, 'HEAD')).then(
    () => true,
    () => false,
  );
}

async function update(
  gitDir: string,
  source: RepositorySource,
  configFile: string,
  env: Record<string, string>,
  { head }: Advertised,
): Promise<void> {
  const refspecs = head === undefined ? [REFSPEC] : [REFSPEC, `+HEAD:${HEAD_REF}`];
  const flags = [
    '--quiet',
    '--prune',
    '--no-tags',
    '--no-write-fetch-head',
    '--no-recurse-submodules',
    '--no-auto-maintenance',
  ];
  try {
    // A source whose HEAD names nothing any more has no default branch: what it was on once is none.
    if (head === undefined) await runGit(['update-ref', '-d', '--end-of-options', HEAD_REF], { gitDir, configFile });
    await runGit(['fetch', ...flags, '--end-of-options', source.url, ...refspecs], {
      gitDir,
      configFile,
      env,
      timeoutMs: FETCH_TIMEOUT_MS,
      talks: true,
    });
  } catch (error) {
    const fault = sourceFault(error);
    const told = (fault.code === 'repository-unavailable' ? await diskFaultAt(error, gitDir) : undefined) ?? fault;
    await removeTornPacks(gitDir);
    throw told;
  }
}
