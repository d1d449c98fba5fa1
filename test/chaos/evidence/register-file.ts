import { readFile } from 'node:fs/promises';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { RegisterLine } from '../history/history.ts';

const MAGIC = 0x43524631;
const HEAD_BYTES = 20;
const ALIGNMENT = 8;
/** USER_HZ, the same on every Linux that Node runs on. */
const TICKS_A_SECOND = 100;

/**
 * What a reaper has on its disk, read without it: it may be dead or stopped. The file has two areas, of which the one with
 * the higher generation counts; a frame that is still being written ends the reading.
 */
export async function readRegister(instanceDir: string): Promise<RegisterLine[]> {
  const file = await readFile(join(instanceDir, 'reaper', 'register'));
  const half = file.length / 2;
  const areas = [file.subarray(0, half), file.subarray(half)].map(readArea);
  const [newest] = areas.toSorted((a, b) => b.generation - a.generation);
  return newest?.lines ?? [];
}

/** An agent's processes are as old as the kernel says: the reaper's clock may have been wrong. */
function byTheKernel(line: RegisterLine): RegisterLine {
  const ticks = (line.handle?.processes ?? []).map(({ startTicks }) => Number(startTicks));
  if (line.kind !== 'agent' || ticks.length === 0) return line;
  return { ...line, at: Date.now() - uptime() * 1000 + (Math.max(...ticks) * 1000) / TICKS_A_SECOND };
}

function readArea(area: Buffer): { generation: number; lines: RegisterLine[] } {
  const lines: RegisterLine[] = [];
  let generation = 0;
  let sequence = 0;
  for (let at = 0; at + HEAD_BYTES <= area.length && area.readUInt32BE(at) === MAGIC; sequence += 1) {
    const length = area.readUInt32BE(at + 12);
    const payload = area.subarray(at + HEAD_BYTES, at + HEAD_BYTES + length);
    const sum = crc32(payload, crc32(area.subarray(at + 4, at + 16)));
    const isNext =
      area.readUInt32BE(at + 8) === sequence && (sequence === 0 || area.readUInt32BE(at + 4) === generation);
    if (!isNext || payload.length !== length || sum !== area.readUInt32BE(at + 16)) break;
    generation = area.readUInt32BE(at + 4);
    lines.push(...(JSON.parse(payload.toString()) as RegisterLine[]).map(byTheKernel));
    at += Math.ceil((HEAD_BYTES + length) / ALIGNMENT) * ALIGNMENT;
  }
  return { generation, lines };
}
