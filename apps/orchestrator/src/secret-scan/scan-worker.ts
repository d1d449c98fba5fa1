import { parentPort, workerData } from 'node:worker_threads';
import { scanContent, type Place, type ScanKeys } from './scan-content.js';

/** Contents, in order. */
export interface ScanRequest {
  contents: Uint8Array[];
}

export type ScanReply = { places: Place[][] } | { fault: string };

/**
 * Runs on a thread of its own, so that a pattern that takes for ever can be ended, and one that takes long holds up
 * nobody. The fault's text names no content.
 */
async function answer({ contents }: ScanRequest, keys: ScanKeys): Promise<ScanReply> {
  try {
    const places: Place[][] = [];
    for (const content of contents) places.push(await scanContent(content, keys));
    return { places };
  } catch (error) {
    return { fault: error instanceof Error ? error.name : 'unknown' };
  }
}

parentPort?.on('message', (request: ScanRequest) => {
  void answer(request, workerData as ScanKeys).then((reply) => parentPort?.postMessage(reply));
});
