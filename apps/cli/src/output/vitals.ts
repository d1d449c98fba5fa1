import type { VitalsView } from '@capstan/protocol';

const MEBIBYTE = 1024 * 1024;

/** Processors, memory and last progress of an agent that runs; empty cells for any other. */
export function vitalCells(vitals: VitalsView | undefined): string[] {
  if (vitals === undefined) return ['', '', ''];
  const { cpuMilli, memoryBytes, progressAt } = vitals;
  return [(cpuMilli / 1000).toFixed(2), `${(memoryBytes / MEBIBYTE).toFixed(0)} MiB`, progressAt];
}

/** The same for people, in lines. */
export function vitalLines(vitals: VitalsView | undefined): string[] {
  if (vitals === undefined) return [];
  const [cpu = '', memory = '', progressAt = ''] = vitalCells(vitals);
  const { processes, peakMemoryBytes, cpuMs, heartbeatAt, stalled } = vitals;
  const peak = (peakMemoryBytes / MEBIBYTE).toFixed(0);
  return [
    ...(stalled === null ? [] : [`  STALLED: ${stalled}`]),
    `  last progress ${progressAt}, seen alive ${heartbeatAt}`,
    `  ${String(processes)} processes, ${cpu} processors now, ${(cpuMs / 1000).toFixed(1)} s in all, ${memory} (peak ${peak} MiB)`,
  ];
}
