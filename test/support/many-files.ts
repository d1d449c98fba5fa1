import { execFileSync } from 'node:child_process';

const PER_DIRECTORY = 100;

/** A bare repository with one commit of so many small files, by fast-import: they are never written to disk. @returns its path. */
export function sourceOfMany(path: string, files: number): string {
  execFileSync('git', ['init', '--quiet', '--bare', '--initial-branch=main', path]);
  const lines = ['commit refs/heads/main', 'committer Bench <bench@localhost> 0 +0000', 'data 4', 'Many'];
  for (let file = 0; file < files; file += 1) {
    const content = `export const file = ${String(file)};\n`;
    const name = `module-${String(Math.floor(file / PER_DIRECTORY))}/file-${String(file)}.ts`;
    lines.push(`M 100644 inline ${name}`, `data ${String(content.length)}`, content);
  }
  execFileSync('git', ['-C', path, 'fast-import', '--quiet'], { input: `${lines.join('\n')}\ndone\n` });
  return path;
}
