/**
 * What a guardian becomes once the supervisor of its mesh is gone: ends the mesh's processes, in order.
 * Arguments: the state directory, and `temporary` where it goes too.
 */
import { rmSync } from 'node:fs';
import { ProcessRegister } from '../process/process-register.js';

const [stateDir, fate] = process.argv.slice(2);
if (stateDir === undefined) throw new Error('usage: main.js STATE_DIR [temporary]');

await ProcessRegister.of(stateDir).endProcesses();
if (fate === 'temporary') rmSync(stateDir, { recursive: true, force: true, maxRetries: 5 });
