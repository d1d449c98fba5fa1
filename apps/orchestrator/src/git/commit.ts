import { diskFaultAt } from './disk-fault.js';
import { objectId, branchName } from './refs.js';
import type { BareRepository } from './bare-repository.js';

export interface Author {
  name: string;
  email: string;
}

export interface CommitOrder {
  repository: BareRepository;
  tree: string;
  /** Parents, in order. */
  parents: readonly string[];
  /** Local branch that is set to the commit. */
  branch: string;
  message: string;
  author: Author;
  /** Lines at the end of the message, e.g. `Capstan-Agent: …`. */
  trailers: Record<string, string>;
}

/** Makes a commit of a harvested tree and sets the branch to it. @returns the commit. @throws GitFault; LocalFault `disk-full` */
export async function commitHarvest(order: CommitOrder): Promise<string> {
  const { repository, branch } = order;
  const ref = `refs/heads/${branchName(branch)}`;
  try {
    const commit = await makeCommit(order);
    // What the branch held before stays in its reflog, and nothing is ever collected.
    await repository.git(['update-ref', '-m', 'capstan: harvest', '--end-of-options', ref, commit]);
    return commit;
  } catch (error) {
    throw (await diskFaultAt(error, repository.dir)) ?? error;
  }
}

/** The commit alone, without a ref. @throws GitFault */
export async function makeCommit({
  repository,
  tree,
  parents,
  message,
  author,
  trailers,
}: Omit<CommitOrder, 'branch'>): Promise<string> {
  const person = { name: identity(author.name), email: identity(author.email) };
  const env = {
    GIT_AUTHOR_NAME: person.name,
    GIT_AUTHOR_EMAIL: person.email,
    GIT_COMMITTER_NAME: person.name,
    GIT_COMMITTER_EMAIL: person.email,
  };
  const args = ['commit-tree', ...parents.flatMap((parent) => ['-p', objectId(parent)]), '-F', '-', objectId(tree)];
  return objectId(await repository.gitText(args, { env, stdin: withTrailers(message, trailers) }));
}

function withTrailers(message: string, trailers: Record<string, string>): string {
  const lines = Object.entries(trailers).map(([name, value]) => `${name}: ${oneLine(value)}`);
  const body = message.replaceAll('\0', '').trim();
  return `${[body, lines.join('\n')].filter((part) => part !== '').join('\n\n')}\n`;
}

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim();
/** git drops these marks itself; a name made of nothing else would be an error. */
const identity = (text: string): string => text.replace(/[<>\n\0]/g, '').trim() || 'Capstan';
