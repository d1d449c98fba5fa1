/** Media types of everything that is signed; each names kind and version, so that no kind can be taken for another. */
export const PAYLOAD_TYPES = {
  command: 'application/vnd.capstan.command.v1+protobuf',
  query: 'application/vnd.capstan.query.v1+protobuf',
  event: 'application/vnd.capstan.event.v1+protobuf',
  receipt: 'application/vnd.capstan.receipt.v1+protobuf',
  observation: 'application/vnd.capstan.observation.v1+protobuf',
  enrollment: 'application/vnd.capstan.enrollment.v1+protobuf',
  enrolled: 'application/vnd.capstan.enrolled.v1+protobuf',
  admission: 'application/vnd.capstan.admission.v1+protobuf',
  lease: 'application/vnd.capstan.lease.v1+protobuf',
  'key-statement': 'application/vnd.capstan.key-statement.v1+protobuf',
  grant: 'application/vnd.capstan.grant.v1+protobuf',
  'tree-head': 'application/vnd.capstan.tree-head.v1+protobuf',
  'kill-all': 'application/vnd.capstan.kill-all.v1+protobuf',
  probe: 'application/vnd.capstan.probe.v1+protobuf',
  sealed: 'application/vnd.capstan.sealed.v1+protobuf',
  secret: 'application/vnd.capstan.secret.v1+protobuf',
} as const;

export type PayloadKind = keyof typeof PAYLOAD_TYPES;
export type PayloadType = (typeof PAYLOAD_TYPES)[PayloadKind];

const kinds = new Map<string, PayloadKind>(
  Object.entries(PAYLOAD_TYPES).map(([kind, type]) => [type, kind as PayloadKind]),
);

/** The kind that a payload type names, or undefined where this version of the protocol does not know it. */
export function payloadKind(payloadType: string): PayloadKind | undefined {
  return kinds.get(payloadType);
}
