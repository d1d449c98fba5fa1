import { readFileSync } from 'node:fs';

/** Which process wrote a file, as its name says: `PID-START-BOOT-NUMBER.kills`. */
const NAME = /^(?<pid>\d+)-(?<start>\d+)-(?<boot>[0-9a-f]{8})-\d+\.kills$/;
/** Files that this process has in hand. */
const own = new Set<string>();
let made = 0;

/** A name that no other life of any hub on this machine gives. */
export function newName(): string {
  made += 1;
  const name = `${String(process.pid)}-${startOf(process.pid) ?? '0'}-${bootOfMachine()}-${String(made)}.kills`;
  own.add(name);
  return name;
}

/** The file is given up: whoever starts may take it. */
export function release(name: string): void {
  own.delete(name);
}

/** Whether the process that has written this file has ended, or given it up; false for what is no such file. */
export function isLeftBehind(name: string): boolean {
  const { pid = '', start, boot } = NAME.exec(name)?.groups ?? {};
  if (start === undefined || own.has(name)) return false;
  if (Number(pid) === process.pid) return true;
  if (boot !== bootOfMachine()) return true;
  return process.platform === 'linux' ? startOf(Number(pid)) !== start : !isRunning(Number(pid));
}

/** Ticks from boot to its start; a pid alone is used again. Undefined where none lives, and a zombie does not. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function bootOfMachine(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').slice(0, 8);
  } catch {
    return '00000000';
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
