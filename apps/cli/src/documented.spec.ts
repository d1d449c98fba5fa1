import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { proves } from '../../../test/support/proves.js';
import { Output } from './output/output.js';
import { buildProgram } from './program.js';

const ROOT = join(__dirname, '../../..');
const PAGES = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => join('docs', file)),
];

/** What stands behind `npx capstan`, as words, in blocks and between backticks. */
function commandsOf(text: string): string[][] {
  const written = text.replaceAll(/\\\n\s*/g, ' ');
  return [...written.matchAll(/npx capstan (?!COMMAND)([^`\n]+)/g)].map(([, line = '']) => {
    const words = line.match(/'[^']*'|"[^"]*"|\S+/g) ?? [];
    const end = words.findIndex((word) => /^(?:#|&&|;|\||<|\d?>)/.test(word));
    return end < 0 ? words : words.slice(0, end);
  });
}

/** What the program would not take of these words; undefined where it would. */
function fault(program: Command, words: readonly string[]): string | undefined {
  let command = program;
  const rest = [...words];
  const given = new Set<string>();
  let operands = 0;
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    const below = operands === 0 ? command.commands.find((it) => it.name() === word) : undefined;
    if (below !== undefined) command = below;
    else if (word.startsWith('--') || /^-[a-z]/.test(word)) {
      const [flag = ''] = word.split('=');
      if (flag === '--help') continue;
      const option = [...command.options, ...program.options].find((it) => it.short === flag || it.long === flag);
      if (option === undefined) return `has no ${flag}`;
      given.add(option.attributeName());
      if (word.includes('=')) continue;
      if (option.required && rest.length === 0) return `${flag} lacks its value`;
      if (option.required || (option.optional && rest[0]?.startsWith('-') === false)) rest.shift();
    } else if (command.commands.length > 0) return `has no command ${word}`;
    else operands++;
  }
  // Text also speaks of commands: with "…", by their names, and of an option without what the command works on.
  const { registeredArguments, options } = command;
  if (words.includes('…') || (operands === 0 && given.size === 0)) return undefined;
  if (operands > 0 && operands < registeredArguments.filter((it) => it.required).length) return 'lacks an argument';
  if (operands > registeredArguments.length && registeredArguments.at(-1)?.variadic !== true) return 'has one too many';
  const missing = options.find((it) => it.mandatory && !given.has(it.attributeName()));
  return missing && `lacks ${missing.flags}`;
}

describe('the commands that documents tell', () => {
  const program = buildProgram(new Output({ isJson: false }));

  it(
    'are commands of this program, with options that it has and all that it demands',
    proves('ORC-134', () => {
      const all = PAGES.flatMap((page) =>
        commandsOf(readFileSync(join(ROOT, page), 'utf8')).map((words) => ({ page, words })),
      );
      expect(all.length).toBeGreaterThan(50);
      const faults = all.flatMap(({ page, words }) => {
        const found = fault(program, words);
        return found === undefined ? [] : [`${page}: ${words.join(' ')}: ${found}`];
      });
      expect(faults).toEqual([]);
    }),
  );

  it.each([
    ['agents', 'massage'],
    ['agents', 'message', 'AGENT', 'TEXT'],
    ['agents', 'kill', 'AGENT', '--now'],
    ['queue', 'show', '--local'],
    ['status', 'quay'],
  ])('would not pass were one of them wrong: %s %s', (...words) => {
    expect(fault(program, words)).toBeDefined();
  });
});
