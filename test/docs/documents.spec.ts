import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { AGENT_TRANSITIONS } from '@capstan/protocol';
import { proves } from '../support/proves.js';

const ROOT = join(__dirname, '../..');
const read = (page: string): string => readFileSync(join(ROOT, page), 'utf8');
const below = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md') && !file.includes('node_modules'))
    .map((file) => join(folder, file));
const PAGES = ['README.md', ...['docs', 'apps', 'libs', 'scripts', 'test'].flatMap(below)];

/** The anchors that headings of a page get. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

function deadLinks(page: string): string[] {
  const text = read(page).replace(/^```.*?^```/gms, '');
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = '']) => {
    if (/^[a-z]+:/.test(target)) return [];
    const [path = '', anchor] = target.split('#');
    const file = path === '' ? page : relative(ROOT, join(ROOT, dirname(page), path));
    if (!existsSync(join(ROOT, file))) return [`${page}: ${target}`];
    const isFound = anchor === undefined || !file.endsWith('.md') || anchorsOf(read(file)).includes(anchor);
    return isFound ? [] : [`${page}: ${target}`];
  });
}

describe('the documents', () => {
  it(
    'link to what is there',
    proves('ORC-134', () => {
      expect(PAGES.flatMap(deadLinks)).toEqual([]);
    }),
  );

  it(
    'name only npm scripts that there are',
    proves('ORC-134', () => {
      const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
      const missing = PAGES.flatMap((page) =>
        [...read(page).matchAll(/npm run (?:--silent )?([a-z][a-z:]*)/g)].flatMap(([, name = '']) =>
          name in scripts ? [] : [`${page}: npm run ${name}`],
        ),
      );
      expect(missing).toEqual([]);
    }),
  );

  it(
    'tell of every app and library on the architecture page, and of every page of docs from its own index',
    proves('ORC-134', () => {
      const architecture = read('docs/architecture.md');
      const folders = (kind: string): string[] => readdirSync(join(ROOT, kind));
      expect(folders('apps').filter((app) => !architecture.includes(`apps/${app}`))).toEqual([]);
      expect(folders('libs').filter((library) => !architecture.includes(`- \`${library}\`:`))).toEqual([]);
      const index = ['README.md', ...below('docs').filter((page) => page.endsWith('README.md'))].map(read).join('\n');
      const unnamed = below('docs').filter((page) => !page.startsWith('docs/adr/') && !page.endsWith('README.md'));
      expect(unnamed.filter((page) => !index.includes(`${page.replace(/^.*\//, '')})`))).toEqual([]);
    }),
  );

  it(
    'draw an agent’s states as the table of legal steps has them',
    proves('ORC-129', () => {
      const [, drawing = ''] =
        /```mermaid\nstateDiagram-v2\n(.*?)```/s.exec(read('docs/reference/agent-states.md')) ?? [];
      const steps = [...drawing.matchAll(/^ +(\S+) --> (\S+?):?(?: .*)?$/gm)].map(
        ([, from = '', to = '']) => `${from} ${to}`,
      );
      const legal = Object.entries(AGENT_TRANSITIONS).flatMap(([from, to]) => [
        ...to.map((state) => `${from} ${state}`),
        ...(to.length === 0 ? [`${from} [*]`] : []),
      ]);
      expect(steps.sort()).toEqual(['[*] queued', ...legal].sort());
    }),
  );

  it(
    'draw a spawn and a kill, and say for each fault what is seen, what is safe, and what to do',
    proves('ORC-129', () => {
      expect(read('docs/architecture.md')).toMatch(/## A spawn\n.*?```mermaid\nsequenceDiagram.*?\n## /s);
      expect(read('docs/reference/agent-states.md')).toMatch(/## What a kill needs\n.*?```mermaid\nsequenceDiagram/s);
      const faults = read('docs/runbook.md').split(/^## /m).slice(3);
      expect(faults.map((text) => text.split('\n')[0])).toEqual([
        'A stalled orchestrator',
        'Nothing starts',
        'Valkey is away',
        'The hub is away',
        'The reaper does not answer',
        'An agent is stalled',
        'A kill is unconfirmed',
        'Docker hangs',
        'A lock that nobody holds',
        'The disk is full',
      ]);
      for (const text of faults)
        expect(text.match(/^\*\*(?:See it|Safe meanwhile|Do)\.\*\*/gm)).toEqual([
          '**See it.**',
          '**Safe meanwhile.**',
          '**Do.**',
        ]);
    }),
  );
});
