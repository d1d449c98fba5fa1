/** One way in which an agent's work tree, or a source, tries to make git on the host do something. */
export interface GitAttack {
  name: string;
  /** Runs as the agent, in its sandbox, in the work tree; `$MARKER` is a file of the host. */
  script: string;
  /** `taken`: as plain files; `refused`: with `harvest-refused`; `nothing`: there is no change. */
  end: 'taken' | 'refused' | 'nothing';
}

const ARMED = `[core]
	fsmonitor = touch $MARKER
	sshCommand = touch $MARKER
	hooksPath = .hooks
	worktree = /
	editor = touch $MARKER
	pager = touch $MARKER
	alternateRefsCommand = touch $MARKER
[filter "x"]
	clean = touch $MARKER
	smudge = touch $MARKER
	process = touch $MARKER
	required = true
[diff "x"]
	textconv = touch $MARKER
	command = touch $MARKER
[merge "x"]
	driver = touch $MARKER
[credential]
	helper = !touch $MARKER
[include]
	path = /etc/passwd`;
const armed = (file: string): string => `cat > '${file}' <<CAPSTAN\n${ARMED}\nCAPSTAN\n`;
const ATTRIBUTES = "printf '* filter=x diff=x merge=x text eol=crlf ident\\n' > .gitattributes\n";
const COMMIT = '-c user.name=a -c user.email=a@b commit -qm x';

/** Everything that is known to us to have turned git against its user, and what is near to it. */
export const GIT_ATTACKS: readonly GitAttack[] = [
  {
    name: 'filters by attributes and a configuration beside them',
    script: `${ATTRIBUTES}${armed('.gitconfig')}`,
    end: 'taken',
  },
  {
    name: 'attributes in every place that git reads',
    script: `${ATTRIBUTES}mkdir -p info .git2/info; cp .gitattributes info/attributes; cp .gitattributes .git2/info/attributes`,
    end: 'taken',
  },
  {
    name: 'an encoding that git is to convert from',
    script: `printf '*.md working-tree-encoding=UTF-16\\n' > .gitattributes; echo x >> README.md`,
    end: 'refused',
  },
  {
    name: 'attributes that include macros',
    script: `printf '[attr]binary filter=x\\n*.ts binary\\n' > .gitattributes; echo 'export {}; //' > src/a.ts`,
    end: 'taken',
  },
  {
    name: 'hooks in the tree, and a configuration that names them',
    script: `mkdir .hooks; printf '#!/bin/sh\\ntouch $MARKER\\n' > .hooks/post-checkout; cp .hooks/post-checkout .hooks/reference-transaction; chmod +x .hooks/*; ${armed('.gitconfig')}`,
    end: 'taken',
  },
  {
    name: 'a .git that is replaced',
    script: `rm -rf .git; mv .git .gone; mkdir .git; ${armed('.git/config')}true`,
    end: 'nothing',
  },
  {
    name: 'metadata that is written through',
    script: `git config core.fsmonitor 'touch $MARKER'; git update-ref refs/replace/$(git rev-parse HEAD) HEAD; git replace HEAD HEAD~0; echo x > /opt/capstan/repository.git/hooks/post-update; echo '* filter=x' > /opt/capstan/repository.git/info/attributes; true`,
    end: 'nothing',
  },
  {
    name: 'an embedded repository',
    script: `git init -q inner; cd inner; ${armed('.git/config')}echo x > x`,
    end: 'refused',
  },
  {
    name: 'an embedded repository with a commit',
    script: `git init -q inner; cd inner; echo x > x; git add x; git ${COMMIT}; ${armed('.git/config')}`,
    end: 'refused',
  },
  {
    name: 'an embedded bare repository',
    script: `git init -q --bare lib; cd lib; ${armed('config')}rm -rf hooks; echo x > refs/heads/x`,
    end: 'taken',
  },
  {
    name: 'a file .git that points into the tree',
    script: `git init -q --bare lib; ${armed('lib/config')}mkdir inner; echo 'gitdir: ../lib' > inner/.git; echo x > inner/x`,
    end: 'refused',
  },
  {
    name: 'a commondir and a gitdir in the tree',
    script: `echo /etc > commondir; echo /etc/passwd > gitdir; echo 'ref: refs/heads/main' > HEAD; mkdir -p objects refs; ${armed('config')}`,
    end: 'taken',
  },
  {
    name: 'alternates',
    script: `mkdir -p objects/info; echo /etc > objects/info/alternates; echo http://127.0.0.1:1/ > objects/info/http-alternates`,
    end: 'taken',
  },
  {
    name: 'grafts, shallow and replace files',
    script: `mkdir -p info refs/replace; git rev-parse HEAD > info/grafts; git rev-parse HEAD > shallow; git rev-parse HEAD > refs/replace/$(git rev-parse HEAD)`,
    end: 'taken',
  },
  {
    name: 'a submodule whose URL is an option',
    script: `printf '[submodule "x"]\\n\\tpath = x\\n\\turl = --upload-pack=touch\\n' > .gitmodules`,
    end: 'refused',
  },
  {
    name: 'a submodule whose URL is a program',
    script: `printf '[submodule "x"]\\n\\tpath = x\\n\\turl = ext::sh -c touch%% $MARKER\\n' > .gitmodules`,
    end: 'taken',
  },
  {
    name: 'a submodule whose path is an option',
    script: `printf '[submodule "x"]\\n\\tpath = -x\\n\\turl = x\\n' > .gitmodules`,
    end: 'refused',
  },
  {
    name: 'a submodule whose name goes upwards',
    script: `printf '[submodule "../../x"]\\n\\tpath = x\\n\\turl = x\\n' > .gitmodules`,
    end: 'refused',
  },
  {
    name: 'a submodule that updates by a command',
    script: `printf '[submodule "x"]\\n\\tpath = x\\n\\turl = y\\n\\tupdate = !touch $MARKER\\n' > .gitmodules`,
    end: 'refused',
  },
  { name: 'instructions for submodules as a link', script: `ln -s /etc/passwd .gitmodules`, end: 'refused' },
  {
    name: 'links to the host',
    script: `ln -s / root; ln -s /etc/passwd src/passwd; ln -s ../../../../../../etc up; rm -r src/a.ts; ln -s /etc src/a.ts`,
    end: 'taken',
  },
  { name: 'a link in place of a directory', script: `rm -r src; ln -s /etc src`, end: 'taken' },
  {
    name: 'attributes and ignores as links to the host',
    script: `ln -s /etc/passwd .gitattributes; ln -s /etc/passwd .gitignore; ln -s /etc/passwd .mailmap`,
    end: 'taken',
  },
  ...[
    '.GIT',
    '.Git',
    'GIT~1',
    'git~1',
    '.git ',
    '.git.',
    '.git...',
    '.g\u200cit',
    '.git\u200d',
    '.git::$INDEX_ALLOCATION',
    'git~01'.replace('0', ''),
  ].map((name): GitAttack => ({
    name: `a twin of .git: ${JSON.stringify(name)}`,
    script: `mkdir -p '${name}'; ${armed(`${name}/config`)}`,
    end: 'refused',
  })),
  {
    name: 'a twin of .git beneath a directory',
    script: `mkdir -p a/b/.GiT/hooks; ${armed('a/b/.GiT/config')}`,
    end: 'refused',
  },
  { name: 'a name with a backslash', script: `printf x > '.git\\config'`, end: 'refused' },
  {
    name: 'names that are options',
    script: `printf x > '--upload-pack=touch $MARKER'; printf x > '-c'; printf x > '--exec=sh'; mkdir -- '-C'; printf x > '-C/x'`,
    end: 'taken',
  },
  {
    name: 'names that are patterns or revisions',
    script: `printf x > ':(exclude)*'; printf x > ':!x'; printf x > 'HEAD'; printf x > 'main'; printf x > '@{u}'; printf x > '*'`,
    end: 'taken',
  },
  {
    name: 'names with a line end',
    script: `printf x > "$(printf 'a\\nb\\n.git')"; printf x > "$(printf 'tree 0\\n')x"`,
    end: 'taken',
  },
  {
    name: 'names that are no UTF-8',
    script: `printf x > "$(printf 'caf\\351')"; printf x > "$(printf '\\377\\376')"`,
    end: 'taken',
  },
  { name: 'names that a terminal obeys', script: `printf x > "$(printf 'x\\033[2J\\033]0;title\\007')"`, end: 'taken' },
  {
    name: 'two names that are one elsewhere',
    script: `printf a > File; printf b > file; printf c > FILE; printf a > "$(printf 'caf\\303\\251')"; printf b > "$(printf 'cafe\\314\\201')"`,
    end: 'taken',
  },
  {
    name: 'a path that is longer than git takes',
    script: `i=0; while [ $i -lt 25 ]; do d=$(printf %0200d $i); mkdir $d && cd -P $d || exit 1; i=$((i+1)); done; echo deep > file`,
    end: 'nothing',
  },
  { name: 'what is no file', script: `mkfifo pipe; ln -s pipe link-to-pipe; echo x > x`, end: 'taken' },
  {
    name: 'environment of git in the tree',
    script: `printf 'GIT_SSH_COMMAND=touch $MARKER\\nGIT_EXEC_PATH=/workspace\\n' > .env; printf '#!/bin/sh\\ntouch $MARKER\\n' > git; cp git git-upload-pack; cp git sh; chmod +x git sh git-upload-pack`,
    end: 'taken',
  },
  {
    name: 'a configuration of large files',
    script: `printf '[lfs]\\n\\turl = file:///etc\\n[lfs "customtransfer.x"]\\n\\tpath = touch\\n' > .lfsconfig; printf '* filter=lfs diff=lfs merge=lfs -text\\n' > .gitattributes`,
    end: 'taken',
  },
  { name: 'a tree that only takes away', script: `rm -rf README.md src`, end: 'taken' },
  {
    name: 'nothing but directories and permissions of the group',
    script: `mkdir -p empty/er; chmod g-r README.md`,
    end: 'nothing',
  },
];
