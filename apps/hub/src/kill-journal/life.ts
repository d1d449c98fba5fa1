import { readFileSync, readlinkSync } from 'node:fs';

/** Which process wrote a file, as its name says: `PID-START-BOOT-NAMESPACE-NUMBER.kills`; earlier versions named no namespace. */
const NAME = /^(?<pid>\d+)-(?<start>\d+)-(?<boot>[0-9a-f]{8})-(?:(?<space>\d+)-)?\d+\.kills$/;
/** Files that this process has in hand. */
const own = new Set<string>();
let made = 0;

/**
 * What is known of the process that has written a file. It is `over` where it has ended or given the file up, and `unseen`
 * where it was on another machine, before a boot, or in another PID namespace: then only the file itself can tell.
 */
export type Life = 'lives' | 'over' | 'unseen';

/** A name that no other life of any hub gives. */
export function newName(): string {
  made += 1;
  const life = [process.pid, startOf(process.pid) ?? '0', bootOfMachine(), pidNamespace()].map(String).join('-');
  const name = `${life}-${String(made)}.kills`;
  own.add(name);
  return name;
}

/** The file is given up: whoever starts may take it. */
export function release(name: string): void {
  own.delete(name);
}

/** Undefined for what is no such file. */
export function lifeOf(name: string): Life | undefined {
  const { pid = '', start, boot, space = pidNamespace() } = NAME.exec(name)?.groups ?? {};
  if (start === undefined) return undefined;
  if (own.has(name)) return 'lives';
  if (boot !== bootOfMachine() || space !== pidNamespace()) return 'unseen';
  const isSame = Number(pid) === process.pid && start === (startOf(process.pid) ?? '0');
  if (isSame) return 'over';
  const isOver = process.platform === 'linux' ? startOf(Number(pid)) !== start : !isRunning(Number(pid));
  return isOver ? 'over' : 'lives';
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

/** A pid says nothing in another one: two containers have a process 1 each. */
function pidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
  } catch {
    return '0';
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
