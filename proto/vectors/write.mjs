/** Writes the vector files into the directory that the first argument names; how to run it stands in README.md. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { vectorFiles } from './generate.ts';

const directory = process.argv[2] ?? 'proto/vectors';
for (const [name, content] of Object.entries(vectorFiles())) await writeFile(join(directory, name), content);
