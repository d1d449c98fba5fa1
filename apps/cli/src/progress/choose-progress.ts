import type { Output } from '../output/output.js';
import { PlainProgress, type Progress } from './progress.js';

/** Live at a terminal; plain lines elsewhere, and on stderr where stdout belongs to one JSON object. */
export async function chooseProgress(output: Output): Promise<Progress> {
  if (!output.isJson && process.stdout.isTTY) {
    const { ListrProgress } = await import('./listr-progress.js');
    return new ListrProgress();
  }
  return new PlainProgress((line) => {
    output.line(line);
  });
}
