import type { Mount } from '@capstan/sandbox';
import { join } from 'node:path';

/** Outside of anything that the runtime mounts. */
const PLACES = { workspace: '/workspace', objects: '/objects' } as const;

/** What stands before the name of a file that was left out. */
export const LEFT_OUT = 'capstan left out: ';
const MOST_NAMED = 20;

/** The work tree and the repository's objects, both read-only: a harvest changes neither. */
export function harvestMounts(worktreeDir: string, repositoryDir: string): Mount[] {
  return [
    { source: worktreeDir, target: PLACES.workspace, mode: 'ro' },
    { source: join(repositoryDir, 'objects'), target: PLACES.objects, mode: 'ro' },
  ];
}

/**
 * Runs inside the harvest sandbox: $1 is the commit that the agent started from, $2 a further option of `git add`, $3 a
 * file that is left out, $4 bytes of one changed file at most: larger ones are named on standard error, and with $2 left out.
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
  pack.packSizeLimit=200m advice.addEmbeddedRepo=false index.threads=1 gc.auto=0 submodule.recurse=false; do
  git config --local "\${setting%%=*}" "\${setting#*=}"
done
export GIT_WORK_TREE=${PLACES.workspace} GIT_INDEX_FILE=/harvest/index
cd ${PLACES.workspace}
git read-tree "$1^{tree}"
# Without it each file would be packed anew before git sees that it has it, past the bound on files where one is large.
git update-index -q --refresh > /dev/null || true
if [ -n "$2" ]; then
  # As the bytes are: git gives up altogether where one file cannot be converted.
  mkdir -p /harvest/git/info
  echo '* !working-tree-encoding' > /harvest/git/info/attributes
fi
# Looked for before git reads them: it would pack gigabytes, only for us to refuse them.
find . -name .git -prune -o -type f -size +"$4"c -print0 > /harvest/large 2> /dev/null || true
if [ -s /harvest/large ]; then
  xargs -0 env GIT_LITERAL_PATHSPECS=1 git ls-files -z --others --modified --exclude-standard -- \\
    < /harvest/large > /harvest/left
fi
if [ -z "$2" ]; then
  if [ -s /harvest/left ]; then
    xargs -0 printf "%s is larger than $4 bytes\\n" < /harvest/left | head -n ${String(MOST_NAMED)} >&2
    exit 1
  fi
  git add --all -- .
else
  printf '.\\000' > /harvest/paths
  if [ -s /harvest/left ]; then
    xargs -0 printf '${LEFT_OUT}%s\\n' < /harvest/left | head -n ${String(MOST_NAMED)} >&2
    xargs -0 printf ':(exclude,literal)%s\\000' < /harvest/left >> /harvest/paths
  fi
  # 1 says that single files could not be added; anything else that none of them was.
  git add --all "$2" --pathspec-from-file=/harvest/paths --pathspec-file-nul || [ $? -eq 1 ]
fi
if [ -n "$3" ]; then git update-index --force-remove -- "$3"; fi
tree=$(git write-tree)
echo "$tree"
# Of the base its tree: beside a tree git leaves nothing out for a commit, and would pack every file.
printf '%s\\n^%s^{tree}\\n' "$tree" "$1" | git pack-objects --quiet --revs --stdout --delta-base-offset --window=5
`;
