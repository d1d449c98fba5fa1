/**
 * The wire: generated messages, the DSSE envelope, strict decoding, fault codes, ids.
 *
 * Pure and browser-safe: nothing here touches node:, the clock excepted by `newId`. May import nothing of ours.
 */
export * from './gen/capstan/v1/admission_pb.js';
export * from './gen/capstan/v1/agent_pb.js';
export * from './gen/capstan/v1/audit_pb.js';
export * from './gen/capstan/v1/command_pb.js';
export * from './gen/capstan/v1/enrollment_pb.js';
export * from './gen/capstan/v1/envelope_pb.js';
export * from './gen/capstan/v1/event_pb.js';
export * from './gen/capstan/v1/header_pb.js';
export * from './gen/capstan/v1/keys_pb.js';
export * from './gen/capstan/v1/lease_pb.js';
export * from './gen/capstan/v1/link_pb.js';
export * from './gen/capstan/v1/query_pb.js';
export * from './gen/capstan/v1/reaper_pb.js';
export * from './gen/capstan/v1/receipt_pb.js';
export * from './gen/capstan/v1/sealed_pb.js';
export { create, fromBinary } from '@bufbuild/protobuf';
export type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
export * from './agent-state.js';
export * from './agent-view.js';
export * from './catalog-view.js';
export * from './bytes.js';
export * from './envelope.js';
export * from './faults.js';
export * from './ids.js';
export * from './kill-outcome.js';
export * from './lanes.js';
export * from './length-prefix.js';
export * from './limits.js';
export * from './message-body.js';
export * from './local-fault.js';
export * from './pae.js';
export * from './payload-types.js';
export * from './repository-rule.js';
export * from './server-sent-events.js';
export * from './spawn-request.js';
export * from './strict-decode.js';
export * from './text.js';
export { toBinary } from './to-binary.js';
export * from './version.js';
export * from './wire-fault.js';
