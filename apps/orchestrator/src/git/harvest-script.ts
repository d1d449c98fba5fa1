import type { Mount } from '@capstan/sandbox';
import { join } from 'node:path';

/** Outside of anything that the runtime mounts. */
const PLACES = { workspace: '/workspace', objects: '/objects' } as const;

/** The work tree and the repository's objects, both read-only: a harvest changes neither. */
export function harvestMounts(worktreeDir: string, repositoryDir: string): Mount[] {
  return [
    { source: worktreeDir, target: PLACES.workspace, mode: 'ro' },
    { source: join(repositoryDir, 'objects'), target: PLACES.objects, mode: 'ro' },
  ];
}

/**
 * Runs inside the harvest sandbox: $1 is the commit that the agent started from, $2 a further option of `git add`, $3 a
 * file that is left out.
 * Prints the tree's id, a line end, and a pack of what the base has not.
 *
 * The git directory is new and in memory, with a configuration that is ours: no filter, hook or monitor that the
 * agent named can run. `ulimit -f` bounds each file that git writes (256 MiB, in blocks of 512 bytes).
 */
export const HARVEST_SCRIPT = `
set -eu
ulimit -f 524288
export GIT_DIR=/harvest/git GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1
export GIT_TERMINAL_PROMPT=0 GIT_NO_REPLACE_OBJECTS=1 GIT_NO_LAZY_FETCH=1 GIT_ALLOW_PROTOCOL=none
git init --quiet --bare --template= /harvest/git
mkdir -p /harvest/git/objects/info
echo ${PLACES.objects} > /harvest/git/objects/info/alternates
for setting in core.bare=false core.hooksPath=/dev/null core.fsmonitor=false core.untrackedCache=false \\
  core.protectHFS=true core.protectNTFS=true core.attributesFile=/dev/null core.excludesFile=/dev/null \\
  core.safecrlf=false core.bigFileThreshold=16m core.compression=1 pack.threads=1 pack.windowMemory=64m \\
  advice.addEmbeddedRepo=false index.threads=1 gc.auto=0 submodule.recurse=false; do
  git config --local "\${setting%%=*}" "\${setting#*=}"
done
export GIT_WORK_TREE=${PLACES.workspace} GIT_INDEX_FILE=/harvest/index
cd ${PLACES.workspace}
git read-tree "$1^{tree}"
if [ -n "$2" ]; then git add --all "$2" -- . || true; else git add --all -- .; fi
if [ -n "$3" ]; then git update-index --force-remove -- "$3"; fi
tree=$(git write-tree)
echo "$tree"
printf '%s\\n^%s\\n' "$tree" "$1" | git pack-objects --quiet --revs --stdout --delta-base-offset --window=5
`;
