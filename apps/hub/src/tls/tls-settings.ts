import { parsePin } from '@capstan/identity';

/** Where TLS is ended, and with which certificate. */
export interface TlsSettings {
  /** `off`: plain HTTP; `auto`: a certificate that the hub makes and renews itself; `files`: one that it is given. */
  readonly source: 'off' | 'auto' | { readonly cert: string; readonly key: string };
  /** `hub`: each link's transcript binds its TLS connection. `proxy`: TLS ends in front of the hub, and nothing can. */
  readonly ends: 'hub' | 'proxy';
  /** What invitations tell spokes to pin: the hub's own TLS key, none (then a public CA must vouch), or a key's pin. */
  readonly pin: string;
}

export const NO_TLS: TlsSettings = { source: 'off', ends: 'hub', pin: 'own' };

export interface TlsVariables {
  CAPSTAN_HUB_HOST: string;
  CAPSTAN_HUB_PUBLIC_URL: string | undefined;
  CAPSTAN_HUB_TLS: 'off' | 'auto' | 'files';
  CAPSTAN_HUB_TLS_CERT: string | undefined;
  CAPSTAN_HUB_TLS_KEY: string | undefined;
  CAPSTAN_HUB_TLS_ENDS: 'hub' | 'proxy';
  CAPSTAN_HUB_TLS_PIN: string | undefined;
}

const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];

/** Sentences about what would carry tokens in clear text, or could not work. */
export function tlsFaults(e: TlsVariables): string[] {
  const faults: string[] = [];
  const isLocal = LOOPBACK.includes(e.CAPSTAN_HUB_HOST);
  const hasFiles = e.CAPSTAN_HUB_TLS_CERT !== undefined && e.CAPSTAN_HUB_TLS_KEY !== undefined;
  if (!isLocal && e.CAPSTAN_HUB_TLS === 'off' && e.CAPSTAN_HUB_TLS_ENDS === 'hub')
    faults.push(
      `CAPSTAN_HUB_HOST ${e.CAPSTAN_HUB_HOST} would carry tokens in clear text: keep to 127.0.0.1, set CAPSTAN_HUB_TLS=auto, or put TLS in front and set CAPSTAN_HUB_TLS_ENDS=proxy`,
    );
  if (e.CAPSTAN_HUB_TLS === 'files' && !hasFiles)
    faults.push('CAPSTAN_HUB_TLS=files needs CAPSTAN_HUB_TLS_CERT and CAPSTAN_HUB_TLS_KEY');
  if (e.CAPSTAN_HUB_TLS !== 'files' && (e.CAPSTAN_HUB_TLS_CERT ?? e.CAPSTAN_HUB_TLS_KEY) !== undefined)
    faults.push('CAPSTAN_HUB_TLS_CERT and CAPSTAN_HUB_TLS_KEY are used with CAPSTAN_HUB_TLS=files only');
  if (e.CAPSTAN_HUB_TLS_ENDS === 'proxy' && e.CAPSTAN_HUB_PUBLIC_URL?.startsWith('https:') !== true)
    faults.push('CAPSTAN_HUB_TLS_ENDS=proxy needs CAPSTAN_HUB_PUBLIC_URL=https://…, where spokes reach the proxy');
  if (!isPin(e.CAPSTAN_HUB_TLS_PIN))
    faults.push('CAPSTAN_HUB_TLS_PIN must be own, none, or base64url of SHA-256 of a public key (SPKI)');
  if (e.CAPSTAN_HUB_TLS_PIN === 'own' && e.CAPSTAN_HUB_TLS_ENDS === 'proxy')
    faults.push('CAPSTAN_HUB_TLS_PIN=own pins the hub’s key, but spokes meet the proxy’s');
  return faults;
}

export function readTls(e: TlsVariables): TlsSettings {
  const { CAPSTAN_HUB_TLS: kind, CAPSTAN_HUB_TLS_CERT: cert, CAPSTAN_HUB_TLS_KEY: key } = e;
  const ends = e.CAPSTAN_HUB_TLS_ENDS;
  const source = kind === 'files' ? { cert: cert ?? '', key: key ?? '' } : kind;
  return { source, ends, pin: e.CAPSTAN_HUB_TLS_PIN ?? (ends === 'hub' ? 'own' : 'none') };
}

function isPin(text: string | undefined): boolean {
  if (text === undefined || text === 'own' || text === 'none') return true;
  try {
    parsePin(text);
    return true;
  } catch {
    return false;
  }
}
