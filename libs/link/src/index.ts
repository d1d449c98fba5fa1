/**
 * The authenticated link between one spoke and its hub: handshake, lanes by priority, heartbeats, reconnect.
 *
 * It carries envelopes and says who the peer is. A pair in memory keeps the same contract without a socket. It neither
 * verifies envelopes nor stores them; that is done in the apps. May import identity and protocol.
 */
export type { HeartbeatContent, Heartbeats, Link, LinkEnd, LinkEpochs, LinkPeer, LinkStats } from './link.js';
export { HeartbeatContents } from './heartbeat-contents.js';
export { LinkClosed } from './link.js';
export { LINK_LIMITS, SUBPROTOCOL, VERSIONS, type LinkLimits } from './limits.js';
export { LinkListener, type LinkListenerOptions } from './link-listener.js';
export { SpokeDialer, type DialState, type SpokeDialerOptions, type SpokeTls } from './spoke-dialer.js';
export { type LinkPair, MemoryLinks, type MemoryLinksOptions } from './memory-pair.js';
export { reconnectDelayMs, type Backoff } from './backoff.js';
