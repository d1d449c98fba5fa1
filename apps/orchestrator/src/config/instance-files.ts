import { readFile } from 'node:fs/promises';
import { loadTrust, loadTrustIfAny, type KeyRing } from '@capstan/identity';
import { loadPolicy, LocalFault, type OwnerPolicy } from '@capstan/platform';
import { isId } from '@capstan/protocol';
import { FreshFile } from './fresh-file.js';
import type { InstancePaths } from './settings.js';

/** What the owner and the spoke have written into the instance's directory; each read again when it changes. */
export class InstanceFiles {
  private readonly instance: FreshFile<string>;
  private readonly trustFile: FreshFile<KeyRing>;
  private readonly operatorsFile: FreshFile<KeyRing>;
  private readonly peersFile: FreshFile<KeyRing>;
  private readonly policyFile: FreshFile<OwnerPolicy>;

  constructor(paths: InstancePaths) {
    this.instance = new FreshFile(paths.instance, loadInstanceId);
    this.trustFile = new FreshFile(paths.trust, loadTrust);
    this.operatorsFile = new FreshFile(paths.operators, loadTrustIfAny);
    this.peersFile = new FreshFile(paths.peers, loadTrustIfAny);
    this.policyFile = new FreshFile(paths.policy, loadPolicy);
  }

  /** Who this instance is. @throws LocalFault `instance-unenrolled` before it has joined a hub */
  instanceId(): Promise<string> {
    return this.instance.read();
  }

  /** The keys that may order. */
  trust(): Promise<KeyRing> {
    return this.trustFile.read();
  }

  /** Operators whose own signatures the owner believes. */
  operators(): Promise<KeyRing> {
    return this.operatorsFile.read();
  }

  /** Other instances, as the spoke has pinned them. */
  peers(): Promise<KeyRing> {
    return this.peersFile.read();
  }

  policy(): Promise<OwnerPolicy> {
    return this.policyFile.read();
  }
}

async function loadInstanceId(file: string): Promise<string> {
  try {
    const { instanceId } = JSON.parse(await readFile(file, 'utf8')) as { instanceId?: unknown };
    if (typeof instanceId === 'string' && isId(instanceId)) return instanceId;
  } catch (error) {
    throw new LocalFault('instance-unenrolled', 'This instance has not joined a hub.', undefined, { cause: error });
  }
  throw new LocalFault('instance-unenrolled', 'The instance.json of this instance names none.', file);
}
