/** Media types of everything that is signed; each names kind and version, so that no kind can be taken for another. */
export const PAYLOAD_TYPES = {
  command: 'application/vnd.capstan.command.v1+protobuf',
  query: 'application/vnd.capstan.query.v1+protobuf',
  event: 'application/vnd.capstan.event.v1+protobuf',
  receipt: 'application/vnd.capstan.receipt.v1+protobuf',
  observation: 'application/vnd.capstan.observation.v1+protobuf',
  enrollment: 'application/vnd.capstan.enrollment.v1+protobuf',
  enrolled: 'application/vnd.capstan.enrolled.v1+protobuf',
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
