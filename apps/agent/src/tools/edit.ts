import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, relative, resolve } from 'node:path';
import { failure, fieldOf, type Tool, type ToolOutcome } from './tool.js';

/** Writes a file, or replaces one piece of text in it. */
export function editTool(directory: string): Tool {
  return {
    definition: {
      name: 'edit',
      description:
        'Writes a file of the work tree. Give "content" to write the whole file (directories are made), or "old" and "new" to replace one piece of text that stands in the file exactly once.',
      input_schema: {
        type: 'object',
        properties: {
          path: { type: 'string', description: 'Path within the work tree.' },
          content: { type: 'string', description: 'The whole new content.' },
          old: { type: 'string', description: 'Text to replace; must occur exactly once.' },
          new: { type: 'string', description: 'What replaces it.' },
        },
        required: ['path'],
      },
    },
    describe: (input) => `edit: ${String(fieldOf(input, 'path'))}`,
    run: async (input) => {
      const path = fieldOf(input, 'path');
      if (typeof path !== 'string' || path === '' || path.includes('\0')) return failure('path: must be text');
      const file = resolve(directory, path);
      // The sandbox is what confines; this only spares the model a surprise.
      if (isOutside(directory, file)) return failure(`${path} is outside of the work tree`);
      try {
        return await edit(file, path, input);
      } catch (error) {
        return failure(`${path}: ${error instanceof Error ? error.message : String(error)}`);
      }
    },
  };
}

async function edit(file: string, path: string, input: unknown): Promise<ToolOutcome> {
  const content = fieldOf(input, 'content');
  const before = fieldOf(input, 'old');
  const after = fieldOf(input, 'new');
  if (typeof content === 'string' && before === undefined) {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
    return { text: `wrote ${path}: ${String(Buffer.byteLength(content))} bytes`, isError: false };
  }
  if (typeof before !== 'string' || typeof after !== 'string' || before === '')
    return failure('give either content, or old and new');
  const text = await readFile(file, 'utf8');
  const at = text.indexOf(before);
  if (at < 0) return failure(`${path} does not hold the old text`);
  if (text.includes(before, at + 1))
    return failure(`${path} holds the old text more than once; give more of its surroundings`);
  await writeFile(file, text.slice(0, at) + after + text.slice(at + before.length));
  return { text: `changed ${path}`, isError: false };
}

function isOutside(directory: string, file: string): boolean {
  const path = relative(directory, file);
  return path === '' || path === '..' || path.startsWith('../');
}
