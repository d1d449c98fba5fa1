import type { KillEpochs, OrderedEpoch } from './kill-epochs.js';
import { Stopping } from './stopping.js';

const MESH = { scope: 'mesh', scopeId: '' } as const;

/** What the database says of the mesh at harbor, as it is read by and by. */
function known(): { epochs: KillEpochs; is: (row: { epoch: bigint; armed: boolean } | undefined) => void } {
  let of: Partial<OrderedEpoch> | undefined;
  const epochs = { of: () => of } as unknown as KillEpochs;
  return { epochs, is: (row) => (of = row) };
}

it('ends with the re-arming of what was ordered, and not with that of an earlier order which is read late', () => {
  const { epochs, is } = known();
  const stopping = new Stopping(epochs);
  is({ epoch: 1n, armed: true });
  stopping.begin('harbor', 'second', { ...MESH, epoch: 2n });
  expect(stopping.has('harbor')).toBe(true);
  is({ epoch: 2n, armed: false });
  expect(stopping.has('harbor')).toBe(true);
  is({ epoch: 2n, armed: true });
  expect(stopping.has('harbor')).toBe(false);
});

it('goes on while one order of several is neither proven nor re-armed', () => {
  const { epochs, is } = known();
  const stopping = new Stopping(epochs);
  is({ epoch: 2n, armed: false });
  stopping.begin('harbor', 'first', { ...MESH, epoch: 1n });
  stopping.begin('harbor', 'second', { ...MESH, epoch: 2n });
  stopping.end('harbor', 'second');
  expect(stopping.has('harbor')).toBe(true);
  stopping.end('harbor', 'first');
  expect(stopping.has('harbor')).toBe(false);
});

it('begins for no tenant among others', () => {
  const { epochs } = known();
  const stopping = new Stopping(epochs);
  stopping.begin('harbor', 'first', { scope: 'tenant', scopeId: 'berth', epoch: 1n });
  expect(stopping.has('harbor')).toBe(false);
});
