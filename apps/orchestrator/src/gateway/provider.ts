import type { ModelRequest } from './model-request.js';
import type { Price } from './prices.js';

export type Endpoint = 'messages' | 'count_tokens';

export interface ModelCall {
  endpoint: Endpoint;
  request: ModelRequest;
  /** Bytes of the request as it came. */
  bytes: number;
  /** `anthropic-beta` features that the gateway lets through. */
  betas: string[];
  /** Playbook of the agent; empty for the provider's default. */
  playbook: string;
  /** Aborted when the agent went away. */
  signal: AbortSignal;
}

/** A reply in the API's own protocol: JSON, or events where the request asked for a stream. */
export interface ModelReply {
  status: number;
  contentType: string;
  /** Further headers that the client may see. */
  headers: Record<string, string>;
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** How often the model was asked; 1 where it is not told. */
  attempts?: number;
}

/** Who answers the agents. */
export interface ModelProvider {
  readonly name: 'anthropic' | 'scripted';
  /** What an agent gets whose order names no model. */
  readonly defaultModel: string;
  /** undefined for a model that this provider does not answer for. */
  priceOf(model: string): Price | undefined;
  /** @throws {ApiFault} */
  call(call: ModelCall): Promise<ModelReply>;
}
