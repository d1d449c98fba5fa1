/** Who a TLS server is: by its key, not by a public CA. */
export { type Fetch, type FetchInit, pinnedFetch } from './pinned-fetch.js';
export { TlsAgent } from './tls-agent.js';
export { connectTls, parsePin, spkiPin } from './tls-pin.js';
