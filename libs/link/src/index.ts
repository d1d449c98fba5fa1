/**
 * The authenticated link between one spoke and its hub: handshake, lanes by priority, heartbeats, reconnect.
 *
 * It carries envelopes and says who the peer is. It neither verifies envelopes nor stores them; that is done in the
 * apps. May import identity and protocol.
 */
export type { Heartbeats, Link, LinkEnd, LinkEpochs, LinkStats } from './link.js';
export { LinkClosed } from './link.js';
export { LINK_LIMITS, SUBPROTOCOL, type LinkLimits } from './limits.js';
export { LinkListener, type LinkListenerOptions } from './link-listener.js';
export { SpokeDialer, type DialState, type SpokeDialerOptions } from './spoke-dialer.js';
export { reconnectDelayMs, type Backoff } from './backoff.js';
