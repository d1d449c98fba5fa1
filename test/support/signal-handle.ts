/** A process that signals what one handle names, once: its argument is the handle as JSON, whose large numbers end in `n`. */
import { signalHandle, type KillHandle } from '@capstan/sandbox';

const handle = JSON.parse(process.argv[2] ?? '', (_, value: unknown) =>
  typeof value === 'string' && /^\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value,
) as KillHandle;
await signalHandle(handle);
